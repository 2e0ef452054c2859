'use strict';
// Coming and going: disconnect, clients that vanish, second debuggers, and
// debuggers that come back.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { attach, fixture, launch, lineOf, open, reattach, serve } = require('./support');

const ORDERS = fixture('orders.lua');
const BUSY = fixture('busy.lua');
const OUTPUT = 'total\t436\n';

async function stoppedAt(mark, start = attach) {
  const session = await start(ORDERS);
  await session.breakpoints(ORDERS, [mark]);
  await session.go();
  await session.stopped('breakpoint', mark);
  return session;
}

/** Lets a busy script end, by the hand of a new debugger. */
async function release(session) {
  await session.call('pause', { threadId: 1 });
  const { frameId } = await session.stopped('pause');
  await session.evaluate('enough = true', frameId, 'repl');
  assert.strictEqual(await session.finish(), 0);
  assert.strictEqual(await session.exited, 0);
}

describe('disconnect (TCP)', () => {
  for (const [what, args] of [['without arguments', undefined], ['that leaves the script alone', { terminateDebuggee: false }], ['before a restart that does not come', { restart: false }]]) {
    it(`${what} lets the script go on to its end`, async () => {
      const session = await stoppedAt('sum');
      await session.call('disconnect', args);
      assert.strictEqual(await session.exited, 0);
      assert.strictEqual(session.debuggee.out, OUTPUT);
    });
  }

  it('that terminates the script ends it where it is', async () => {
    const session = await stoppedAt('sum');
    await session.call('disconnect', { terminateDebuggee: true });
    assert.notStrictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, '');
  });

  it('that suspends the script leaves it stopped for the next debugger', async () => {
    const session = await stoppedAt('sum');
    await session.call('disconnect', { suspendDebuggee: true });
    const next = await reattach(session.debuggee, ORDERS);
    await next.event('stopped');
    const { stackFrames: [{ id: frameId, line }] } = await next.call('stackTrace', { threadId: 1 });
    assert.strictEqual(line, lineOf(ORDERS, 'sum'));
    assert.strictEqual(await next.value('sum', frameId), '90');
    assert.strictEqual(session.debuggee.out, '');
    assert.strictEqual(await next.finish(), 0);
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, OUTPUT);
  });
});

describe('disconnect (stdio)', () => {
  it('ends a launched script and the adapter', async () => {
    const session = await stoppedAt('sum', launch);
    await session.call('disconnect', { terminateDebuggee: true });
    assert.notStrictEqual(await session.exited, null);
    assert.strictEqual(session.output('stdout'), '');
  });

  it('that leaves the script alone lets it go on to its end', async () => {
    const session = await stoppedAt('sum', launch);
    await session.call('disconnect', { terminateDebuggee: false });
    assert.strictEqual(await session.exited, 0);
  });

  it('a client that vanishes takes the adapter with it', async () => {
    const session = await launch(BUSY, { args: ['loop'] });
    await session.go();
    await session.event('output');
    session.leave();
    assert.ok([null, 0, 1, 130].includes(await session.exited), 'the adapter is gone');
  });
});

describe('an adapter that is killed (stdio)', () => {
  /** Processes that have `name` on their command line. */
  const processes = (name) => fs.readdirSync('/proc').filter((pid) => {
    try { return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(name); } catch { return false; }
  });

  it('leaves no script behind that waits for ever', async function () {
    if (!fs.existsSync('/proc/self/cmdline')) this.skip();
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'llmspell-orphan-'));
    const script = path.join(fs.realpathSync(dir), 'orders.lua');
    fs.copyFileSync(ORDERS, script);
    for (let i = 0; i < 20; i++) {
      const session = await launch(script);
      session._adapterProcess.kill('SIGKILL');
      await session.guard(session.exited, 'the end of the adapter');
    }
    let left = processes(dir);
    for (const end = Date.now() + 10000; left.length > 0 && Date.now() < end; left = processes(dir)) await new Promise(setImmediate);
    for (const pid of left) process.kill(Number(pid), 'SIGKILL');
    assert.deepStrictEqual(left, []);
  });
});

