'use strict';
// The first words: capabilities, the order of the start, launch arguments, and
// testsupport's own ready-made scenarios, used just as its manual has them.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { attach, connect, fixture, launch, lineOf, overBoth, reattach, relay, serve, Session } = require('./support');

const ORDERS = fixture('orders.lua');
const ARGUMENTS = fixture('arguments.lua');

/** What issue 2 promises; each has a test of its own in this directory. */
const PROMISED = [
  'supportsConfigurationDoneRequest', 'supportsFunctionBreakpoints', 'supportsConditionalBreakpoints',
  'supportsHitConditionalBreakpoints', 'supportsLogPoints', 'supportsEvaluateForHovers', 'supportsSetVariable',
  'supportsSetExpression', 'supportsCompletionsRequest', 'supportsExceptionInfoRequest',
  'supportsExceptionFilterOptions', 'supportsTerminateRequest', 'supportTerminateDebuggee',
  'supportSuspendDebuggee', 'supportsDelayedStackTraceLoading', 'supportsLoadedSourcesRequest',
  'supportsModulesRequest', 'supportsCancelRequest', 'supportsBreakpointLocationsRequest',
  'supportsClipboardContext', 'supportsValueFormattingOptions', 'supportsRestartRequest',
];

/** Requests that hang on a capability: refused if it is not advertised. */
const OPTIONAL = {
  supportsStepBack: ['stepBack', { threadId: 1 }],
  supportsRestartFrame: ['restartFrame', { frameId: 1 }],
  supportsGotoTargetsRequest: ['gotoTargets', { source: { path: ORDERS }, line: 1 }],
  supportsDisassembleRequest: ['disassemble', { memoryReference: '0', instructionCount: 1 }],
  supportsReadMemoryRequest: ['readMemory', { memoryReference: '0', count: 1 }],
  supportsDataBreakpoints: ['setDataBreakpoints', { breakpoints: [] }],
  supportsInstructionBreakpoints: ['setInstructionBreakpoints', { breakpoints: [] }],
  supportsTerminateThreadsRequest: ['terminateThreads', { threadIds: [1] }],
};

overBoth('handshake', (start, transport) => {
  it('advertises what it promises', async () => {
    const session = await start(ORDERS);
    const missing = PROMISED.filter((name) => session.capabilities[name] !== true);
    assert.deepStrictEqual(missing, []);
    const filters = session.capabilities.exceptionBreakpointFilters;
    assert.deepStrictEqual(filters.map((f) => [f.filter, f.default ?? false, f.supportsCondition]).sort(),
      [['all', false, true], ['uncaught', true, true]]);
    for (const filter of filters) assert.ok(filter.label);
  });

  it('refuses what it does not advertise', async () => {
    const session = await start(ORDERS);
    for (const [capability, [command, args]] of Object.entries(OPTIONAL)) {
      if (!session.capabilities[capability]) await session.refused(command, args);
    }
    assert.match(await session.refused('llmspell/noSuchThing', { a: 1 }), /noSuchThing|unknown|unsupported|not supported/i);
  });

  it('tells about its process and its thread', async () => {
    const session = await start(ORDERS);
    await session.go();
    const about = await session.event('process');
    assert.match(about.name, /orders\.lua/);
    assert.strictEqual(about.startMethod, transport === 'tcp' ? 'attach' : 'launch');
    assert.deepStrictEqual(await session.event('thread', (b) => b.reason === 'started'), { reason: 'started', threadId: 1 });
    assert.strictEqual(await session.ended(), 0);
  });

  it('knows one thread, also before the script runs', async () => {
    const session = await start(ORDERS);
    const { threads } = await session.call('threads');
    assert.strictEqual(threads.length, 1);
    assert.strictEqual(threads[0].id, 1);
    assert.ok(threads[0].name);
  });

  it('runs the script only when the configuration is done', async () => {
    const session = await start(ORDERS);
    for (let i = 0; i < 20; i++) await session.call('threads'); // time in which nothing may happen
    assert.strictEqual(session.output('stdout'), '');
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.output('stdout'), 'total\t436\n');
    assert.strictEqual(session.events('stopped').length, 0);
  });

  it('passes arguments, working directory and environment', async () => {
    const cwd = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'llmspell-')));
    const session = await start(ARGUMENTS, { args: ['one', 'two words', ''], cwd, env: { COLOR_OF_TEST: 'grün' } });
    fs.writeFileSync(path.join(cwd, 'here.txt'), 'found in the working directory\n');
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.output('stdout'), '3\tone\ttwo words\t\ntrue\ngrün\nfound in the working directory\n');
  });

  it('counts lines from 0 for a client that does', async () => {
    const session = await start(ORDERS, { initialize: { linesStartAt1: false, columnsStartAt1: false } });
    const line = lineOf(ORDERS, 'sum') - 1;
    await session.breakpoints(ORDERS, [line]);
    await session.go();
    const { top } = await session.stopped('breakpoint');
    assert.strictEqual(top.line, line);
    await session.breakpoints(ORDERS, []);
    assert.strictEqual(await session.finish(), 0);
  });
});

