'use strict';
// Function breakpoints: a function is named as its author names it.

const assert = require('assert');
const { fixture, lineOf, overBoth } = require('./support');

const SHAPES = fixture('shapes.lua');
const OUTPUT = 'box 12 cm2\nbox 24 cm2\t12.0\n6\n';

overBoth('function breakpoints', (start) => {
  /** Runs with these function breakpoints; gives the marks' lines of all stops. */
  async function stops(list, other = async () => {}) {
    const session = await start(SHAPES);
    const breakpoints = await session.functions(list);
    assert.strictEqual(breakpoints.length, list.length);
    for (const breakpoint of breakpoints) assert.ok(Number.isInteger(breakpoint.id), 'a breakpoint has an id');
    await other(session);
    await session.go();
    const lines = [];
    const over = session.event('terminated').then(() => null);
    for (;;) {
      const event = await Promise.race([session.event('stopped'), over]);
      if (!event) break;
      const { stackFrames } = await session.call('stackTrace', { threadId: 1 });
      assert.strictEqual(stackFrames[0].source.path, SHAPES);
      lines.push([event.reason, stackFrames[0].line]);
      await session.resume();
    }
    assert.strictEqual(session.output('stdout'), OUTPUT);
    return lines;
  }
  const at = (...marks) => marks.map((mark) => ['function breakpoint', lineOf(SHAPES, mark)]);

  const CASES = [
    ['global_half', ['half']],
    ['round', ['round', 'round']],
    ['Shape.new', ['new', 'new', 'new']],
    ['Shape:describe', ['describe', 'describe']],
    ['geometry.scale', ['scale']],
    ['geometry.flip', ['flip']],
    ['shapes.lua:round', ['round', 'round']],
    ['other.lua:round', []],
    ['no_such_function', []],
  ];
  for (const [name, marks] of CASES) {
    it(`stop in ${name}`, async () => {
      assert.deepStrictEqual(await stops([name]), at(...marks));
    });
  }

  it('stop at the first line of the body, with its parameters at hand', async () => {
    const session = await start(SHAPES);
    await session.functions(['Shape:describe']);
    await session.go();
    const { top, frames, frameId } = await session.stopped('function breakpoint', 'describe');
    assert.match(top.name, /describe/);
    assert.strictEqual(frames.length, 2);
    const locals = await session.locals(frameId);
    assert.strictEqual(locals.unit.value, '" cm2"');
    assert.match(locals.self.value, /name = "box"/);
    assert.strictEqual(locals.text, undefined);
  });

  it('obey condition and hit count', async () => {
    assert.deepStrictEqual(await stops([{ name: 'Shape.new', condition: 'width == 4' }]), at('new'));
    assert.deepStrictEqual(await stops([{ name: 'Shape.new', hitCondition: '3' }]), at('new'));
    assert.deepStrictEqual(await stops([{ name: 'round', condition: 'x > 5', hitCondition: '2' }]), []);
  });

  it('are replaced by the next list', async () => {
    const session = await start(SHAPES);
    await session.functions(['Shape:describe', 'round']);
    await session.go();
    await session.stopped('function breakpoint', 'describe');
    await session.functions(['global_half']);
    await session.resume();
    await session.stopped('function breakpoint', 'half');
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), OUTPUT);
  });

  it('and a line breakpoint on the same line stop once', async () => {
    const session = await start(SHAPES);
    const [line] = await session.breakpoints(SHAPES, ['half']);
    const [named] = await session.functions(['global_half']);
    await session.go();
    const event = await session.event('stopped');
    assert.ok(['breakpoint', 'function breakpoint'].includes(event.reason));
    assert.ok(event.hitBreakpointIds.some((id) => [line.id, named.id].includes(id)));
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.events('stopped').length, 1);
  });
});