describe('a client that vanishes (TCP)', () => {
  it('while paused lets the script complete', async () => {
    const session = await stoppedAt('sum');
    session.leave();
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, OUTPUT);
  });

  it('in the middle of a message lets the script complete', async () => {
    const session = await stoppedAt('sum');
    await new Promise((resolve) => session._socket.write('Content-Length: 1000\r\n\r\n{"seq":', resolve));
    session.leave();
    assert.strictEqual(await session.exited, 0);
  });

  it('during an evaluation lets the script complete', async () => {
    const session = await stoppedAt('sum');
    const { stackFrames: [{ id: frameId }] } = await session.call('stackTrace', { threadId: 1 });
    session.ask('evaluate', { expression: 'while true do end', frameId, context: 'repl' });
    await session.call('threads');
    session.leave();
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, OUTPUT);
  });

  it('while the script runs does not disturb it, and another can come', async () => {
    const session = await attach(BUSY, { args: ['coroutine'] });
    await session.go();
    await session.event('output');
    session.leave();
    await release(await reattach(session.debuggee, BUSY));
    assert.strictEqual(session.debuggee.out, 'busy\nenough\n');
  });

  it('takes its breakpoints with it', async () => {
    const session = await attach(BUSY);
    await session.breakpoints(BUSY, ['spin']);
    await session.go();
    await session.stopped('breakpoint', 'spin');
    session.leave();
    const next = await reattach(session.debuggee, BUSY);
    await release(next);
    assert.deepStrictEqual(next.events('stopped').map((e) => e.reason), ['pause']);
  });
});

describe('another debugger (TCP)', () => {
  it('is refused while one is there, with a reason', async () => {
    const session = await stoppedAt('sum');
    const second = await open(session.debuggee.port, ORDERS);
    let response = await second.ask('initialize', { adapterID: 'lua' });
    if (response.success) response = await second.ask('attach', {});
    assert.strictEqual(response.success, false);
    assert.match(response.body?.error?.format ?? response.message, /already|another|other|busy|one debugger/i);
    second.leave();
    await session.step('next', 'loop');
    await session.breakpoints(ORDERS, []);
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, OUTPUT);
  });

  it('can come after the first has left, and its breakpoints verify at once', async () => {
    const session = await attach(BUSY);
    await session.go();
    await session.event('output');
    await session.call('disconnect', { terminateDebuggee: false });
    let breakpoint;
    const next = await reattach(session.debuggee, BUSY, async (s) => { [breakpoint] = await s.breakpoints(BUSY, ['spin']); });
    assert.strictEqual(breakpoint.verified, true);
    assert.strictEqual(breakpoint.line, lineOf(BUSY, 'spin'));
    const { frameId } = await next.stopped('breakpoint', 'spin');
    await next.breakpoints(BUSY, []);
    await next.evaluate('enough = true', frameId, 'repl');
    assert.strictEqual(await next.finish(), 0);
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, 'busy\nenough\n');
  });

  for (const way of ['loop', 'coroutine', 'sort', 'sleep']) {
    it(`can come late to a script that did not wait, in ${way}`, async () => {
      const debuggee = await serve(BUSY, { args: [way], wait: false });
      await debuggee.wrote('busy');
      const session = await reattach(debuggee, BUSY);
      await session.call('pause', { threadId: 1 });
      const { frames } = await session.stopped('pause');
      assert.ok(frames.some((f) => f.source?.path === BUSY && f.line > 0));
      if (way !== 'sleep') {
        const [breakpoint] = await session.breakpoints(BUSY, ['spin']);
        assert.strictEqual(breakpoint.verified, true);
        await session.resume();
        await session.stopped('breakpoint', 'spin');
      }
      await session.call('terminate');
      assert.notStrictEqual(await debuggee.exited, 0);
    });
  }

  it('ten in a row find the session as it was', async () => {
    const debuggee = await serve(BUSY, { wait: false });
    for (let i = 0; i < 10; i++) {
      const session = await reattach(debuggee, BUSY, (s) => s.breakpoints(BUSY, ['spin']));
      await session.stopped('breakpoint', 'spin');
      if (i % 2) session.leave();
      else await session.call('disconnect', {});
    }
    await release(await reattach(debuggee, BUSY));
    assert.strictEqual(await debuggee.exited, 0);
  });
});