describe('launch (stdio)', () => {
  it('stops on entry if asked', async () => {
    const session = await launch(ORDERS, { request: { stopOnEntry: true } });
    await session.go();
    const { top, frameId } = await session.stopped('entry');
    assert.ok(top.line >= 1 && top.line <= lineOf(ORDERS, 'loop'), `entry at line ${top.line}`);
    assert.strictEqual((await session.locals(frameId)).total, undefined);
    assert.strictEqual(await session.finish(), 0);
  });

  it('ignores breakpoints without debugging', async () => {
    const session = await launch(ORDERS, { request: { noDebug: true } });
    await session.breakpoints(ORDERS, ['sum']);
    await session.go();
    assert.strictEqual(await session.ended(), 0);
    assert.strictEqual(session.events('stopped').length, 0);
    assert.strictEqual(session.output('stdout'), 'total\t436\n');
  });

  it('says which program it cannot find', async () => {
    const session = new Session(ORDERS);
    await session.start();
    await session.call('initialize', { adapterID: 'lua' });
    const launched = session.ask('launch', { program: fixture('no-such-script.lua') });
    const first = await Promise.race([launched, session.event('initialized').then(() => null)]);
    if (!first) await session.ask('configurationDone');
    const response = await launched;
    assert.strictEqual(response.success, false);
    assert.match(response.body?.error?.format ?? response.message, /no-such-script\.lua/);
  });

  it('refuses launch arguments that make no sense, and lives', async () => {
    const session = new Session(ORDERS);
    await session.start();
    await session.call('initialize', { adapterID: 'lua' });
    assert.match(await session.refused('launch', {}), /program/);
    assert.match(await session.refused('launch', { program: 5 }), /program|string/);
  });

  it('reports a syntax error with its place and exit code 1', async () => {
    const session = await launch(fixture('syntax_error.lua'));
    await session.call('configurationDone');
    const outcome = await session.starting;
    if (outcome.success) {
      assert.strictEqual(await session.ended(), 1);
      assert.match(session.output('stderr'), /syntax_error\.lua:3:/);
    } else {
      assert.match(outcome.body?.error?.format ?? outcome.message, /syntax_error\.lua:3:/);
    }
  });

  it('attaches to a running session through the stdio adapter', async () => {
    const session = await relay(ORDERS);
    await session.breakpoints(ORDERS, ['print']);
    await session.go();
    const { frameId } = await session.stopped('breakpoint', 'print');
    assert.strictEqual(await session.value('total', frameId), '436');
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(await session.debuggee.exited, 0);
    assert.strictEqual(session.debuggee.out, 'total\t436\n');
  });

  it('says so when there is nothing to attach to', async () => {
    const debuggee = await serve(ORDERS);
    debuggee.kill('SIGKILL'); // its port is free now and nobody listens
    await debuggee.exited;
    const session = new Session(ORDERS);
    await session.start();
    await session.call('initialize', { adapterID: 'lua' });
    assert.match(await session.refused('attach', { host: '127.0.0.1', port: debuggee.port }), /connect|refused/i);
  });
});

