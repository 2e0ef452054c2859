'use strict';
// Completions in the debug console, from the frame that is looked at.

const assert = require('assert');
const { fixture, lineOf, overBoth } = require('./support');

const ACCOUNT = fixture('account.lua');

overBoth('completions', (start) => {
  let session;
  let frameId;
  beforeEach(async () => {
    session = await start(ACCOUNT);
    await session.breakpoints(ACCOUNT, ['book']);
    await session.go();
    ({ frameId } = await session.stopped('breakpoint', 'book'));
  });

  /** Proposals where `|` stands in the text. */
  async function complete(text, frame = frameId) {
    const column = text.indexOf('|') + 1;
    const { targets } = await session.call('completions', { frameId: frame, text: text.replace('|', ''), column });
    return targets.map((t) => ({ ...t, inserted: t.text ?? t.label }));
  }
  const names = (targets) => targets.map((t) => t.label.replace(/\(.*/, ''));

  it('know locals, upvalues, globals and the library', async () => {
    assert.ok(names(await complete('am|')).includes('amount'));
    assert.ok(names(await complete('bon|')).includes('bonus'));
    assert.ok(names(await complete('lim|')).includes('limit'));
    assert.ok(names(await complete('str|')).includes('string'));
    assert.ok(!names(await complete('am|')).includes('rate'));
  });

  it('know fields and methods', async () => {
    assert.ok(names(await complete('account.ow|')).some((n) => /owner$/.test(n)));
    assert.ok(names(await complete('string.re|')).some((n) => /rep$/.test(n)));
    assert.ok(names(await complete('account:de|')).some((n) => /deposit$/.test(n)));
    assert.ok(names(await complete('print(account.his|)')).some((n) => /history$/.test(n)));
  });

  it('say which part of the text they replace', async () => {
    const text = 'x = account.ow';
    const target = (await complete(`${text}|`)).find((t) => /owner$/.test(t.label));
    const from = target.start === undefined ? text.length - (target.length ?? 0) : target.start - 1; // columnsStartAt1
    const result = text.slice(0, from) + target.inserted + text.slice(from + (target.length ?? text.length - from));
    assert.strictEqual(result, 'x = account.owner', JSON.stringify(target));
  });

  it('see the frame they are asked for', async () => {
    await session.breakpoints(ACCOUNT, ['deposit']);
    await session.resume();
    const { frames } = await session.stopped('breakpoint', 'deposit');
    assert.ok(names(await complete('sel|', frames[0].id)).includes('self'));
    assert.ok(!names(await complete('not|', frames[0].id)).includes('note'));
    assert.ok(names(await complete('rat|', frames[1].id)).includes('rate'));
    assert.strictEqual(frames[0].line, lineOf(ACCOUNT, 'deposit'));
  });

  it('never run anything', async () => {
    await session.evaluate('trap = setmetatable({}, { __index = function() limit = "sprung" end })', frameId, 'repl');
    await complete('trap.field.|');
    await complete('trap.fi|');
    await complete('(function() limit = "sprung" end)().|');
    assert.strictEqual(await session.value('limit', frameId), '100');
  });

  it('have nothing to say about nonsense', async () => {
    for (const text of ['|', '"quoted |', ')|', 'ä = |', '1.|', 'unheard_of.field.|']) await complete(text);
    assert.strictEqual(await session.value('amount', frameId), '13');
  });
});
