'use strict';
// Setting variables: in every scope, by any expression, and the script goes on
// with the new value.

const assert = require('assert');
const { byName, fixture, overBoth } = require('./support');

const ACCOUNT = fixture('account.lua');

overBoth('setVariable and setExpression', (start) => {
  async function stopped() {
    const session = await start(ACCOUNT);
    await session.breakpoints(ACCOUNT, ['book']);
    await session.go();
    const { frameId } = await session.stopped('breakpoint', 'book');
    await session.breakpoints(ACCOUNT, []);
    const scopes = await session.scopes(frameId);
    const set = (scope, name, value) => session.call('setVariable', { variablesReference: scopes[scope].variablesReference, name, value });
    return { session, frameId, scopes, set };
  }
  async function output(session) {
    assert.strictEqual(await session.finish(), 0);
    return session.output('stdout').split('\n');
  }

  it('a local, by an expression of the frame', async () => {
    const { session, frameId, set } = await stopped();
    const answer = await set('Locals', 'amount', 'rate * 20 + bonus');
    assert.strictEqual(answer.value, '41');
    assert.strictEqual((await session.locals(frameId)).amount.value, '41');
    assert.strictEqual((await output(session))[0], '41\t2\t1\t100\t83\tAda\t5,10,15');
  });

  it('an upvalue and a global', async () => {
    const { session, set } = await stopped();
    assert.strictEqual((await set('Upvalues', 'bonus', '1000')).value, '1000');
    assert.strictEqual((await set('Globals', 'limit', '"none"')).value, '"none"');
    assert.strictEqual((await output(session))[0], '13\t2\t1000\tnone\t1026\tAda\t5,10,15');
  });

  it('a vararg', async () => {
    const { session, frameId, scopes, set } = await stopped();
    const [first] = await session.variables(scopes.Varargs.variablesReference);
    await set('Varargs', first.name, '"changed"');
    assert.strictEqual(await session.value('(...)', frameId), '"changed"');
    assert.strictEqual((await output(session))[1], 'changed\t2');
  });

  it('a field and an element of a table', async () => {
    const { session, frameId } = await stopped();
    const { account } = await session.locals(frameId);
    const fields = byName(await session.variables(account.variablesReference));
    await session.call('setVariable', { variablesReference: account.variablesReference, name: 'owner', value: '"Grace" .. amount' });
    await session.call('setVariable', { variablesReference: fields.history.variablesReference, name: '[2]', value: '#log + 77' });
    assert.strictEqual((await output(session))[0], '13\t2\t1\t100\t27\tGrace13\t5,77,15');
  });

  it('to a table, which can be opened at once', async () => {
    const { session, frameId, set } = await stopped();
    const answer = await set('Locals', 'rate', '{ 1, two = 2 }');
    assert.match(answer.value, /^\{1, two = 2\}$/);
    assert.strictEqual(byName(await session.variables(answer.variablesReference)).two.value, '2');
    await set('Locals', 'rate', 'nil');
    assert.strictEqual((await session.locals(frameId)).rate.value, 'nil');
    await set('Locals', 'rate', '2');
    assert.strictEqual((await output(session))[0], '13\t2\t1\t100\t27\tAda\t5,10,15');
  });

  it('and the client is told that what it shows is old', async () => {
    const { session, set } = await stopped();
    await set('Locals', 'amount', '1');
    const { areas = ['all'] } = await session.event('invalidated');
    assert.ok(areas.includes('variables') || areas.includes('all'));
  });

  it('an expression', async () => {
    const { session, frameId } = await stopped();
    const set = (expression, value) => session.call('setExpression', { expression, value, frameId });
    assert.strictEqual((await set('account.owner', '"Alan"')).value, '"Alan"');
    assert.strictEqual((await set('account.history[3]', 'amount * 10')).value, '130');
    assert.strictEqual((await set('amount', '5')).value, '5');
    await set('bonus', '2');
    await set('limit', 'limit + 1');
    assert.strictEqual((await output(session))[0], '5\t2\t2\t101\t12\tAlan\t5,10,130');
  });

  it('is refused with a reason, and changes nothing', async () => {
    const { session, frameId, scopes } = await stopped();
    const set = (name, value) => session.refused('setVariable', { variablesReference: scopes.Locals.variablesReference, name, value });
    assert.match(await set('amount', '1 +'), /near|unexpected|syntax/);
    assert.match(await set('amount', 'error("no")'), /no/);
    assert.match(await set('amount', '(function() while true do end end)()'), /./);
    await set('no_such_local', '1');
    await session.refused('setVariable', { variablesReference: 987654321, name: 'amount', value: '1' });
    await session.refused('setExpression', { expression: '1 + 1', value: '2', frameId });
    await session.refused('setExpression', { expression: 'unheard_of.field', value: '2', frameId });
    assert.strictEqual((await output(session))[0], '13\t2\t1\t100\t27\tAda\t5,10,15');
  });
});