describe('other ways in (TCP)', () => {
  it('a script opens the port itself and waits', async () => {
    const script = fixture('enables.lua');
    const session = await attach(script, { command: ['run', script] });
    await session.breakpoints(script, ['after']);
    await session.go();
    const { frameId } = await session.stopped('breakpoint', 'after');
    assert.strictEqual(await session.value('before', frameId), '1');
    assert.strictEqual(await session.finish(), 0);
    assert.strictEqual(await session.exited, 0);
    assert.strictEqual(session.debuggee.out, '2\n');
  });

  it('code on the command line is debugged like a file', async () => {
    const code = 'local a = 1\nlocal b = a + 1\nprint(b)';
    const session = await attach(ORDERS, { command: ['exec', '--dap', '0', '--wait', code] });
    const { sources } = await session.call('loadedSources');
    const text = (b) => b.source.sourceReference > 0;
    const source = sources.find((s) => text({ source: s })) ?? (await session.event('loadedSource', text)).source;
    assert.strictEqual((await session.call('source', { source, sourceReference: source.sourceReference })).content, code);
    await session.call('setBreakpoints', { source, breakpoints: [{ line: 3 }] });
    await session.go();
    const { top, frameId } = await session.stopped('breakpoint');
    assert.deepStrictEqual([top.line, top.source.sourceReference], [3, source.sourceReference]);
    assert.strictEqual(await session.value('b', frameId), '2');
    assert.strictEqual(await session.finish(), 0);
  });
});

describe("testsupport's scenarios", () => {
  it('hitBreakpoint over stdio', async () => {
    const client = new Session(ORDERS);
    await client.start();
    let said; // verified at once or later, either is fine
    client.setBreakpointsRequest = async (args) => {
      const response = await Session.prototype.setBreakpointsRequest.call(client, args);
      said = response.body.breakpoints[0].verified;
      return response;
    };
    const location = { path: ORDERS, line: lineOf(ORDERS, 'sum'), get verified() { return said; } };
    await client.hitBreakpoint({ program: ORDERS, cwd: path.dirname(ORDERS) }, location);
  });

  it('assertOutput and configurationSequence over stdio', async () => {
    const client = new Session(ORDERS);
    await client.start();
    await Promise.all([
      client.configurationSequence(),
      client.launch({ program: ORDERS, cwd: path.dirname(ORDERS) }),
      client.assertOutput('stdout', 'total\t436\n'),
      client.waitForEvent('terminated'),
    ]);
    await client.stop();
  });

  it('assertStoppedLocation over TCP', async () => {
    const client = await attach(ORDERS);
    await client.setBreakpointsRequest({ source: { path: ORDERS }, breakpoints: [{ line: lineOf(ORDERS, 'sum') }] });
    await Promise.all([
      client.configurationDoneRequest(),
      client.assertStoppedLocation('breakpoint', { path: ORDERS, line: lineOf(ORDERS, 'sum') }),
    ]);
    await client.setBreakpointsRequest({ source: { path: ORDERS }, breakpoints: [] });
    await Promise.all([client.waitForEvent('terminated'), client.continueRequest({ threadId: 1 })]);
  });

  it('a client that only initializes and leaves does not start the script', async () => {
    const debuggee = await serve(ORDERS);
    const visitor = await connect(debuggee.port, ORDERS);
    visitor.leave();
    await reattach(debuggee, ORDERS, async () => assert.strictEqual(debuggee.out, ''));
    assert.strictEqual(await debuggee.exited, 0);
    assert.strictEqual(debuggee.out, 'total\t436\n');
  });
});
