'use strict';
// What the script writes: whole, in order, with its line, and never in the way
// of the protocol.

const assert = require('assert');
const { fixture, lineOf, overBoth, run } = require('./support');

const TALK = fixture('talk.lua');

overBoth('output', (start, transport) => {
  async function finished(script, request) {
    const session = await start(script, { request });
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    return session;
  }

  it('arrives with its category', async () => {
    const session = await finished(TALK);
    const lines = session.output('stdout').split('\n');
    assert.deepStrictEqual(lines.slice(0, 5), ['printed\t1\tnil', 'written2', 'to stdout', 'one line in parts', 'grün – 数\0end']);
    assert.match(lines[5], / not UTF-8$/);
    assert.strictEqual(lines[6], 'made of tostring');
    assert.strictEqual(session.output('stderr'), 'to stderr\n');
  });

  it('tells the line that wrote it', async () => {
    const session = await finished(TALK);
    const events = session.events('output');
    for (const [start_, mark] of [['printed', 'print'], ['written', 'write'], ['to stdout', 'stdout'], ['to stderr', 'stderr'], ['grün', 'unicode']]) {
      const event = events.find((b) => b.output.startsWith(start_));
      assert.ok(event, `no event starts with ${start_}`);
      assert.strictEqual(event.source?.path, TALK, start_);
      assert.strictEqual(event.line, lineOf(TALK, mark), start_);
    }
  });

  it('is there before the stop that follows it', async () => {
    const session = await start(TALK);
    await session.breakpoints(TALK, ['write', 'part-2']);
    await session.go();
    await session.stopped('breakpoint', 'write');
    assert.strictEqual(session.output('stdout'), 'printed\t1\tnil\n');
    await session.resume();
    await session.stopped('breakpoint', 'part-2');
    assert.ok(session.output('stdout').endsWith('to stdout\none line '), session.output('stdout'));
  });

  it('loses nothing when there is much of it', async () => {
    const session = await finished(fixture('flood.lua'));
    const expected = Array.from({ length: 20000 }, (_, i) => `${i + 1}\n`).join('') + 'x'.repeat(1000000) + '\nend\n';
    const told = session.output('stdout');
    assert.strictEqual(told.length, expected.length);
    assert.ok(told === expected, 'the output came changed or in another order');
  });

  it('of other programs does not get between the messages', async () => {
    const session = await finished(fixture('children.lua'));
    const told = session.output('stdout');
    assert.match(told, /FROM A PIPE/);
    assert.match(told, /input\tnil\n/, 'the script does not read the messages of the protocol');
    assert.match(told, /still here\n/);
  });

  it('goes to the terminal as well when attached', async () => {
    const session = await finished(TALK);
    if (transport === 'stdio') {
      assert.strictEqual(session.stderr.includes('printed'), false);
    } else {
      await session.exited;
      assert.ok(session.debuggee.out.startsWith('printed\t1\tnil\nwritten2\nto stdout\none line in parts\n'));
      assert.match(session.debuggee.err, /to stderr\n/);
    }
  });
});

describe('output without a debugger', () => {
  it('is the same byte by byte', async () => {
    const [ours, plain] = await Promise.all([run(['run', TALK]), run([TALK], { program: 'lua5.4' })]);
    assert.deepStrictEqual(ours.stdout, plain.stdout);
    assert.strictEqual(ours.stderr, plain.stderr);
    assert.strictEqual(ours.code, 0);
  });
});
