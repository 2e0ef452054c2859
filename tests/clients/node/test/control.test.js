'use strict';
// Pause, terminate and restart, whatever the script is doing.

const assert = require('assert');
const { attach, fixture, lineOf, overBoth, run } = require('./support');

const BUSY = fixture('busy.lua');
const ORDERS = fixture('orders.lua');

/** The ways of being busy, each of which has been hard to interrupt for some debugger. */
const WAYS = ['loop', 'pcall', 'coroutine', 'sort', 'gsub', 'sleep'];

overBoth('control', (start) => {
  async function busy(way) {
    const session = await start(BUSY, { args: [way] });
    await session.go();
    await session.event('output', (b) => b.output.includes('busy'));
    return session;
  }

  for (const way of WAYS) {
    it(`pauses a script in ${way}, and lets it go on`, async () => {
      const session = await busy(way);
      await session.call('pause', { threadId: 1 });
      const { event, frames, frameId } = await session.stopped('pause');
      assert.ok(!event.hitBreakpointIds?.length);
      const own = frames.find((f) => f.source?.path === BUSY);
      assert.ok(own.line > 0, JSON.stringify(frames));
      if (way === 'sleep') {
        assert.strictEqual(own.line, lineOf(BUSY, 'sleep'));
        assert.strictEqual(await session.value('enough', frameId), 'false');
        await session.resume(); // sleeps on
        await session.call('pause', { threadId: 1 });
        await session.stopped('pause');
        await session.call('terminate');
        await session.event('terminated');
        return;
      }
      await session.evaluate('enough = true', frameId, 'repl');
      assert.strictEqual(await session.finish(), 0);
      assert.strictEqual(session.output('stdout'), 'busy\nenough\n');
    });

    it(`terminates a script in ${way}`, async () => {
      const session = await busy(way);
      await session.call('terminate');
      const exitCode = await session.ended();
      assert.notStrictEqual(exitCode, 0);
      assert.strictEqual(session.output('stdout'), 'busy\n', 'it did not go on');
    });
  }

  it('steps on from a pause', async () => {
    const session = await busy('loop');
    await session.call('pause', { threadId: 1 });
    const { top } = await session.stopped('pause');
    const next = await session.step('next');
    assert.ok(Math.abs(next.top.line - top.line) <= 2);
    await session.call('terminate');
    await session.event('terminated');
  });

  it('pauses again and again', async () => {
    const session = await busy('loop');
    let last = -1;
    for (let i = 0; i < 20; i++) {
      await session.call('pause', { threadId: 1 });
      const { frames } = await session.stopped('pause');
      const spin = frames.find((f) => f.source?.path === BUSY);
      const count = Number(await session.value('count', spin.id));
      assert.ok(count >= last, `${count} after ${last}`);
      last = count;
      await session.resume();
    }
    await session.call('terminate');
    await session.event('terminated');
  });

  it('pauses a script that has hardly begun', async () => {
    const session = await start(BUSY);
    const gone = session.go();
    session.call('pause', { threadId: 1 }).catch(() => {});
    const { frames } = await session.stopped('pause');
    await gone;
    assert.ok(frames.some((f) => f.source?.path === BUSY && f.line > 0), JSON.stringify(frames));
    await session.call('terminate');
    await session.event('terminated');
  });

  it('terminates a script that is paused', async () => {
    const session = await start(ORDERS);
    await session.breakpoints(ORDERS, ['sum']);
    await session.go();
    await session.stopped('breakpoint', 'sum');
    await session.call('terminate');
    assert.notStrictEqual(await session.ended(), 0);
    assert.strictEqual(session.output('stdout'), '');
  });

  it('refuses to continue or step what is not stopped', async () => {
    const session = await busy('loop');
    for (const command of ['next', 'stepIn', 'stepOut', 'stackTrace']) {
      assert.match(await session.refused(command, { threadId: 1 }), /running|not (stopped|paused)|stop|pause/i);
    }
    await session.call('terminate');
    await session.event('terminated');
  });

  it('restarts a stopped script with its breakpoints', async () => {
    const session = await start(ORDERS);
    await session.breakpoints(ORDERS, [{ line: 'sum', condition: 'i == 2' }]);
    await session.go();
    const first = await session.stopped('breakpoint', 'sum');
    await session.evaluate('total = 1000000', first.frameId, 'repl');
    await session.call('restart');
    const { frameId } = await session.stopped('breakpoint', 'sum');
    assert.strictEqual(await session.value('total', frameId), '90', 'it began anew');
    await session.breakpoints(ORDERS, []);
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), 'total\t436\n');
  });

  it('restarts a running script', async () => {
    const session = await busy('loop');
    await session.call('restart');
    await session.event('output', (b) => b.output.includes('busy'));
    assert.strictEqual(session.events('terminated').length, 0);
    await session.call('terminate');
    await session.event('terminated');
  });

  it('reports a wait of more than a second, and its end', async () => {
    const session = await start(fixture('nap.lua'));
    await session.go();
    const { progressId, title } = await session.event('progressStart');
    assert.ok(title);
    await session.event('progressEnd', (b) => b.progressId === progressId);
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.output('stdout'), 'rested\n');
  });

  it('evaluates in a script that sleeps, once it is paused', async () => {
    const session = await busy('sleep');
    await session.call('pause', { threadId: 1 });
    const { frames } = await session.stopped('pause');
    const frame = frames.find((f) => f.source?.path === BUSY);
    assert.strictEqual(await session.value('arg[1]', frame.id), '"sleep"');
    await session.call('terminate');
    await session.event('terminated');
  });
});

describe('control without a debugger', () => {
  it('a timeout ends any script with code 124', async () => {
    const ended = await Promise.all(WAYS.map(async (way) => [way, (await run(['run', '--timeout', '1', BUSY, way])).code]));
    assert.deepStrictEqual(ended, WAYS.map((way) => [way, 124]));
  });

  it('terminate ends the process of an attached script', async () => {
    const session = await attach(BUSY, { args: ['pcall'] });
    await session.go();
    await session.event('output');
    await session.call('terminate');
    assert.notStrictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, 'busy\n');
  });
});
