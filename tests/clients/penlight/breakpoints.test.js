'use strict';
// Inside a real program that nobody here wrote: breakpoints, steps, values and
// errors in the files of Penlight.

const assert = require('assert');
const { breaches, lineOf, overBoth } = require('../node/test/support');
const { find, here, pl, real, stoppedIn } = require('./support');

const REPORT = here('report.lua');
const [LIST, STRINGX, PRETTY, TABLEX, SEQ, COMPREHENSION] = ['List.lua', 'stringx.lua', 'pretty.lua', 'tablex.lua', 'seq.lua', 'comprehension.lua'].map(pl);
const APPEND = find(LIST, 'function List:append(i)', 1);
const OUTPUT = /^\{quick,brown\}\tpadded\.\ntrue\n23\nfalse\t.*Attempt to modify read-only table\n14\t3\n2\n$/;

overBoth('Penlight', (start) => {
  const done = async (session) => {
    assert.strictEqual(await session.finish(), 0);
    assert.match(session.output('stdout'), OUTPUT);
  };

  for (const file of new Set([LIST, real(LIST)])) {
    it(`stops in ${file}`, async () => {
      const session = await start(REPORT);
      const [breakpoint] = await session.breakpoints(file, [APPEND]);
      assert.strictEqual(breakpoint.verified, false);
      await session.go();
      const { frameId, frames } = await stoppedIn(session, 'breakpoint', file, APPEND);
      assert.strictEqual((await session.verified(breakpoint)).line, APPEND);
      const caller = frames.find((f) => f.source?.path === REPORT);
      assert.strictEqual(caller.line, lineOf(REPORT, 'append'));
      const { self, i } = await session.locals(frameId);
      assert.strictEqual(i.value, '"the"');
      assert.strictEqual(await session.value('#self', frameId), '0');
      assert.strictEqual(await session.value('word', caller.id), '"the"');
      assert.ok(self.variablesReference > 0);
      const children = await session.variables(self.variablesReference);
      assert.ok(children.some((v) => v.name === '(metatable)'));
      await session.breakpoints(file, []);
      await done(session);
    });
  }

  it('stops under a condition', async () => {
    const session = await start(REPORT);
    await session.breakpoints(LIST, [{ line: APPEND, condition: 'i:find "o" and #self > 2' }]);
    await session.go();
    const { frameId } = await stoppedIn(session, 'breakpoint', LIST, APPEND);
    assert.strictEqual((await session.locals(frameId)).i.value, '"fox"');
    assert.strictEqual(await session.value('tostring(self)', frameId), '"{the,quick,brown}"');
    await done(session);
  });

  it('writes a log', async () => {
    const session = await start(REPORT);
    await session.breakpoints(LIST, [{ line: APPEND, logMessage: 'after {#self} words {#i} letters' }]);
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.deepStrictEqual(session.output('console').trim().split('\n'), [
      'after 0 words 3 letters', 'after 1 words 5 letters', 'after 2 words 5 letters', 'after 3 words 3 letters',
    ]);
    assert.match(session.output('stdout'), OUTPUT);
  });

  it('steps in, line by line, and out', async () => {
    const session = await start(REPORT);
    await session.breakpoints(REPORT, ['append']);
    await session.go();
    await session.stopped('breakpoint', 'append');
    await session.breakpoints(REPORT, []);
    await session.call('stepIn', { threadId: 1 });
    await stoppedIn(session, 'step', LIST, APPEND);
    await session.call('next', { threadId: 1 });
    await stoppedIn(session, 'step', LIST, APPEND + 1);
    await session.step('stepOut', [lineOf(REPORT, 'append'), lineOf(REPORT, 'append') - 1], REPORT);
    await done(session);
  });

  it('steps through a callback that Penlight calls', async () => {
    const session = await start(REPORT);
    await session.breakpoints(REPORT, ['longer-first']);
    await session.go();
    const { frames } = await session.stopped('breakpoint', 'longer-first');
    await session.breakpoints(REPORT, []);
    const files = frames.map((f) => f.source?.path && real(f.source.path));
    assert.ok(files.includes(real(TABLEX)), files.join());
    assert.strictEqual(files.at(-1), REPORT);
    await session.step('next', 'longer-return', REPORT);
    const { top } = await session.step('next');
    assert.strictEqual(real(top.source.path), real(TABLEX));
    await done(session);
  });

  it('walks through a recursive function with upvalues', async () => {
    const session = await start(REPORT);
    const line = find(PRETTY, 'writeit = function (t,oldindent,indent)', 1);
    await session.breakpoints(PRETTY, [line]);
    await session.go();
    const first = await session.stopped('breakpoint');
    assert.strictEqual(real(first.top.source.path), real(PRETTY));
    assert.match((await session.locals(first.frameId)).t.value, /title = "words"/);
    const upvalues = await session.scope(first.frameId, 'Upvalues');
    assert.strictEqual(upvalues.set.value, '"="');
    assert.match(upvalues.writeit.value, /^function/);
    await session.resume();
    const second = await session.stopped('breakpoint');
    assert.ok(second.frames.length > first.frames.length, 'one call deeper');
    await session.breakpoints(PRETTY, []);
    await session.call('stepOut', { threadId: 1 });
    const outer = await session.stopped('step');
    assert.strictEqual(real(outer.top.source.path), real(PRETTY));
    assert.ok(outer.frames.length < second.frames.length);
    await done(session);
  });

  it('knows its functions by name', async () => {
    const session = await start(REPORT);
    await session.functions(['stringx.strip', 'Counter:next']);
    await session.go();
    await stoppedIn(session, 'function breakpoint', STRINGX, find(STRINGX, 'function stringx.strip(s,chrs)', 1));
    await session.resume();
    await session.stopped('function breakpoint', 'next');
    await session.functions([]);
    await done(session);
  });

  it('steps through the __call of a class into its constructor', async () => {
    const session = await start(REPORT);
    await session.breakpoints(REPORT, ['counter', 'init']);
    await session.go();
    await session.stopped('breakpoint', 'counter');
    const { top } = await session.step('stepIn');
    assert.match(real(top.source.path), /pl\/class\.lua$/);
    await session.resume();
    const { frames, frameId } = await session.stopped('breakpoint', 'init');
    assert.strictEqual((await session.locals(frameId)).first.value, '10');
    assert.ok(frames.some((f) => /class\.lua$/.test(f.source?.path ?? '')));
    await done(session);
  });

  it('stops at an error that Penlight throws and the script catches', async () => {
    const session = await start(REPORT);
    await session.exceptions([], [{ filterId: 'all', condition: 'read%-only' }]);
    await session.go();
    const { frames, frameId } = await stoppedIn(session, 'exception', TABLEX, find(TABLEX, 'Attempt to modify read-only table'));
    assert.ok(frames.some((f) => f.source?.path === REPORT && f.line === lineOf(REPORT, 'frozen')));
    assert.strictEqual((await session.locals(frameId)).k.value, '"fixed"');
    assert.match((await session.call('exceptionInfo', { threadId: 1 })).description, /read-only/);
    await done(session);
  });

  it('shows who resumes a coroutine from inside Penlight', async () => {
    const session = await start(REPORT);
    await session.breakpoints(REPORT, ['yield']);
    await session.go();
    const { frames } = await session.stopped('breakpoint', 'yield');
    const resumer = frames.find((f) => f.source?.path && real(f.source.path) === real(SEQ));
    assert.ok(resumer, 'seq.sum is on the stack');
    assert.strictEqual(await session.value('s', resumer.id), '0');
    assert.strictEqual(frames.at(-1).line, lineOf(REPORT, 'sum'));
    await session.breakpoints(REPORT, []);
    await done(session);
  });

  it('enters code that Penlight has generated', async () => {
    const session = await start(REPORT);
    await session.breakpoints(REPORT, ['evens']);
    await session.go();
    await session.stopped('breakpoint', 'evens');
    for (let steps = 0; ; steps++) {
      assert.ok(steps < 40, 'no generated code was entered');
      const { top } = await session.step('stepIn');
      if (!top.source.path && top.source.sourceReference > 0) {
        const { content } = await session.call('source', { source: top.source, sourceReference: top.source.sourceReference });
        assert.match(content, /x % 2 == 0/);
        break;
      }
      assert.ok(![REPORT].includes(top.source.path) || top.line === lineOf(REPORT, 'evens'), `left by line ${top.line}`);
    }
    await done(session);
  });

  it('is listed among the sources', async () => {
    const session = await start(REPORT);
    await session.breakpoints(REPORT, ['compile']);
    await session.go();
    await session.stopped('breakpoint', 'compile');
    const { sources } = await session.call('loadedSources');
    const files = sources.map((s) => s.path && real(s.path));
    for (const file of [LIST, STRINGX, PRETTY, TABLEX, SEQ, COMPREHENSION]) assert.ok(files.includes(real(file)), file);
    assert.strictEqual(new Set(files.filter(Boolean)).size, files.filter(Boolean).length, 'each once');
  });

  it('is stepped over when only my code counts', async () => {
    const session = await start(REPORT, { request: { justMyCode: true } });
    await session.breakpoints(REPORT, ['filter']);
    await session.go();
    await session.stopped('breakpoint', 'filter');
    await session.step('stepIn', 'longer-first', REPORT); // my callback, called by Penlight
    await session.step('stepOut', ['filter', 'strip'], REPORT);
    await done(session);
  });

  it('takes any number of breakpoints in any number of files', async () => {
    const session = await start(REPORT);
    for (const file of [LIST, STRINGX, PRETTY, TABLEX, SEQ]) {
      await session.breakpoints(file, Array.from({ length: 400 }, (_, i) => ({ line: i + 1, condition: 'false' })));
    }
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.events('stopped').length, 0);
    assert.match(session.output('stdout'), OUTPUT);
  });
});

after('every message kept to the protocol', () => {
  assert.deepStrictEqual(breaches.slice(0, 20), [], `${breaches.length} breaches`);
});
