'use strict';
// Coroutines are debugged like everything else: steps cross resume and yield,
// and the stack shows who resumed.

const assert = require('assert');
const { fixture, lineOf, overBoth } = require('./support');

const CO = fixture('coroutines.lua');
const OUTPUT = 'true\t1\ntrue\t2\ntrue\t30\ndead\n1\t7\n';

overBoth('coroutines', (start) => {
  async function at(mark, spec = {}) {
    const session = await start(CO);
    await session.breakpoints(CO, [{ line: mark, ...spec }]);
    await session.go();
    const stop = await session.stopped('breakpoint', mark);
    await session.breakpoints(CO, []);
    return { session, ...stop };
  }
  async function done(session) {
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), OUTPUT);
  }

  it('are entered by a step into resume', async () => {
    const { session } = await at('resume-1');
    await session.step('stepIn', 'producer-first');
    await session.step('next', 'producer-for');
    await session.step('next', 'producer-call');
    await session.step('stepIn', 'yield');
    await session.step('next', 'resume-1'); // over the yield: the resumer goes on
    await session.step('next', 'resume-2');
    await done(session);
  });

  it('are re-entered where they yielded', async () => {
    const { session } = await at('resume-2');
    const { frameId, top } = await session.step('stepIn', ['yield', 'handed']);
    assert.match(top.name, /hand_over/);
    assert.strictEqual((await session.locals(frameId)).value.value, '1');
    if (top.line === lineOf(CO, 'yield')) await session.step('next', 'handed');
    await session.step('stepOut', 'producer-call');
    await session.step('next', 'producer-for');
    await session.step('next', 'producer-call');
    await session.step('next', 'resume-2'); // a callee yields
    await done(session);
  });

  it('are stepped over as a whole', async () => {
    const { session } = await at('resume-1');
    await session.step('next', 'resume-2');
    await session.step('next', 'resume-3');
    await session.step('next', 'dead');
    await done(session);
  });

  it('return to the resumer when they end', async () => {
    const { session } = await at('producer-return');
    await session.step('next', 'resume-3');
    await session.step('next', 'dead');
    await done(session);
  });

  it('return to the resumer by a step out, too', async () => {
    const { session } = await at('producer-return');
    await session.step('stepOut', 'resume-3');
    await done(session);
  });

  it('made by wrap are stepped into and over', async () => {
    const { session } = await at('take-1');
    await session.step('stepIn', 'producer-first');
    await session.breakpoints(CO, ['take-2']);
    await session.resume();
    await session.stopped('breakpoint', 'take-2');
    await session.step('next', 'end');
    await done(session);
  });

  it('show their resumer below them on the stack', async () => {
    const { session, frames } = await at('yield');
    const own = frames.map((f) => [f.source?.path === CO ? f.line : null, f.name]);
    assert.deepStrictEqual(own.slice(0, 2).map(([line]) => line), [lineOf(CO, 'yield'), lineOf(CO, 'producer-call')]);
    assert.match(own[0][1], /hand_over/);
    const resumer = frames.find((f, i) => i > 1 && f.source?.path === CO && f.line === lineOf(CO, 'resume-1'));
    assert.ok(resumer, `no resumer in ${JSON.stringify(own)}`);
    assert.match(await session.value('thread', resumer.id), /^thread \(running\)/);
    await done(session);
  });

  it('hit breakpoints in every one of them', async () => {
    const session = await start(CO);
    await session.breakpoints(CO, ['producer-return', 'yield']);
    await session.go();
    const seen = [];
    const over = session.event('terminated').then(() => null);
    while (await Promise.race([session.event('stopped'), over])) {
      const { stackFrames } = await session.call('stackTrace', { threadId: 1, levels: 1 });
      seen.push(stackFrames[0].line);
      await session.resume();
    }
    const [y, r] = [lineOf(CO, 'yield'), lineOf(CO, 'producer-return')];
    assert.deepStrictEqual(seen, [y, y, r, y, r]);
  });
});
