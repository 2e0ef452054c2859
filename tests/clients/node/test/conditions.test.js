'use strict';
// Breakpoints that do not always stop: conditions, hit counts, log points.

const assert = require('assert');
const { fixture, lineOf, overBoth } = require('./support');

const ORDERS = fixture('orders.lua');

overBoth('conditional breakpoints', (start) => {
  /** Runs with one breakpoint on the line of the sum; gives `i` at every stop. */
  async function passes(spec) {
    const session = await start(ORDERS);
    const [breakpoint] = await session.breakpoints(ORDERS, [{ line: 'sum', ...spec }]);
    await session.go();
    const stops = [];
    const over = session.event('terminated').then(() => false);
    while (await Promise.race([session.event('stopped').then(() => true), over])) {
      const { stackFrames } = await session.call('stackTrace', { threadId: 1, levels: 1 });
      assert.strictEqual(stackFrames[0].line, lineOf(ORDERS, 'sum'));
      stops.push(Number(await session.value('i', stackFrames[0].id)));
      await session.resume();
    }
    assert.strictEqual((await session.event('exited')).exitCode, 0);
    assert.strictEqual(session.output('stdout'), 'total\t436\n', 'the breakpoint changed the result');
    return { stops, session, breakpoint };
  }

  const CONDITIONS = [
    ['order.count > 10', [3, 4]],
    ['i == 2', [2]],
    ['sum == 90 and order.item == "apple"', [1]],
    ['false', []],
    ['nil', []],
    ['0', [1, 2, 3, 4]], // in Lua 0 is true
    ['total', [1, 2, 3, 4]],
    ['order.item:find("^p")', [2, 3]],
    ['#orders == 4 and total >= 90', [2, 3, 4]],
    ['not unheard_of', [1, 2, 3, 4]],
    ['(function() return i % 2 == 1 end)()', [1, 3]],
  ];
  for (const [condition, expected] of CONDITIONS) {
    it(`stop if ${condition}`, async () => {
      assert.deepStrictEqual((await passes({ condition })).stops, expected);
    });
  }

  const HITS = [
    ['3', [3]], ['>= 3', [3, 4]], ['>=3', [3, 4]], ['> 3', [4]], ['< 2', [1]], ['<= 2', [1, 2]], ['== 2', [2]], ['% 2', [2, 4]], ['%3', [3]],
  ];
  for (const [hitCondition, expected] of HITS) {
    it(`stop at hit ${hitCondition}`, async () => {
      assert.deepStrictEqual((await passes({ hitCondition })).stops, expected);
    });
  }

  it('count only the passes where the condition holds', async () => {
    assert.deepStrictEqual((await passes({ condition: 'order.count > 0', hitCondition: '2' })).stops, [3]);
  });

  it('report a condition that cannot be compiled on the breakpoint', async () => {
    const { breakpoint, session } = await passes({ condition: 'order.count >' });
    const said = [breakpoint, ...session.events('breakpoint').map((b) => b.breakpoint)].filter((b) => b.id === breakpoint.id && b.message);
    assert.ok(said.some((b) => /unexpected symbol|syntax|near|condition/i.test(b.message)), JSON.stringify(said));
  });

  it('report a hit condition that makes no sense on the breakpoint', async () => {
    const { breakpoint, session } = await passes({ hitCondition: 'often' });
    const said = [breakpoint, ...session.events('breakpoint').map((b) => b.breakpoint)].filter((b) => b.id === breakpoint.id && b.message);
    assert.ok(said.some((b) => /often|hit/i.test(b.message)), JSON.stringify(said));
  });

  it('take a condition that fails for false and say so once', async () => {
    const { stops, session } = await passes({ condition: 'order.weight.grams > 5' });
    assert.deepStrictEqual(stops, []);
    assert.strictEqual(session.output('console').split('\n').filter((line) => /weight/.test(line)).length, 1, session.output('console'));
  });

  it('stop a condition that never ends, and the script goes on', async () => {
    const { stops, session } = await passes({ condition: 'i == 1 and (function() while true do end end)()' });
    assert.deepStrictEqual(stops, []);
    assert.notStrictEqual(session.output('console'), '');
  });
});

overBoth('log points', (start) => {
  /** Runs with a log point; gives the lines it wrote. */
  async function logged(spec) {
    const session = await start(ORDERS);
    await session.breakpoints(ORDERS, [{ line: 'sum', ...spec }]);
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.events('stopped').length, 0, 'a log point stopped');
    assert.strictEqual(session.output('stdout'), 'total\t436\n');
    return { session, lines: session.output('console').split('\n').filter(Boolean) };
  }

  it('write to the console instead of stopping', async () => {
    const { lines, session } = await logged({ logMessage: 'order {i}: {order.count} pieces, {sum + 1 - 1} cents' });
    assert.deepStrictEqual(lines, [
      'order 1: 3 pieces, 90 cents', 'order 2: 0 pieces, 0 cents', 'order 3: 12 pieces, 96 cents', 'order 4: 250 pieces, 250 cents',
    ]);
    const message = session.events('output').find((b) => b.output.startsWith('order 1'));
    assert.strictEqual(message.source?.path, ORDERS);
    assert.strictEqual(message.line, lineOf(ORDERS, 'sum'));
  });

  it('evaluate any expression, calls and strings too', async () => {
    const { lines } = await logged({ logMessage: '{string.rep(i, 3)} {order.item:upper()} {#orders}' });
    assert.strictEqual(lines.length, 4);
    assert.match(lines[0], /^"?111"? "?APPLE"? 4$/);
    assert.match(lines[3], /^"?444"? "?CHERRY"? 4$/);
  });

  it('understand braces inside an expression', async () => {
    const { lines } = await logged({ logMessage: 'one of {({ 7, 8, 9 })[2]}', condition: 'i == 1' });
    assert.deepStrictEqual(lines, ['one of 8']);
  });

  it('obey condition and hit count', async () => {
    assert.deepStrictEqual((await logged({ logMessage: 'at {i}', condition: 'order.count > 0' })).lines, ['at 1', 'at 3', 'at 4']);
    assert.deepStrictEqual((await logged({ logMessage: 'at {i}', hitCondition: '% 2' })).lines, ['at 2', 'at 4']);
  });

  it('do not stop the script when an expression fails', async () => {
    const { lines } = await logged({ logMessage: 'weight {order.weight.grams} of {i}' });
    assert.ok(lines.some((line) => /weight/.test(line)), lines.join('\n'));
  });

  it('do not change the stepping', async () => {
    const session = await start(ORDERS);
    await session.breakpoints(ORDERS, [{ line: 'book', hitCondition: '1' }, { line: 'sum', logMessage: 'passing {i}' }]);
    await session.go();
    await session.stopped('breakpoint', 'book');
    await session.step('next', 'sum');
    assert.strictEqual(session.output('console').trim(), 'passing 1');
    assert.strictEqual(await session.finish(), 0);
  });
});
