'use strict';
// What issue 2 leaves open. If a capability is advertised it must work; if not,
// handshake.test.js makes sure that the request is refused.

const assert = require('assert');
const { fixture, lineOf, overBoth } = require('./support');

const ACCOUNT = fixture('account.lua');

overBoth('data breakpoints', (start) => {
  async function stopped(context) {
    const session = await start(ACCOUNT);
    if (!session.capabilities.supportsDataBreakpoints) {
      session.kill();
      context.skip();
    }
    await session.breakpoints(ACCOUNT, ['book']);
    await session.go();
    const { frameId } = await session.stopped('breakpoint', 'book');
    await session.breakpoints(ACCOUNT, []);
    return { session, frameId };
  }

  it('stop when a field changes', async function () {
    const { session, frameId } = await stopped(this);
    const { account } = await session.locals(frameId);
    const info = await session.call('dataBreakpointInfo', { variablesReference: account.variablesReference, name: 'balance' });
    assert.ok(info.dataId, info.description);
    const { breakpoints } = await session.call('setDataBreakpoints', { breakpoints: [{ dataId: info.dataId, accessType: 'write' }] });
    assert.strictEqual(breakpoints[0].verified, true);
    await session.resume();
    const { top, frameId: there } = await session.stopped('data breakpoint');
    assert.ok([lineOf(ACCOUNT, 'deposit') + 1, lineOf(ACCOUNT, 'deposit') + 2].includes(top.line), `line ${top.line}`);
    assert.strictEqual(await session.value('self.balance', there), '27');
    assert.strictEqual(await session.finish(), 0);
  });

  it('do not change the result, and can be removed', async function () {
    const { session, frameId } = await stopped(this);
    const { account } = await session.locals(frameId);
    const { dataId } = await session.call('dataBreakpointInfo', { variablesReference: account.variablesReference, name: 'balance' });
    await session.call('setDataBreakpoints', { breakpoints: [{ dataId }] });
    await session.call('setDataBreakpoints', { breakpoints: [] });
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.events('stopped').length, 1);
    assert.strictEqual(session.output('stdout'), '13\t2\t1\t100\t27\tAda\t5,10,15\n1\t2\n1\tbooked 13\n');
  });
});

overBoth('step-in targets', (start) => {
  const TARGETS = fixture('targets.lua');

  for (const name of ['left', 'right', 'both']) {
    it(`step into ${name}, one of several calls on a line`, async function () {
      const session = await start(TARGETS);
      if (!session.capabilities.supportsStepInTargetsRequest) this.skip();
      await session.breakpoints(TARGETS, ['calls']);
      await session.go();
      const { frameId } = await session.stopped('breakpoint', 'calls');
      await session.breakpoints(TARGETS, []);
      const { targets } = await session.call('stepInTargets', { frameId });
      assert.strictEqual(new Set(targets.map((t) => t.id)).size, targets.length);
      const target = targets.find((t) => new RegExp(`\\b${name}\\b`).test(t.label));
      assert.ok(target, JSON.stringify(targets));
      await session.call('stepIn', { threadId: 1, targetId: target.id });
      await session.stopped('step', name);
      assert.strictEqual(await session.finish(), 0);
      assert.strictEqual(session.output('stdout'), '3\n');
    });
  }
});
