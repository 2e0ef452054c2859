'use strict';
// The call stack: its frames, their names, and pages of it.

const assert = require('assert');
const { fixture, lineOf, overBoth } = require('./support');

const STEPS = fixture('steps.lua');
const DEEP = fixture('deep.lua');
const DEPTH = 190000;

overBoth('the stack', (start) => {
  async function at(mark, spec = {}) {
    const session = await start(STEPS);
    await session.breakpoints(STEPS, [{ line: mark, ...spec }]);
    await session.go();
    return { session, ...(await session.stopped('breakpoint', mark)) };
  }
  const lines = (...marks) => marks.map((mark) => lineOf(STEPS, mark));

  it('shows functions by the names Lua knows', async () => {
    const { session, frames, totalFrames } = await at('add-first', { condition: 'a == 4' });
    const own = frames.filter((f) => f.source?.path === STEPS);
    assert.deepStrictEqual(own.map((f) => f.line), lines('add-first', 'twice-first', 'nested-call'));
    assert.match(own[0].name, /\badd\b/);
    assert.match(own[1].name, /\btwice\b/);
    assert.match(own[2].name, /main/);
    assert.strictEqual(totalFrames, frames.length);
    assert.strictEqual(new Set(frames.map((f) => f.id)).size, frames.length, 'every frame has its own id');
    await session.breakpoints(STEPS, []);
    assert.strictEqual(await session.finish(), 0);
  });

  it('shows native frames between', async () => {
    const { frames } = await at('compare');
    const names = frames.map((f) => f.name);
    const caller = frames.findIndex((f) => f.line === lines('sort')[0]);
    assert.strictEqual(caller, 2, names.join(' < '));
    assert.match(names[1], /sort/);
    assert.ok(!frames[1].source?.path, 'a native frame has no file');
  });

  it('tells where a tail call has replaced a frame', async () => {
    const { frames } = await at('twice-return', { condition: 'x == 13' });
    const names = frames.map((f) => f.name);
    assert.ok(names.some((name) => /tail call/.test(name)), names.join(' < '));
    assert.ok(frames.some((f) => f.line === lines('tail-caller')[0]));
  });

  it('keeps the frames of a recursion apart', async () => {
    const { session, frames } = await at('factorial-base');
    const values = [];
    for (const frame of frames.slice(0, 4)) values.push((await session.locals(frame.id)).n.value);
    assert.deepStrictEqual(values, ['1', '2', '3', '4']);
  });

  it('comes in pages', async () => {
    const { session, frames, totalFrames } = await at('factorial-base');
    const paged = [];
    while (paged.length < totalFrames) {
      const page = await session.call('stackTrace', { threadId: 1, startFrame: paged.length, levels: 2 });
      assert.ok(page.stackFrames.length >= 1 && page.stackFrames.length <= 2);
      assert.ok((page.totalFrames ?? Infinity) >= totalFrames);
      paged.push(...page.stackFrames);
    }
    assert.deepStrictEqual(paged.map((f) => [f.line, f.name]), frames.map((f) => [f.line, f.name]));
    const beyond = await session.call('stackTrace', { threadId: 1, startFrame: totalFrames + 10, levels: 2 });
    assert.deepStrictEqual(beyond.stackFrames, []);
    const all = await session.call('stackTrace', { threadId: 1, startFrame: 0, levels: 0 });
    assert.strictEqual(all.stackFrames.length, totalFrames, 'levels 0 asks for all');
  });

  it(`answers in a recursion of ${DEPTH} calls`, async () => {
    const session = await start(DEEP, { args: [String(DEPTH)] });
    await session.breakpoints(DEEP, ['bottom']);
    await session.go();
    await session.event('stopped');
    const page = (startFrame, levels) => session.call('stackTrace', { threadId: 1, startFrame, levels });
    const top = await page(0, 20);
    assert.strictEqual(top.stackFrames.length, 20);
    assert.strictEqual(top.stackFrames[0].line, lineOf(DEEP, 'bottom'));
    assert.strictEqual(top.stackFrames[19].line, lineOf(DEEP, 'down'));
    assert.ok(top.totalFrames > DEPTH && top.totalFrames < DEPTH + 10, `${top.totalFrames} frames`);
    const middle = await page(DEPTH / 2, 1);
    assert.strictEqual((await session.locals(middle.stackFrames[0].id)).n.value, String(DEPTH / 2));
    const last = await page(top.totalFrames - 5, 100);
    assert.ok(last.stackFrames.length <= 5);
    assert.ok(last.stackFrames.some((f) => f.line === lineOf(DEEP, 'main')));
    await session.call('stepOut', { threadId: 1 });
    await session.event('stopped');
    assert.strictEqual((await session.locals((await page(0, 1)).stackFrames[0].id)).n.value, '1');
    await session.breakpoints(DEEP, []);
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), `${DEPTH}\n`);
  });

  it('survives a stack overflow', async () => {
    const session = await start(DEEP, { args: ['100000000'] });
    await session.exceptions(['uncaught']);
    await session.go();
    const event = await session.event('stopped');
    assert.strictEqual(event.reason, 'exception');
    const { stackFrames } = await session.call('stackTrace', { threadId: 1, startFrame: 0, levels: 3 });
    assert.strictEqual(stackFrames[0].line, lineOf(DEEP, 'down'));
    assert.match((await session.call('exceptionInfo', { threadId: 1 })).description, /stack overflow/);
    assert.strictEqual(await session.finish(), 1);
  });

  it('is refused for a frame that is gone', async () => {
    const { session } = await at('add-first', { hitCondition: '1' });
    await session.step('next', 'add-return');
    await session.refused('scopes', { frameId: 987654321 });
    await session.breakpoints(STEPS, []);
    assert.strictEqual(await session.finish(), 0);
  });
});
