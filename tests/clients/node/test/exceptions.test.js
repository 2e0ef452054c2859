'use strict';
// Errors: where they stop, what is told about them, and that the script does
// not notice.

const assert = require('assert');
const { byName, fixture, lineOf, overBoth } = require('./support');

const FAILURES = fixture('failures.lua');
const WRAPPED = fixture('wrapped_failure.lua');
const CAUGHT = ['index', 'table', 'assert', 'native', 'coroutine', 'level'];

overBoth('exceptions', (start) => {
  /** Runs with these filters; gives the marks of all stops and how it ended. */
  async function thrown(filters, filterOptions, script = FAILURES) {
    const session = await start(script);
    await session.exceptions(filters, filterOptions);
    await session.go();
    const lines = [];
    const over = session.event('terminated').then(() => null);
    for (;;) {
      const event = await Promise.race([session.event('stopped'), over]);
      if (!event) break;
      assert.strictEqual(event.reason, 'exception');
      const { stackFrames } = await session.call('stackTrace', { threadId: 1 });
      assert.strictEqual(stackFrames[0].source.path, script, 'the top frame is the throwing Lua line');
      lines.push(stackFrames[0].line);
      await session.resume();
    }
    const { exitCode } = await session.event('exited');
    return { session, lines, exitCode };
  }
  const at = (...marks) => marks.map((mark) => lineOf(FAILURES, mark));

  it('stop only if nobody catches them, by default', async () => {
    const { session, lines, exitCode } = await thrown(['uncaught']);
    assert.deepStrictEqual(lines, at('uncaught'));
    assert.strictEqual(exitCode, 1);
    const told = session.output('stdout').split('\n');
    assert.strictEqual(told.length, 7, 'all that was caught went on as usual');
    assert.match(told[0], /^false\t.*:3: attempt to index a nil value \(field 'missing'\)$/);
    assert.strictEqual(told[1], '2');
    assert.match(told[2], /^false\t.*failures\.lua:11: value expected$/);
    assert.match(told[4], /inside a coroutine$/);
    assert.strictEqual(told[5], 'false\thandled: no position');
  });

  it('end the script with a traceback', async () => {
    const { session } = await thrown([]);
    assert.match(session.output('stderr'), new RegExp(`failures\\.lua:${lineOf(FAILURES, 'uncaught')}: attempt to perform arithmetic on a nil value \\(local 'answer'\\)`));
    assert.match(session.output('stderr'), /traceback/);
  });

  it('do not stop without a filter', async () => {
    const { lines, exitCode } = await thrown([]);
    assert.deepStrictEqual([lines, exitCode], [[], 1]);
  });

  it('stop wherever they are thrown, if asked', async () => {
    const { lines, exitCode } = await thrown(['all']);
    assert.deepStrictEqual(lines, at(...CAUGHT, 'uncaught'));
    assert.strictEqual(exitCode, 1);
  });

  it('stop once when both filters match', async () => {
    assert.deepStrictEqual((await thrown(['all', 'uncaught'])).lines, at(...CAUGHT, 'uncaught'));
  });

  it('stop if the message meets a condition', async () => {
    const all = (condition) => thrown([], [{ filterId: 'all', condition }]);
    assert.deepStrictEqual((await all('value expected')).lines, at('assert'));
    assert.deepStrictEqual((await all('on a %a+ value')).lines, at('uncaught'));
    assert.deepStrictEqual((await all('a nil value')).lines, at('index', 'uncaught'));
    assert.deepStrictEqual((await all('no such message')).lines, []);
    const uncaught = (condition) => thrown([], [{ filterId: 'uncaught', condition }]);
    assert.deepStrictEqual((await uncaught('arithmetic')).lines, at('uncaught'));
    assert.deepStrictEqual((await uncaught('value expected')).lines, []);
  });

  it('take filter options without a condition, as VS Code sends the defaults', async () => {
    assert.deepStrictEqual((await thrown([], [{ filterId: 'uncaught' }])).lines, at('uncaught'));
  });

  it('that leave a wrapped coroutine stop inside it', async () => {
    const { lines, exitCode } = await thrown(['uncaught'], undefined, WRAPPED);
    assert.deepStrictEqual([lines, exitCode], [[lineOf(WRAPPED, 'throw')], 1]);
  });

  it('leave the stack of the throw intact', async () => {
    const session = await start(WRAPPED);
    await session.exceptions(['uncaught']);
    await session.go();
    const { frames, frameId } = await session.stopped('exception', 'throw');
    assert.strictEqual((await session.locals(frameId)).missing.value, 'nil');
    assert.ok(frames.some((f) => f.line === lineOf(WRAPPED, 'take')), 'the resumer is on the stack');
    assert.strictEqual(await session.finish(), 1);
  });

  it('are described', async () => {
    const session = await start(FAILURES);
    await session.exceptions(['all']);
    await session.go();
    const { event, frameId } = await session.stopped('exception', 'index');
    assert.match(event.text ?? event.description, /attempt to index a nil value/);
    const info = await session.call('exceptionInfo', { threadId: 1 });
    assert.ok(info.exceptionId);
    assert.match(info.description, /attempt to index a nil value \(field 'missing'\)/);
    assert.ok(['never', 'always', 'unhandled', 'userUnhandled'].includes(info.breakMode));
    assert.match(info.details.message, /attempt to index a nil value/);
    assert.strictEqual(info.details.typeName, 'string');
    assert.match(info.details.stackTrace, /failures\.lua:3.*(.|\n)*pcall/);
    assert.match((await session.locals(frameId)).t.value, /^\{\}/);
    assert.ok((await session.scopes(frameId)).Error, 'there is a scope with the error');
  });

  it('that are tables show their fields', async () => {
    const session = await start(FAILURES);
    await session.exceptions([], [{ filterId: 'all' }]);
    await session.go();
    await session.stopped('exception', 'index');
    await session.resume();
    const { frameId } = await session.stopped('exception', 'table');
    const info = await session.call('exceptionInfo', { threadId: 1 });
    assert.match(JSON.stringify(info), /no paper/);
    assert.match(JSON.stringify(info), /42/);
    assert.strictEqual(info.details.typeName, 'table');
    const { variablesReference } = (await session.scopes(frameId)).Error;
    let shown = await session.variables(variablesReference);
    if (!shown.some((v) => v.name === 'code')) {
      const inner = shown.find((v) => v.variablesReference > 0);
      assert.ok(inner, JSON.stringify(shown));
      shown = await session.variables(inner.variablesReference);
    }
    assert.strictEqual(byName(shown).code.value, '42');
    assert.strictEqual(byName(shown).reason.value, '"no paper"');
  });

  it('tell whether they will be caught', async () => {
    const session = await start(FAILURES);
    await session.exceptions(['all', 'uncaught']);
    await session.go();
    for (const mark of CAUGHT) {
      await session.stopped('exception', mark);
      assert.notStrictEqual((await session.call('exceptionInfo', { threadId: 1 })).breakMode, 'unhandled', mark);
      await session.resume();
    }
    await session.stopped('exception', 'uncaught');
    assert.strictEqual((await session.call('exceptionInfo', { threadId: 1 })).breakMode, 'unhandled');
    assert.strictEqual(await session.finish(), 1);
  });

  it('that are raised by an evaluation stop nobody', async () => {
    const session = await start(FAILURES);
    await session.exceptions(['all']);
    await session.go();
    const { frameId } = await session.stopped('exception', 'index');
    assert.match(await session.refused('evaluate', { expression: 'error("from a watch")', frameId, context: 'watch' }), /from a watch/);
    assert.match(await session.value('pcall(error, "x")', frameId), /false/);
    await session.resume();
    await session.stopped('exception', 'table');
    assert.strictEqual(session.events('stopped').length, 2);
  });

  it('can be stepped away from', async () => {
    const session = await start(FAILURES);
    await session.exceptions([], [{ filterId: 'all', condition: 'value expected' }]);
    await session.go();
    await session.stopped('exception', 'assert');
    const { top } = await session.step('next');
    assert.ok(top.line > lineOf(FAILURES, 'level'), `stepped to line ${top.line}`);
    await session.exceptions([]);
    assert.strictEqual(await session.finish(), 1);
  });

  it('have no information when there was none', async () => {
    const session = await start(FAILURES);
    await session.breakpoints(FAILURES, ['uncaught']);
    await session.go();
    await session.stopped('breakpoint', 'uncaught');
    await session.refused('exceptionInfo', { threadId: 1 });
    assert.strictEqual(await session.finish(), 1);
  });
});
