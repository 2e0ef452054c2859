'use strict';
// Line breakpoints: verified, moved, pending, replaced, and found under any
// spelling of the file's name.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { fixture, lineOf, overBoth } = require('./support');

const ORDERS = fixture('orders.lua');
const PRICES = fixture('lib/prices.lua');

overBoth('line breakpoints', (start, transport) => {
  it('stop where they were set and tell which one it was', async () => {
    const session = await start(ORDERS);
    const [breakpoint] = await session.breakpoints(ORDERS, ['sum']);
    await session.go();
    const { event, top } = await session.stopped('breakpoint', 'sum');
    const settled = await session.verified(breakpoint);
    assert.strictEqual(settled.line, lineOf(ORDERS, 'sum'));
    assert.deepStrictEqual(event.hitBreakpointIds, [breakpoint.id]);
    assert.strictEqual(top.source.name, 'orders.lua');
    assert.ok(Number.isInteger(top.column));
  });

  it('hit again in every pass', async () => {
    const session = await start(ORDERS);
    await session.breakpoints(ORDERS, ['sum']);
    await session.go();
    for (const sum of ['90', '0', '96', '250']) {
      const { frameId } = await session.stopped('breakpoint', 'sum');
      assert.strictEqual((await session.locals(frameId)).sum.value, sum);
      await session.resume();
    }
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.output('stdout'), 'total\t436\n');
  });

  it('move to the next line that has code, and say so', async () => {
    const session = await start(ORDERS);
    const [breakpoint] = await session.breakpoints(ORDERS, ['comment']);
    await session.go();
    await session.stopped('breakpoint', 'guard');
    assert.strictEqual((await session.verified(breakpoint)).line, lineOf(ORDERS, 'guard'));
  });

  it('stay unverified beyond the end of the file', async () => {
    const session = await start(ORDERS);
    const [breakpoint] = await session.breakpoints(ORDERS, [9999]);
    assert.strictEqual(breakpoint.verified, false);
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    const changes = session.events('breakpoint').filter((b) => b.breakpoint.id === breakpoint.id);
    assert.ok(changes.every((b) => !b.breakpoint.verified));
  });

  it('wait for a module that is required later', async () => {
    const session = await start(ORDERS);
    const [lookup, comment] = await session.breakpoints(PRICES, ['lookup', 'comment']);
    assert.strictEqual(lookup.verified, false);
    assert.ok(lookup.message, 'an unverified breakpoint says why');
    assert.ok(Number.isInteger(lookup.id));
    await session.breakpoints(ORDERS, ['require']);
    await session.go();
    await session.stopped('breakpoint', 'require');
    assert.ok(!session.events('breakpoint').some((b) => b.breakpoint.id === lookup.id && b.breakpoint.verified), 'verified before it was loaded');
    await session.breakpoints(ORDERS, []);
    await session.resume();
    const settled = await session.verified(lookup);
    assert.strictEqual(settled.line, lineOf(PRICES, 'lookup'));
    assert.strictEqual((await session.verified(comment)).line, lineOf(PRICES, 'lookup'));
    const { frames } = await session.stopped('breakpoint', 'lookup', PRICES);
    assert.strictEqual(frames.find((f) => f.source?.path === ORDERS).line, lineOf(ORDERS, 'ask'));
  });

  it('verify at once in a file that is loaded', async () => {
    const session = await start(ORDERS);
    await session.breakpoints(PRICES, ['lookup']);
    await session.go();
    await session.stopped('breakpoint', 'lookup', PRICES);
    const [price, sum] = [(await session.breakpoints(PRICES, ['price']))[0], (await session.breakpoints(ORDERS, ['sum']))[0]];
    assert.deepStrictEqual([price.verified, sum.verified], [true, true]);
    await session.resume();
    await session.stopped('breakpoint', 'price', PRICES);
    await session.resume();
    await session.stopped('breakpoint', 'sum');
  });

  it('are replaced by the next list for the same file, and only for it', async () => {
    const session = await start(ORDERS);
    await session.breakpoints(ORDERS, ['guard', 'booked', 'print']);
    await session.breakpoints(PRICES, ['price']);
    await session.go();
    await session.stopped('breakpoint', 'guard');
    await session.breakpoints(ORDERS, ['print']);
    for (let item = 0; item < 3; item++) {
      await session.resume();
      await session.stopped('breakpoint', 'price', PRICES);
    }
    await session.resume();
    await session.stopped('breakpoint', 'print');
    assert.strictEqual(await session.finish(), 0);
  });

  it('take effect while the script runs', async () => {
    const busy = fixture('busy.lua');
    const session = await start(busy);
    await session.go();
    await session.event('output', (b) => b.output.includes('busy'));
    const [breakpoint] = await session.breakpoints(busy, ['spin']);
    assert.strictEqual((await session.verified(breakpoint)).line, lineOf(busy, 'spin'));
    const { frameId } = await session.stopped('breakpoint', 'spin');
    await session.breakpoints(busy, []);
    await session.evaluate('enough = true', frameId, 'repl');
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), 'busy\nenough\n');
  });

  for (const name of ['shebang.lua', 'bom.lua']) {
    it(`count lines right in ${name}`, async () => {
      const file = fixture(name);
      const session = await start(file);
      await session.breakpoints(file, ['second']);
      await session.go();
      const { frameId } = await session.stopped('breakpoint', 'second');
      const locals = await session.locals(frameId);
      assert.strictEqual(locals.first.value, '1');
      assert.strictEqual(locals.second, undefined);
      assert.strictEqual(await session.finish(), 0);
    });
  }

  it('do not mind how the path is spelled', async () => {
    const session = await start(ORDERS);
    const detour = path.join(path.dirname(ORDERS), 'lib') + '/.././orders.lua';
    await session.breakpoints(detour, [lineOf(ORDERS, 'sum')]);
    await session.go();
    const { top } = await session.stopped('breakpoint');
    assert.strictEqual(fs.realpathSync(top.source.path), ORDERS);
    assert.strictEqual(top.line, lineOf(ORDERS, 'sum'));
  });

  it('see through symbolic links, in both directions', async () => {
    const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'llmspell-')));
    const link = path.join(dir, 'linked.lua');
    fs.symlinkSync(fixture('shebang.lua'), link);
    for (const [run, set] of [[link, fixture('shebang.lua')], [fixture('shebang.lua'), link], [link, link]]) {
      const session = await start(run);
      await session.breakpoints(set, [lineOf(set, 'second')]);
      await session.go();
      const { top } = await session.stopped('breakpoint');
      assert.strictEqual(fs.realpathSync(top.source.path), fixture('shebang.lua'), `run ${run}, set in ${set}`);
      assert.strictEqual(await session.finish(), 0);
    }
  });

  it('find a script whose name is not ASCII', async () => {
    const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'llmspell ü ')));
    const script = path.join(dir, 'Größe 数.lua');
    fs.copyFileSync(fixture('shebang.lua'), script);
    const session = await start(script);
    await session.breakpoints(script, ['second']);
    await session.go();
    await session.stopped('breakpoint', 'second');
    assert.strictEqual(await session.finish(), 0);
  });

  it('are not mixed up between two files of one name', async () => {
    const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'llmspell-')));
    const twin = path.join(dir, 'orders.lua');
    fs.copyFileSync(ORDERS, twin);
    const session = await start(ORDERS);
    const [breakpoint] = await session.breakpoints(twin, ['sum']);
    assert.strictEqual(breakpoint.verified, false);
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.events('stopped').length, 0);
  });

  it('are verified again when their file was edited and is loaded again', async () => {
    const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'llmspell-')));
    const part = path.join(dir, 'part.lua');
    fs.writeFileSync(part, 'local a = 1\nlocal b = a + 1\nprint(b)\n');
    const twice = fixture('twice.lua');
    const session = await start(twice, { args: [part] });
    const [breakpoint] = await session.breakpoints(part, [2]);
    await session.breakpoints(twice, ['second']);
    await session.go();
    assert.strictEqual((await session.stopped('breakpoint', 2, part)).top.line, 2);
    await session.resume();
    await session.stopped('breakpoint', 'second');
    fs.writeFileSync(part, '-- new\n-- lines\nlocal a = 5\nlocal b = a + 1\nprint(b)\n');
    await session.resume();
    const { breakpoint: moved } = await session.event('breakpoint', (b) => b.breakpoint.id === breakpoint.id && b.breakpoint.line === 3);
    assert.strictEqual(moved.verified, true);
    await session.stopped('breakpoint', 3, part);
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), '2\n6\n');
  });

  it('can be set by the script itself', async () => {
    const asks = fixture('asks.lua');
    const session = await start(asks);
    await session.go();
    const { frameId } = await session.stopped('breakpoint', ['ask', 'next']);
    assert.strictEqual((await session.locals(frameId)).secret.value, '7');
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), '7\n', transport);
  });
});
