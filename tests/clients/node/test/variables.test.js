'use strict';
// Scopes and variables: every kind of value, in every place.

const assert = require('assert');
const { byName, fixture, lineOf, overBoth } = require('./support');

const VARIABLES = fixture('variables.lua');

overBoth('variables', (start) => {
  async function stopped(options) {
    const session = await start(VARIABLES, options);
    await session.breakpoints(VARIABLES, ['inspect']);
    await session.go();
    return { session, ...(await session.stopped('breakpoint', 'inspect')) };
  }
  const children = async (session, variable, page) => {
    assert.ok(variable.variablesReference > 0, `${variable.name} cannot be opened`);
    return byName(await session.variables(variable.variablesReference, page));
  };

  it('are grouped into scopes', async () => {
    const { session, frames, frameId } = await stopped();
    const scopes = await session.scopes(frameId);
    assert.deepStrictEqual(Object.keys(scopes), ['Locals', 'Varargs', 'Upvalues', 'Globals', 'Standard library']);
    for (const scope of Object.values(scopes)) assert.strictEqual(typeof scope.expensive, 'boolean');
    const main = frames.find((f) => f.line === lineOf(VARIABLES, 'call'));
    const outer = await session.scopes(main.id);
    assert.ok(outer.Locals);
    assert.ok(!outer.Error);
  });

  it('numbers, booleans, nil and strings look as Lua writes them', async () => {
    const { session, frameId } = await stopped();
    const locals = await session.locals(frameId);
    const values = Object.fromEntries(Object.entries(locals).map(([name, v]) => [name, v.value]));
    assert.deepStrictEqual([values.int, values.float, values.big, values.negative], ['42', '1.5', '1e+100', '-7']);
    assert.deepStrictEqual([values.yes, values.no, values.nothing], ['true', 'false', 'nil']);
    assert.strictEqual(values.text, '"a \\"quoted\\" word,\\ta tab\\n"');
    assert.match(values.bytes, /^"\\(0|000|x00)\\(255|x[fF][fF])end"$/);
    assert.ok(values.long.length < 20000, 'a long string is cut');
    assert.match(values.long, /^"xxx/);
    assert.strictEqual(locals.result, undefined, 'a local that does not exist yet is not shown');
    for (const name of ['int', 'float']) assert.match(locals[name].type, /^(number|integer|float)$/);
    assert.strictEqual(locals.text.type, 'string');
    assert.strictEqual(locals.int.variablesReference, 0);
  });

  it('tell a local from the one that it hides', async () => {
    const { session, frameId } = await stopped();
    const scope = (await session.scopes(frameId)).Locals;
    const items = (await session.variables(scope.variablesReference)).filter((v) => /\bitem\b/.test(v.name));
    assert.deepStrictEqual(items.map((v) => v.value).sort(), ['"two"', '1']);
    assert.notStrictEqual(items[0].name, items[1].name);
    const visible = items.find((v) => v.name === 'item');
    assert.strictEqual(visible.value, '"two"');
    assert.strictEqual(visible.evaluateName, 'item');
    assert.notStrictEqual(items.find((v) => v.name !== 'item').evaluateName, 'item');
  });

  it('tables show a line of what is in them and open', async () => {
    const { session, frameId } = await stopped();
    const { list, empty } = await session.locals(frameId);
    assert.match(list.value, /^\{10, 20, 30, /);
    assert.ok(list.value.length < 500 && !list.value.includes('\n'));
    assert.strictEqual(list.type, 'table');
    assert.strictEqual(list.indexedVariables, 3);
    assert.strictEqual(empty.value, '{}');
    const all = await children(session, list);
    assert.deepStrictEqual(Object.fromEntries(Object.entries(all).map(([name, v]) => [name, v.value])), {
      '[1]': '10', '[2]': '20', '[3]': '30', name: '"mixed"', '[2.5]': '"float key"', '[true]': '"bool key"', '["two words"]': '1',
    });
    for (const [name, variable] of Object.entries(all)) {
      assert.strictEqual(await session.value(variable.evaluateName, frameId), variable.value, `evaluateName of ${name}`);
    }
    assert.deepStrictEqual(Object.keys(await children(session, list, { filter: 'indexed' })), ['[1]', '[2]', '[3]']);
    assert.strictEqual(Object.keys(await children(session, list, { filter: 'named' })).length, 4);
  });

  it('cycles can be opened for ever', async () => {
    const { session, frameId } = await stopped();
    let { cycle } = await session.locals(frameId);
    assert.match(cycle.value, /id = 1/);
    for (let depth = 0; depth < 10; depth++) {
      const inside = await children(session, cycle);
      assert.strictEqual(inside.id.value, '1');
      cycle = inside.self;
    }
  });

  it('metatables are children, and metamethods harm nobody', async () => {
    const { session, frameId } = await stopped();
    const { point, proxy, endless, failing } = await session.locals(frameId);
    const inside = await children(session, point);
    assert.strictEqual(inside.x.value, '1');
    assert.strictEqual((await children(session, inside['(metatable)'])).__name.value, '"Point"');
    for (const variable of [endless, failing]) {
      assert.strictEqual(typeof variable.value, 'string');
      assert.strictEqual((await children(session, variable)).real.value, '1');
    }
    await children(session, proxy);
    assert.strictEqual(await session.value('greeting', frameId), '"hello world"', 'the session lives');
    const upvalues = await session.scope(frameId, 'Upvalues');
    assert.ok(upvalues.greeting);
    await session.breakpoints(VARIABLES, []);
    assert.strictEqual(await session.finish(), 0);
    assert.match(session.output('stdout'), /hello world\t0\n/, 'looking called a function of the script');
  });

  it('functions, coroutines and files say what they are', async () => {
    const { session, frameId } = await stopped();
    const { method, thread, file } = await session.locals(frameId);
    assert.match(method.value, new RegExp(`^function .*inspect.* \\(variables\\.lua:${lineOf(VARIABLES, 'define')}\\)$`));
    assert.strictEqual(method.type, 'function');
    assert.match(thread.value, /^thread \(suspended\)/);
    assert.match(file.value, /file/);
    assert.match(file.type, /FILE\*|userdata/);
  });

  it('varargs, upvalues and globals are in their scopes', async () => {
    const { session, frameId } = await stopped();
    const varargs = Object.values(await session.scope(frameId, 'Varargs'));
    assert.deepStrictEqual(varargs.map((v) => v.value), ['"extra"', '{1, 2}']);
    const upvalues = await session.scope(frameId, 'Upvalues');
    assert.strictEqual(upvalues.greeting.value, '"hello world"');
    assert.match(upvalues.touch.value, /^function/);
    assert.ok(!upvalues.counter);
    const globals = await session.scope(frameId, 'Globals');
    assert.strictEqual(globals.counter.value, '10');
    assert.match(globals.settings.value, /mode = "fast"/);
    assert.ok(!globals.print && !globals.string, 'the standard library is apart');
    const library = await session.scope(frameId, 'Standard library');
    assert.ok(library.print && library.string);
    assert.ok(!library.counter);
    const low = (await children(session, (await children(session, globals.settings)).limits)).low;
    assert.strictEqual(await session.value(low.evaluateName, frameId), '1');
  });

  it('come in hexadecimal if asked', async () => {
    const { session, frameId } = await stopped();
    const { Locals } = await session.scopes(frameId);
    const format = { hex: true };
    const locals = byName(await session.variables(Locals.variablesReference, { format }));
    assert.match(locals.int.value, /^0x0*2[aA]$/);
    assert.strictEqual(locals.float.value, '1.5');
    assert.match((await session.call('evaluate', { expression: 'int + 1', frameId, context: 'watch', format })).result, /^0x0*2[bB]$/);
    assert.strictEqual((await session.locals(frameId)).int.value, '42', 'the next answer is decimal again');
  });

  it('of other frames can be seen', async () => {
    const { session, frames } = await stopped();
    const main = frames.find((f) => f.line === lineOf(VARIABLES, 'call'));
    const locals = await session.locals(main.id);
    assert.strictEqual(locals.greeting.value, '"hello world"');
    assert.ok(!locals.int);
  });

  it('are refused when their reference is stale', async () => {
    const { session, frameId } = await stopped();
    const { list } = await session.locals(frameId);
    await session.step('next', 'return');
    assert.match(await session.refused('variables', { variablesReference: 987654321 }), /./);
    const again = await session.ask('variables', { variablesReference: list.variablesReference });
    if (again.success) assert.ok(again.body.variables.some((v) => v.name === '[1]'));
  });
});

overBoth('pages of variables', (start) => {
  const BIG = fixture('big.lua');

  async function stopped() {
    const session = await start(BIG);
    await session.breakpoints(BIG, ['ready']);
    await session.go();
    const { frameId } = await session.stopped('breakpoint', 'ready');
    return { session, locals: await session.locals(frameId) };
  }

  it('show any hundred of a million', async () => {
    const { session, locals: { numbers } } = await stopped();
    assert.strictEqual(numbers.indexedVariables, 1000000);
    for (const first of [0, 1, 499900, 999900]) {
      const page = await session.variables(numbers.variablesReference, { filter: 'indexed', start: first, count: 100 });
      assert.strictEqual(page.length, Math.min(100, 1000000 - first));
      assert.deepStrictEqual([page[0].name, page[0].value], [`[${first + 1}]`, String(2 * (first + 1))]);
      assert.strictEqual(page.at(-1).name, `[${first + page.length}]`);
    }
    assert.deepStrictEqual(await session.variables(numbers.variablesReference, { filter: 'indexed', start: 1000000, count: 10 }), []);
    assert.deepStrictEqual(await session.variables(numbers.variablesReference, { filter: 'named', start: 0, count: 10 }), []);
  });

  it('show every name once', async () => {
    const { session, locals: { names } } = await stopped();
    const seen = new Map();
    for (let first = 0; ; first += 700) {
      const page = await session.variables(names.variablesReference, { filter: 'named', start: first, count: 700 });
      if (page.length === 0) break;
      for (const { name, value } of page) {
        assert.ok(!seen.has(name), `${name} came twice`);
        seen.set(name, value);
      }
    }
    assert.strictEqual(seen.size, 5000);
    assert.strictEqual(seen.get('key4711'), '4711');
  });

  it('can start anywhere in the names', async () => {
    const { session, locals: { names } } = await stopped();
    const ref = names.variablesReference;
    const at = async (first, count) => (await session.variables(ref, { filter: 'named', start: first, count })).map((v) => v.name);
    const [ahead, back] = [await at(4000, 50), await at(100, 50)];
    assert.deepStrictEqual(await at(4000, 50), ahead);
    assert.deepStrictEqual(await at(125, 25), back.slice(25));
  });

  it('tell numbers and names apart', async () => {
    const { session, locals: { both } } = await stopped();
    assert.strictEqual(both.indexedVariables, 300);
    const named = await session.variables(both.variablesReference, { filter: 'named' });
    assert.strictEqual(named.length, 300);
    assert.ok(named.every((v) => v.name.startsWith('name')));
    const whole = await session.variables(both.variablesReference);
    assert.ok(whole.length >= 100, 'without a page there is something to see');
  });
});
