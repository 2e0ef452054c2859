'use strict';
// A tour through Penlight gives the same output byte by byte: with plain Lua,
// with llmspell alone, and with a debugger attached in several ways.

const assert = require('assert');
const { attach, launch, run } = require('../node/test/support');
const { here, pl } = require('./support');

const TOUR = here('tour.lua');
const CWD = here('.');
const ENV = { TZ: 'UTC', LC_ALL: 'C' };

describe('a tour through Penlight', () => {
  let plain;
  before(async () => {
    plain = await run([TOUR], { program: 'lua5.4', spawn: { cwd: CWD, env: { ...process.env, ...ENV } } });
    assert.strictEqual(plain.code, 0, plain.stderr);
    assert.match(plain.stdout.toString(), /==== end\n$/);
    assert.ok(plain.stdout.length > 5000);
  });
  const same = (bytes) => assert.strictEqual(bytes.toString('latin1'), plain.stdout.toString('latin1'));

  it('is the same without a debugger', async () => {
    const ours = await run(['run', TOUR], { spawn: { cwd: CWD, env: { ...process.env, ...ENV } } });
    assert.strictEqual(ours.code, 0, ours.stderr);
    same(ours.stdout);
    assert.strictEqual(ours.stderr, plain.stderr);
  });

  /** Runs attached over TCP; gives what the process wrote and what the client heard. */
  async function attached(configure) {
    const session = await attach(TOUR, { cwd: CWD, env: ENV });
    session.debuggee.stdout.setEncoding('latin1');
    await configure(session);
    await session.go();
    return session;
  }
  async function ends(session) {
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, plain.stdout.toString('latin1'));
    assert.strictEqual(session.output('stdout'), plain.stdout.toString(), 'the client heard something else');
  }

  it('is the same with a debugger attached that waits for what never comes', async () => {
    const session = await attached(async (s) => {
      await s.breakpoints(TOUR, ['never']);
      await s.exceptions([], [{ filterId: 'all', condition: 'no error says this' }]);
    });
    await ends(session);
    assert.strictEqual(session.events('stopped').length, 0);
  });

  it('is the same with a false condition on every line of five files of Penlight', async () => {
    const session = await attached(async (s) => {
      for (const name of ['List.lua', 'tablex.lua', 'seq.lua', 'lexer.lua', 'func.lua']) {
        await s.breakpoints(pl(name), Array.from({ length: 500 }, (_, i) => ({ line: i + 1, condition: 'no_such_global' })));
      }
    });
    await ends(session);
    assert.strictEqual(session.events('stopped').length, 0);
  });

  it('is the same when every error stops and goes on', async () => {
    const session = await attached((s) => s.exceptions(['all']));
    const over = session.event('terminated').then(() => null);
    let stops = 0;
    for (; await Promise.race([session.event('stopped'), over]); stops++) await session.resume();
    assert.ok(stops >= 5, `${stops} errors`);
    assert.strictEqual((await session.event('exited')).exitCode, 0);
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, plain.stdout.toString('latin1'));
  });

  it('is the same after two thousand steps, half of them looked at', async () => {
    const session = await attached((s) => s.breakpoints(TOUR, ['tour']));
    await session.stopped('breakpoint');
    await session.breakpoints(TOUR, []);
    for (let i = 0; i < 2000; i++) {
      await session.call('stepIn', { threadId: 1 });
      await session.event('stopped');
      if (i % 2) {
        const { stackFrames } = await session.call('stackTrace', { threadId: 1, levels: 1 });
        await session.locals(stackFrames[0].id);
      }
    }
    await session.resume();
    await ends(session);
  }).timeout(60000);

  it('is the same when launched over stdio', async () => {
    const session = await launch(TOUR, { cwd: CWD, env: ENV });
    await session.breakpoints(TOUR, ['never']);
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.output('stdout'), plain.stdout.toString());
  });
});
