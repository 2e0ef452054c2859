'use strict';
// Evaluation in a frame: what each context may do, and what it can never do.

const assert = require('assert');
const { byName, fixture, overBoth } = require('./support');

const ACCOUNT = fixture('account.lua');

overBoth('evaluate', (start) => {
  async function stopped(mark = 'book') {
    const session = await start(ACCOUNT);
    await session.breakpoints(ACCOUNT, [mark]);
    await session.go();
    const stop = await session.stopped('breakpoint', mark);
    await session.breakpoints(ACCOUNT, []);
    return { session, ...stop };
  }
  async function output(session) {
    assert.strictEqual(await session.finish(), 0);
    return session.output('stdout').split('\n');
  }

  it('reads locals, upvalues, globals and varargs', async () => {
    const { session, frameId } = await stopped();
    const expected = {
      'amount': '13', 'amount * rate': '26', 'bonus + limit': '101', 'account.owner': '"Ada"', '#account.history': '3',
      'account.history[2]': '10', 'account:deposit(0)': '0', 'select("#", ...)': '2', '({...})[2]': '2', 'not amount': 'false',
      'amount > 5 and "much" or "little"': '"much"', 'unheard_of': 'nil', '(function() return amount end)()': '13', '10 // 3': '3', '1 << 40': '1099511627776',
    };
    for (const [expression, value] of Object.entries(expected)) {
      assert.strictEqual(await session.value(expression, frameId), value, expression);
    }
  });

  it('sees the frame that it is asked for', async () => {
    const { session, frames } = await stopped('deposit');
    const [deposit, book, main] = frames.filter((f) => f.source?.path === ACCOUNT);
    assert.strictEqual(await session.value('amount', deposit.id), '27');
    assert.strictEqual(await session.value('amount', book.id), '13');
    assert.strictEqual(await session.value('amount', main.id), 'nil');
    assert.match(await session.value('account', main.id), /owner = "Ada"/);
  });

  it('gives tables that can be opened', async () => {
    const { session, frameId } = await stopped();
    const { variablesReference, indexedVariables, type } = await session.evaluate('account.history', frameId);
    assert.strictEqual(type, 'table');
    assert.strictEqual(indexedVariables, 3);
    assert.strictEqual(byName(await session.variables(variablesReference))['[3]'].value, '15');
  });

  it('runs statements in the console, which change the script', async () => {
    const { session, frameId } = await stopped();
    await session.evaluate('amount = 50', frameId, 'repl');
    await session.evaluate('bonus = bonus + 1; limit = 7', frameId, 'repl');
    await session.evaluate('for i = 1, 3 do account.history[i] = i end', frameId, 'repl');
    await session.evaluate('local rate = 99', frameId, 'repl'); // its own local
    assert.strictEqual(await session.value('amount', frameId), '50');
    assert.strictEqual((await session.locals(frameId)).amount.value, '50');
    assert.strictEqual((await output(session))[0], '50\t2\t2\t7\t102\tAda\t1,2,3');
  });

  it('shows several results in the console', async () => {
    const { session, frameId } = await stopped();
    for (const code of ['amount, "two", nil', 'return amount, "two", nil']) {
      assert.match(await session.value(code, frameId, 'repl'), /^13\b.*"two".*nil$/s);
    }
    assert.strictEqual(await session.value('amount', frameId, 'repl'), '13');
  });

  it('prints in the console like the script does', async () => {
    const { session, frameId } = await stopped();
    await session.evaluate('print("from the console")', frameId, 'repl');
    await session.event('output', (b) => b.output.includes('from the console'));
  });

  it('takes expressions only in a watch', async () => {
    const { session, frameId } = await stopped();
    await session.refused('evaluate', { expression: 'amount = 1', frameId, context: 'watch' });
    assert.strictEqual(await session.value('amount', frameId), '13');
  });

  it('says what is wrong with an expression', async () => {
    const { session, frameId } = await stopped();
    for (const context of ['watch', 'repl']) {
      assert.match(await session.refused('evaluate', { expression: 'amount +', frameId, context }), /unexpected|near|syntax/);
      assert.match(await session.refused('evaluate', { expression: 'unheard_of.field', frameId, context }), /attempt to index a nil value.*unheard_of/);
      assert.match(await session.refused('evaluate', { expression: 'error("on purpose")', frameId, context }), /on purpose/);
    }
    assert.strictEqual(await session.value('amount', frameId), '13');
  });

  it('shows names and fields on hover', async () => {
    const { session, frameId } = await stopped();
    assert.strictEqual(await session.value('amount', frameId, 'hover'), '13');
    assert.strictEqual(await session.value('account.owner', frameId, 'hover'), '"Ada"');
    assert.strictEqual(await session.value('account.history[1]', frameId, 'hover'), '5');
    assert.match(await session.value('account', frameId, 'hover'), /owner = "Ada"/);
  });

  it('never calls a function on hover', async () => {
    const { session, frameId } = await stopped();
    await session.evaluate('called = 0', frameId, 'repl');
    await session.evaluate('function call_me() called = called + 1 return called end', frameId, 'repl');
    await session.evaluate('trap = setmetatable({}, { __index = function() return call_me() end, __add = call_me, __len = call_me })', frameId, 'repl');
    for (const expression of ['call_me()', 'trap.field', 'trap + 1', '#trap', 'call_me "x"', 'account:deposit(5)', '(call_me)()']) {
      await session.ask('evaluate', { expression, frameId, context: 'hover' });
    }
    assert.strictEqual(await session.value('called', frameId), '0');
    assert.strictEqual(await session.value('account.balance', frameId), '0');
    await session.refused('evaluate', { expression: 'call_me()', frameId, context: 'hover' });
  });

  it('gives the whole value to the clipboard', async () => {
    const { session, frameId } = await stopped();
    await session.evaluate('wide = {}; for i = 1, 500 do wide[i] = i end; wide.deep = { deeper = { "deepest" } }', frameId, 'repl');
    const text = await session.value('wide', frameId, 'clipboard');
    assert.match(text, /\b500\b/);
    assert.match(text, /deepest/);
    await session.evaluate('long = ("x"):rep(30000)', frameId, 'repl');
    assert.ok((await session.value('long', frameId, 'clipboard')).length >= 30000);
  });

  for (const expression of ['(function() while true do end end)()', 'coroutine.wrap(function() while true do end end)()', 'table.sort({ 3, 2, 1 }, function() while true do end end)', '(function() while true do pcall(error) end end)()']) {
    it(`ends a watch that does not end by itself: ${expression}`, async () => {
      const { session, frameId } = await stopped();
      const message = await session.refused('evaluate', { expression, frameId, context: 'watch' });
      assert.match(message, /time|long|stopped|cancel|interrupt|complex|limit/i);
      assert.strictEqual(await session.value('amount', frameId), '13', 'the session lives on');
      await session.step('next', 'log');
      assert.strictEqual((await output(session))[0], '13\t2\t1\t100\t27\tAda\t5,10,15');
    });
  }

  it('can be cancelled', async () => {
    const { session, frameId } = await stopped();
    const endless = session.ask('evaluate', { expression: 'while true do end', frameId, context: 'repl' });
    await session.call('cancel', { requestId: endless.seq });
    const response = await endless;
    assert.strictEqual(response.success, false);
    assert.match(response.body?.error?.format ?? response.message, /cancel/i);
    assert.strictEqual(await session.value('amount', frameId), '13');
  });

  it('answers other requests while it is at work', async () => {
    const { session, frameId } = await stopped();
    const endless = session.ask('evaluate', { expression: 'while true do end', frameId, context: 'repl' });
    assert.strictEqual((await session.call('threads')).threads.length, 1);
    await session.call('cancel', { requestId: endless.seq });
    assert.strictEqual((await endless).success, false);
  });

  it('is not stopped by breakpoints in what it calls', async () => {
    const { session, frameId } = await stopped();
    await session.breakpoints(ACCOUNT, ['deposit']);
    assert.strictEqual(await session.value('account:deposit(5)', frameId), '5');
    assert.strictEqual(session.events('stopped').length, 1);
    await session.resume();
    await session.stopped('breakpoint', 'deposit');
  });

  it('changes nothing by looking: varargs, returns and results are the same', async () => {
    const { session, frameId } = await stopped();
    for (const expression of ['amount', '...', 'account', 'log', '_ENV ~= nil', 'book']) await session.ask('evaluate', { expression, frameId, context: 'watch' });
    assert.deepStrictEqual(await output(session), ['13\t2\t1\t100\t27\tAda\t5,10,15', '1\t2', '1\tbooked 13', '']);
  });

  it('is refused in a frame that is gone', async () => {
    const { session, frameId } = await stopped();
    await session.refused('evaluate', { expression: '1', frameId: 987654321, context: 'watch' });
    assert.strictEqual(await session.value('amount', frameId), '13');
  });
});
