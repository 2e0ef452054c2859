'use strict';
// Stepping in, over and out of everything that can be called in Lua. Where a
// list of marks is given, nothing is left to do on the first of them and it is
// a matter of taste whether a debugger shows the line once more.

const assert = require('assert');
const { fixture, lineOf, overBoth } = require('./support');

const STEPS = fixture('steps.lua');
const OUTPUT = [
  `false\t${STEPS}:${lineOf(STEPS, 'risky-error')}: broken at 27`, '2', '3\t2\t1', 'A B', '6', '4\t12\t27\t24\t10\tno gold!', '',
].join('\n');

overBoth('stepping', (start) => {
  /** Stops at `mark`, steps as told (`'next > add-first'`, several marks: any), and lets the script finish. */
  async function walk(mark, path, spec = {}) {
    const session = await start(STEPS);
    await session.breakpoints(STEPS, [{ line: mark, ...spec }]);
    await session.go();
    await session.stopped('breakpoint', mark);
    await session.breakpoints(STEPS, []);
    let last;
    for (const step of path) {
      const [command, marks] = step.split(' > ');
      last = await session.step(command, marks.split(' | '));
    }
    const locals = await session.locals(last.frameId);
    assert.strictEqual(await session.finish(), 0);
    const told = session.output('stdout').replace(/^false\t.*?(steps\.lua|\.\.\.[^:]*):/, `false\t${STEPS}:`);
    assert.strictEqual(told, OUTPUT, 'stepping changed the result');
    return locals;
  }

  const WALKS = {
    'over a call': ['plain-call', ['next > nested-call', 'next > silent-call', 'next > tail-caller']],
    'into a function and line by line back to the caller': ['plain-call', ['stepIn > add-first', 'next > add-return', 'next > plain-call', 'next > nested-call']],
    'out of a function': ['plain-call', ['stepIn > add-first', 'stepOut > plain-call', 'next > nested-call']],
    'out of two functions': ['nested-call', ['stepIn > twice-first', 'stepIn > add-first', 'stepOut > twice-first', 'stepOut > nested-call', 'next > silent-call']],
    'in where there is nothing to enter': ['add-first', ['stepIn > add-return']],
    'over the end of a function that returns nothing': ['silent-call', ['stepIn > silent-first', 'next > silent-end', 'next > silent-call | tail-caller']],
    'out of a function that returns nothing': ['silent-first', ['stepOut > silent-call | tail-caller']],
    'into a tail call and out of it to the real caller': ['tail-caller', ['stepIn > tail-first', 'next > tail-call', 'stepIn > twice-first', 'stepOut > tail-caller', 'next > factorial-call']],
    'over a tail call': ['tail-call', ['next > tail-caller']],
    'over a call through pcall that fails': ['pcall', ['next > pcall-add']],
    'into a function called by pcall, and over its error': ['pcall', ['stepIn > risky-first', 'next > risky-error', 'next > pcall | pcall-add']],
    'out of a function that fails': ['risky-first', ['stepOut > pcall | pcall-add']],
    'out of a function called by pcall': ['pcall-add', ['stepIn > add-first', 'stepOut > pcall-add']],
    'over table.sort': ['sort', ['next > sorted']],
    'into the comparator of table.sort, and out': ['sort', ['stepIn > compare', 'stepOut > sort | sorted']],
    'over table.sort with a step that began before it': ['sort', ['stepIn > compare', 'next > compare | sort | sorted']],
    'over string.gsub': ['gsub', ['next > gsub-after']],
    'into the callback of string.gsub, and out': ['gsub', ['stepIn > shout-first', 'next > shout-return', 'stepOut > gsub | gsub-after']],
    'over an iterator': ['for-body', ['next > for', 'next > for-body', 'next > for']],
    'into an iterator, and out': ['for-body', ['next > for', 'stepIn > iterator-first', 'next > iterator-return', 'next > for | for-body']],
    'over a metamethod': ['meta-add', ['next > meta-index', 'next > end']],
    'into an arithmetic metamethod, and out': ['meta-add', ['stepIn > meta-first', 'stepOut > meta-add', 'next > meta-index']],
    'into an __index metamethod, and out': ['meta-index', ['stepIn > index-first', 'stepOut > meta-index', 'next > end']],
  };
  for (const [title, [mark, path]] of Object.entries(WALKS)) {
    it(title, () => walk(mark, path));
  }

  it('over a recursive call stays in its own activation', async () => {
    const locals = await walk('factorial-return', ['next > factorial-return'], { condition: 'n == 3' });
    assert.strictEqual(locals.n.value, '4');
    await walk('factorial-return', ['next > factorial-call'], { condition: 'n == 4' });
  });

  it('out of a recursive call goes up one activation', async () => {
    const locals = await walk('factorial-test', ['stepOut > factorial-return'], { condition: 'n == 2' });
    assert.strictEqual(locals.n.value, '3');
  });

  it('ends when the script does', async () => {
    const session = await start(STEPS);
    await session.breakpoints(STEPS, ['end']);
    await session.go();
    await session.stopped('breakpoint', 'end');
    await session.call('next', { threadId: 1 });
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.events('stopped').length, 1);
  });

  it('gives way to a breakpoint on the way', async () => {
    const session = await start(STEPS);
    await session.breakpoints(STEPS, ['plain-call', 'add-return']);
    await session.go();
    await session.stopped('breakpoint', 'plain-call');
    await session.call('next', { threadId: 1 });
    await session.stopped('breakpoint', 'add-return');
    await session.breakpoints(STEPS, []);
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.events('stopped').length, 2, 'the step was not over at the breakpoint');
  });

  it('stops once on a line that has a breakpoint', async () => {
    const session = await start(STEPS);
    await session.breakpoints(STEPS, ['plain-call', 'nested-call']);
    await session.go();
    await session.stopped('breakpoint', 'plain-call');
    await session.call('next', { threadId: 1 });
    const { reason } = await session.event('stopped');
    assert.ok(['step', 'breakpoint'].includes(reason));
    await session.breakpoints(STEPS, []);
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.events('stopped').length, 2);
  });

  it('walks through the whole script without losing its way', async () => {
    const session = await start(STEPS);
    await session.breakpoints(STEPS, ['plain-call']);
    await session.go();
    await session.stopped('breakpoint', 'plain-call');
    await session.breakpoints(STEPS, []);
    const visited = new Set();
    const over = session.event('terminated').then(() => null);
    for (let steps = 0; ; steps++) {
      assert.ok(steps < 400, 'more steps than there can be');
      await session.call('stepIn', { threadId: 1 });
      const event = await Promise.race([session.event('stopped'), over]);
      if (!event) break;
      assert.strictEqual(event.reason, 'step');
      const { stackFrames } = await session.call('stackTrace', { threadId: 1, levels: 1 });
      visited.add(stackFrames[0].line);
    }
    const lines = ['add-first', 'add-return', 'twice-first', 'twice-return', 'silent-first', 'silent-end', 'tail-first', 'tail-call', 'factorial-test', 'factorial-base',
      'factorial-return', 'risky-first', 'risky-error', 'compare', 'shout-first', 'shout-return', 'iterator-first', 'iterator-return', 'for', 'for-body', 'for-after',
      'index-first', 'meta-first', 'meta-return', 'end'];
    assert.deepStrictEqual(lines.filter((mark) => !visited.has(lineOf(STEPS, mark))), [], 'lines that stepIn missed');
  });
});
