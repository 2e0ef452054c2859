'use strict';
// Messages that are wrong in every way: the session answers what it can and
// lives on.

const assert = require('assert');
const { attach, fixture, open, overBoth, reattach, serve } = require('./support');

const ORDERS = fixture('orders.lua');
const OUTPUT = 'total\t436\n';

const frame = (body, header = 'Content-Length') => `${header}: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

overBoth('malformed messages', (start, transport) => {
  async function stopped() {
    const session = await start(ORDERS);
    await session.breakpoints(ORDERS, ['sum']);
    await session.go();
    const { frameId } = await session.stopped('breakpoint', 'sum');
    return { session, frameId };
  }
  function write(session, data) {
    return new Promise((resolve, reject) => session.outputStream.write(data, (error) => (error ? reject(error) : resolve())));
  }
  /** A `threads` request as text and the promise of its answer; the test writes it as it likes. */
  function threads(session, extra = {}) {
    const seq = session.sequence++;
    session.asked.set(seq, 'threads');
    const answer = new Promise((resolve) => session.pendingRequests.set(seq, resolve));
    return { text: JSON.stringify({ seq, type: 'request', command: 'threads', ...extra }), answer: session.guard(answer, 'threads') };
  }
  async function alive({ session, frameId }) {
    assert.strictEqual(await session.value('sum', frameId), '90');
    await session.breakpoints(ORDERS, []);
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(session.output('stdout'), OUTPUT);
  }

  const BODIES = {
    'text that is no JSON': 'this is no JSON',
    'JSON that is cut off': '{"seq":900,"type":"request","command":"thr',
    'an array': '[1,2,3]',
    'null': 'null',
    'an empty body': '',
    'bytes that are no UTF-8': Buffer.from([0x7b, 0xff, 0xfe, 0x7d]),
    'a request without a command': '{"seq":900,"type":"request"}',
    'a request whose command is a number': '{"seq":900,"type":"request","command":7}',
    'a message of no known type': '{"seq":900,"type":"question","command":"threads"}',
    'an answer to nothing': '{"seq":900,"type":"response","request_seq":12345,"success":true,"command":"runInTerminal"}',
    'an event': '{"seq":900,"type":"event","event":"stopped","body":{}}',
    'a thousand nested arrays': `{"seq":900,"type":"request","command":"threads","arguments":${'['.repeat(1000)}${']'.repeat(1000)}}`,
  };
  for (const [what, body] of Object.entries(BODIES)) {
    it(`${what} is survived`, async () => {
      const state = await stopped();
      state.session.lenient = true; // what it answers to this is its own affair
      const data = Buffer.isBuffer(body) ? body : Buffer.from(body);
      await write(state.session, Buffer.concat([Buffer.from(`Content-Length: ${data.length}\r\n\r\n`), data]));
      await alive(state);
    });
  }

  it('arguments that make no sense are refused', async () => {
    const state = await stopped();
    const { session, frameId } = state;
    const WRONG = [
      ['stackTrace', { threadId: 'one' }], ['scopes', {}], ['scopes', { frameId: 'x' }],
      ['variables', {}], ['variables', { variablesReference: 'x' }], ['evaluate', { frameId }], ['evaluate', { expression: 5, frameId }],
      ['setBreakpoints', { breakpoints: [{ line: 1 }] }], ['setBreakpoints', { source: { path: ORDERS }, breakpoints: [{ line: 'one' }] }],
      ['setVariable', { name: 'x' }], ['setExpression', {}], ['completions', {}], ['source', {}], ['breakpointLocations', {}],
      ['setFunctionBreakpoints', {}], ['setExceptionBreakpoints', { filters: 'all' }], ['setExceptionBreakpoints', { filters: ['no-such-filter'] }],
    ];
    const accepted = [];
    for (const [command, args] of WRONG) {
      const response = await session.ask(command, args);
      if (response.success) accepted.push([command, args]);
    }
    // an unknown filter may be ignored
    assert.deepStrictEqual(accepted.filter(([, args]) => args.filters?.[0] !== 'no-such-filter'), []);
    await session.breakpoints(ORDERS, []);
    await alive(state);
  });

  it('requests without arguments, with empty and with unknown ones are understood', async () => {
    const state = await stopped();
    const { session } = state;
    for (const args of [{}, { arguments: {} }, { arguments: null }, { arguments: { unknown: [1, { a: null }] } }, { extra: true }]) {
      const { text, answer } = threads(session, args);
      await write(session, frame(text));
      assert.strictEqual((await answer).success, true, text);
    }
    await alive(state);
  });

  it('headers may be spelled differently and bring company', async () => {
    const state = await stopped();
    const { session } = state;
    for (const make of [
      (text) => frame(text, 'content-length'),
      (text) => `Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n${frame(text)}`,
      (text) => `Content-Length:${text.length}\r\n\r\n${text}`,
    ]) {
      const { text, answer } = threads(session);
      await write(session, make(text));
      assert.strictEqual((await answer).success, true, make(text));
    }
    await alive(state);
  });

  it('messages may come byte by byte or several at once', async () => {
    const state = await stopped();
    const { session } = state;
    const { text, answer } = threads(session);
    for (const byte of frame(text)) await write(session, byte);
    assert.strictEqual((await answer).success, true);
    const answers = await Promise.all(Array.from({ length: 50 }, () => session.ask('threads')));
    assert.ok(answers.every((a) => a.success));
    await alive(state);
  });

  it('an unknown request is refused by name', async () => {
    const state = await stopped();
    assert.match(await state.session.refused('makeCoffee', { sugar: 2 }), /makeCoffee/);
    await alive(state);
  });

  it('a request too early is refused or waits, and harms nobody', async () => {
    const session = await start(ORDERS);
    for (const [command, args] of [['stackTrace', { threadId: 1 }], ['variables', { variablesReference: 1 }], ['next', { threadId: 1 }], ['exceptionInfo', { threadId: 1 }]]) {
      await session.refused(command, args);
    }
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.output('stdout'), OUTPUT, transport);
  });
});

describe('a broken stream (TCP)', () => {
  const STREAMS = {
    'a length of terabytes': 'Content-Length: 9999999999999\r\n\r\n{}',
    'a length that is no number': 'Content-Length: many\r\n\r\n{}',
    'a negative length': 'Content-Length: -5\r\n\r\n{}',
    'no length': 'Content-Type: x\r\n\r\n{}',
    'an endless header': 'X'.repeat(1000000),
    'another protocol': 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'line noise': Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 256)),
  };
  for (const [what, data] of Object.entries(STREAMS)) {
    it(`with ${what} does no harm to the script`, async () => {
      const session = await attach(ORDERS);
      await session.breakpoints(ORDERS, ['sum']);
      await session.go();
      await session.stopped('breakpoint', 'sum');
      session.lenient = true;
      session._socket.write(data);
      session._socket.end();
      assert.strictEqual(await session.exited, 0);
      assert.strictEqual(session.debuggee.out, OUTPUT);
    });

    it(`with ${what} as the first word leaves the door open for a debugger`, async () => {
      const debuggee = await serve(ORDERS);
      const noise = await open(debuggee.port, ORDERS);
      noise.lenient = true;
      noise._socket.write(data);
      noise._socket.end();
      const session = await reattach(debuggee, ORDERS, (s) => s.breakpoints(ORDERS, ['sum']));
      await session.stopped('breakpoint', 'sum');
      await session.breakpoints(ORDERS, []);
      assert.strictEqual(await session.finish(), 0);
      assert.strictEqual(await debuggee.exited, 0);
      assert.strictEqual(debuggee.out, OUTPUT);
    });
  }
});
