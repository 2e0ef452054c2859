'use strict';
// Sources: which there are, what is in those that are no files, and where a
// breakpoint can be.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { attach, fixture, lineOf, overBoth, relay, text } = require('./support');

const CHUNKS = fixture('chunks.lua');
const ORDERS = fixture('orders.lua');
const PRICES = fixture('lib/prices.lua');

overBoth('sources', (start) => {
  async function at(mark, script = CHUNKS) {
    const session = await start(script);
    await session.breakpoints(script, [mark]);
    await session.go();
    return { session, ...(await session.stopped('breakpoint', mark)) };
  }

  it('are listed when they are loaded', async () => {
    const { session } = await at('require');
    const paths = async () => (await session.call('loadedSources')).sources.map((s) => s.path);
    assert.ok((await paths()).includes(CHUNKS));
    assert.ok(!(await paths()).includes(PRICES));
    await session.step('next', 'end');
    assert.ok((await paths()).includes(PRICES));
    const { source } = await session.event('loadedSource', (b) => b.reason === 'new' && b.source.path === PRICES);
    assert.strictEqual(source.name, 'prices.lua');
  });

  it('are listed as modules', async () => {
    const { session } = await at('end');
    const { modules } = await session.call('modules', { startModule: 0, moduleCount: 0 });
    const prices = modules.find((m) => m.path === PRICES);
    assert.ok(prices, JSON.stringify(modules));
    assert.match(String(prices.name), /prices/);
    assert.strictEqual(new Set(modules.map((m) => m.id)).size, modules.length);
  });

  it('of loaded strings can be stepped into and read', async () => {
    const { session } = await at('render');
    const { top } = await session.step('stepIn');
    assert.ok(!top.source.path || !fs.existsSync(top.source.path));
    assert.ok(top.source.sourceReference > 0);
    const { content } = await session.call('source', { source: top.source, sourceReference: top.source.sourceReference });
    assert.strictEqual(content, 'local name, count = ...\nlocal text = name .. " has " .. count\nreturn text\n');
    assert.strictEqual(top.line, 1);
    const next = await session.step('next');
    assert.strictEqual(next.top.line, 2);
    assert.strictEqual(await session.value('name', next.frameId), '"Ada"');
    assert.strictEqual(await session.finish(), 0);
  });

  it('of loaded strings have the name they were given', async () => {
    const { session } = await at('named');
    const { top } = await session.step('stepIn');
    assert.match(top.source.name, /rule 7/);
    const { sources } = await session.call('loadedSources');
    assert.ok(sources.some((s) => /rule 7/.test(s.name) && s.sourceReference === top.source.sourceReference));
  });

  it('that are no files take breakpoints once they are known', async () => {
    const { session } = await at('render');
    const { top } = await session.step('stepIn');
    const { breakpoints: [breakpoint] } = await session.call('setBreakpoints', { source: top.source, breakpoints: [{ line: 3 }] });
    assert.strictEqual(breakpoint.verified, true);
    await session.resume();
    const stop = await session.stopped('breakpoint');
    assert.strictEqual(stop.top.line, 3);
    assert.strictEqual(stop.top.source.sourceReference, top.source.sourceReference);
  });

  it('that do not exist are refused', async () => {
    const { session } = await at('render');
    await session.refused('source', { source: { sourceReference: 987654321 }, sourceReference: 987654321 });
  });

  it('that are files can be read, too', async () => {
    const { session, top } = await at('render');
    const response = await session.ask('source', { source: top.source, sourceReference: top.source.sourceReference ?? 0 });
    if (response.success) assert.strictEqual(response.body.content, text(CHUNKS));
    else assert.ok(response.message);
  });

  it('tell where a breakpoint can be', async () => {
    const { session } = await at('print', ORDERS);
    const [first, last] = [lineOf(ORDERS, 'comment'), lineOf(ORDERS, 'sum')];
    const { breakpoints } = await session.call('breakpointLocations', { source: { path: ORDERS }, line: first, endLine: last });
    const lines = [...new Set(breakpoints.map((b) => b.line))];
    const wanted = ['guard', 'require', 'ask', 'booked', 'loop', 'book', 'sum'].map((mark) => lineOf(ORDERS, mark));
    assert.deepStrictEqual(wanted.filter((line) => !lines.includes(line)), []);
    assert.ok(!lines.includes(first), 'a comment is no place for a breakpoint');
    assert.ok(lines.every((line) => line >= first && line <= last));
    assert.deepStrictEqual(lines, [...lines].sort((a, b) => a - b));
    const one = await session.call('breakpointLocations', { source: { path: ORDERS }, line: first });
    assert.deepStrictEqual(one.breakpoints, []);
  });

  it('tell it also for a file that is not loaded yet, or say nothing', async () => {
    const session = await start(ORDERS);
    const response = await session.ask('breakpointLocations', { source: { path: PRICES }, line: 1, endLine: 20 });
    const lines = response.success ? response.body.breakpoints.map((b) => b.line) : [];
    assert.ok(lines.length === 0 || lines.includes(lineOf(PRICES, 'lookup')), JSON.stringify(lines));
    assert.ok(!lines.includes(lineOf(PRICES, 'comment')));
  });
});

describe('path mappings', () => {
  /** A copy of the fixtures elsewhere, as on a remote machine. */
  function remote() {
    const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'llmspell-remote-')));
    fs.cpSync(path.dirname(ORDERS), root, { recursive: true });
    return { root, pathMappings: [{ localRoot: path.dirname(ORDERS), remoteRoot: root }] };
  }

  async function check(session) {
    await session.breakpoints(PRICES, ['lookup']);
    await session.breakpoints(ORDERS, ['print']);
    await session.go();
    const { frames } = await session.stopped('breakpoint', 'lookup', PRICES);
    assert.ok(frames.some((f) => f.source?.path === ORDERS));
    await session.breakpoints(PRICES, []);
    await session.resume();
    await session.stopped('breakpoint', 'print', ORDERS);
    const { sources } = await session.call('loadedSources');
    assert.ok(sources.some((s) => s.path === PRICES), JSON.stringify(sources));
    assert.strictEqual(await session.finish(), 0);
    for (const { source } of session.events('output')) if (source?.path) assert.ok(source.path.startsWith(path.dirname(ORDERS)), source.path);
  }

  it('translate when attached over TCP', async () => {
    const { root, pathMappings } = remote();
    await check(await attach(path.join(root, 'orders.lua'), { request: { pathMappings } }));
  });

  it('translate when attached through the stdio adapter', async () => {
    const { root, pathMappings } = remote();
    await check(await relay(path.join(root, 'orders.lua'), { request: { pathMappings } }));
  });
});
