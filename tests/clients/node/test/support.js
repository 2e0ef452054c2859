'use strict';
// A debug session as these tests see it: VS Code's own DebugClient, plus a
// journal of everything that was said, in order. Events are taken from the
// journal one after another, so nothing is missed between two requests and no
// test ever sleeps. Every message is checked against the rules of the protocol
// that hold for all of them (`checkMessage`); zz-protocol.test.js reports them.

const assert = require('assert');
const { spawn } = require('child_process');
const fs = require('fs');
const path = require('path');
const { DebugClient } = require('@vscode/debugadapter-testsupport');

const BINARY = process.env.LLMSPELL && path.resolve(process.env.LLMSPELL);
if (!BINARY || !fs.existsSync(BINARY)) {
  throw new Error('set LLMSPELL to the llmspell binary to test');
}

/** How long a test waits for something that never comes before it fails. */
const PATIENCE = 15000;
const FIXTURES = fs.realpathSync(path.join(__dirname, '..', 'fixtures'));
const running = new Set();

/** What the adapter said against the rules of the protocol, in any test. */
const breaches = [];

const fixture = (name) => path.join(FIXTURES, name);
const text = (file) => fs.readFileSync(file, 'utf8');

/** The 1-based line of `file` that ends in the comment `--@mark`. */
function lineOf(file, mark) {
  const lines = text(file).split('\n');
  const found = lines.flatMap((line, i) => (new RegExp(`--@${mark}\\s*$`).test(line) ? [i + 1] : []));
  assert.strictEqual(found.length, 1, `${file} has ${found.length} lines marked --@${mark}`);
  return found[0];
}

class Session extends DebugClient {
  constructor(program, spawnOptions) {
    super(BINARY, 'dap', 'lua', spawnOptions, false);
    this.defaultTimeout = PATIENCE;
    this.program = program; // the script that is debugged
    this.journal = []; // every message received, in order
    this.taken = new Set(); // indices of events that a test has consumed
    this.waiters = new Set();
    this.asked = new Map(); // seq -> command of requests without an answer
    this.breach = undefined; // first violation of the protocol
    this.lenient = false; // true when a test sends what has no right answer
    this.lastSeq = 0;
    this.capabilities = {};
    this.stderr = '';
    this.stdout = ''; // of the script itself; only known when attached over TCP
    this.closed = new Promise((resolve) => { this.markClosed = resolve; });
    running.add(this);
  }

  // ---- the wire

  /** Spawns the adapter or, with a port, connects to it. */
  start(port) {
    const started = super.start(port);
    if (this._socket) {
      this._socket.on('error', () => {});
      this._socket.on('close', () => this.markClosed());
    } else {
      const adapter = this._adapterProcess;
      adapter.stdin.on('error', () => {});
      adapter.stderr.on('data', (data) => { this.stderr += data; });
      this.exited = new Promise((resolve) => adapter.on('close', (code, signal) => {
        this.markClosed();
        resolve(code ?? signal);
      }));
    }
    return this.guard(started, 'the adapter');
  }

  doSend(command, args, callback) {
    this.asked.set(this.sequence, command);
    super.doSend(command, args, callback);
  }

  dispatch(body) {
    let message;
    try {
      message = JSON.parse(body);
      if (!this.lenient) checkMessage(this, message);
    } catch (error) {
      this.breach ??= error;
    }
    if (process.env.TRACE) console.log('<-', body.slice(0, 2000));
    this.journal.push(message);
    if (message) super.dispatch(body);
    for (const waiter of [...this.waiters]) waiter();
  }

  /** Sends a request and gives its response, whether it succeeded or not. */
  ask(command, args) {
    if (process.env.TRACE) console.log('->', command, JSON.stringify(args));
    const seq = this.sequence;
    const answer = new Promise((resolve) => this.doSend(command, args, resolve));
    const guarded = this.guard(answer, `the response to ${command}`);
    guarded.catch(() => {}); // a test may leave it unanswered on purpose
    return Object.assign(guarded, { seq });
  }

  /** Sends a request that must succeed and gives the body of its response. */
  async call(command, args) {
    const response = await this.ask(command, args);
    assert.ok(response.success, `${command} ${JSON.stringify(args)} failed: ${response.message} ${JSON.stringify(response.body)}`);
    return response.body ?? {};
  }

  /** Sends a request that must be refused and gives the error's text. */
  async refused(command, args) {
    const response = await this.ask(command, args);
    assert.ok(!response.success, `${command} ${JSON.stringify(args)} was not refused: ${JSON.stringify(response.body)}`);
    return response.body?.error?.format ?? response.message;
  }

  /** Fails with what was heard instead if `promise` takes for ever or the connection closes. */
  guard(promise, what) {
    let timer;
    const heard = () => this.journal.slice(-12)
      .map((m) => JSON.stringify(m.type === 'event' ? [m.event, m.body] : [m.command, m.success, m.message]).slice(0, 160)).join('\n  ');
    const deadline = new Promise((_, reject) => {
      const fail = (why) => () => reject(new Error(`${why} while waiting for ${what}; stderr: ${this.stderr}; last heard:\n  ${heard()}`));
      timer = setTimeout(fail('out of patience'), PATIENCE);
      this.closed.then(() => setImmediate(fail('the connection closed')));
    });
    return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
  }

  // ---- events

  /** The first event of this kind that no test step has taken yet (and that `wanted` accepts). */
  event(name, wanted = () => true) {
    let stop;
    const arrival = new Promise((resolve, reject) => {
      const look = () => {
        const index = this.journal.findIndex((m, i) => m?.event === name && !this.taken.has(i) && wanted(m.body ?? {}));
        if (index < 0) return;
        this.taken.add(index);
        resolve(this.journal[index].body ?? {});
      };
      const careful = () => { try { look(); } catch (error) { reject(error); } };
      this.waiters.add(careful);
      stop = () => this.waiters.delete(careful);
      careful();
    });
    const guarded = this.guard(arrival, `event ${name}`).finally(stop);
    guarded.catch(() => {});
    return guarded;
  }

  /** All events of this kind so far, taken or not. */
  events(name) {
    return this.journal.filter((m) => m?.event === name).map((m) => m.body ?? {});
  }

  /** Everything that was put out in a category so far. */
  output(category) {
    return this.events('output').filter((b) => (b.category ?? 'console') === category).map((b) => b.output).join('');
  }

  /** Waits for a stop; checks its reason and, if given, where it is: `at` is a mark, a line, or several of which one will do. */
  async stopped(reason, at, file = this.program) {
    const event = await this.event('stopped');
    assert.strictEqual(event.reason, reason, `stopped because of ${event.reason} (${event.description ?? ''} ${event.text ?? ''})`);
    assert.strictEqual(event.threadId, 1);
    assert.strictEqual(event.allThreadsStopped, true);
    const { stackFrames: frames, totalFrames } = await this.call('stackTrace', { threadId: 1 });
    const top = frames[0];
    if (at !== undefined) {
      const lines = [at].flat().map((mark) => (typeof mark === 'number' ? mark : lineOf(file, mark)));
      assert.strictEqual(top.source?.path, file, `stopped in ${JSON.stringify(top)}`);
      assert.ok(lines.includes(top.line), `stopped at line ${top.line} (${text(file).split('\n')[top.line - 1]}), not at ${at} (${lines})`);
    }
    return { event, frames, top, totalFrames, frameId: top.id };
  }

  /** Goes on (`next`, `stepIn`, `stepOut`) and checks that the step ends at `at`. */
  async step(command, at, file) {
    await this.call(command, { threadId: 1 });
    return this.stopped('step', at, file);
  }

  resume() {
    return this.call('continue', { threadId: 1 });
  }

  // ---- configuration

  async breakpoints(file, list) {
    const breakpoints = list.map((b) => {
      const spec = typeof b === 'object' ? { ...b } : { line: b };
      if (typeof spec.line === 'string') spec.line = lineOf(file, spec.line);
      return spec;
    });
    const args = { source: { path: file, name: path.basename(file) }, breakpoints, lines: breakpoints.map((b) => b.line), sourceModified: false };
    const answer = (await this.call('setBreakpoints', args)).breakpoints;
    assert.strictEqual(answer.length, breakpoints.length, 'one answer per breakpoint');
    return answer;
  }

  /** A breakpoint once it is verified: as it was answered, or as an event said later. */
  async verified(breakpoint) {
    if (breakpoint.verified) return breakpoint;
    const change = await this.event('breakpoint', (b) => b.breakpoint.id === breakpoint.id && b.breakpoint.verified);
    assert.strictEqual(change.reason, 'changed');
    return change.breakpoint;
  }

  functions(list) {
    return this.call('setFunctionBreakpoints', { breakpoints: list.map((b) => (typeof b === 'string' ? { name: b } : b)) })
      .then((body) => body.breakpoints);
  }

  exceptions(filters, filterOptions) {
    return this.call('setExceptionBreakpoints', filterOptions ? { filters, filterOptions } : { filters });
  }

  /** The last step of the configuration: lets the script run. */
  async go() {
    await this.call('configurationDone');
    if (this.starting) {
      const response = await this.starting;
      assert.ok(response.success, `${response.command} failed: ${response.message}`);
    }
    return this;
  }

  // ---- looking around

  async scopes(frameId) {
    const { scopes } = await this.call('scopes', { frameId });
    return Object.fromEntries(scopes.map((scope) => [scope.name, scope]));
  }

  async variables(variablesReference, page = {}) {
    return (await this.call('variables', { variablesReference, ...page })).variables;
  }

  /** The variables of a scope of a frame by name. */
  async scope(frameId, name) {
    const scope = (await this.scopes(frameId))[name];
    return scope && byName(await this.variables(scope.variablesReference));
  }

  locals(frameId) {
    return this.scope(frameId, 'Locals');
  }

  async evaluate(expression, frameId, context = 'watch') {
    return this.call('evaluate', { expression, frameId, context });
  }

  async value(expression, frameId, context) {
    return (await this.evaluate(expression, frameId, context)).result;
  }

  // ---- the end

  /** Waits for the end of the script and gives its exit code. */
  async ended() {
    const { exitCode } = await this.event('exited');
    await this.event('terminated');
    return exitCode;
  }

  async finish() {
    await this.resume();
    return this.ended();
  }

  /** Breaks the connection without a word, as a client does that crashes. */
  leave() {
    if (this._socket) this._socket.destroy();
    else this._adapterProcess.stdin.destroy();
  }

  kill() {
    if (this._socket) this._socket.destroy();
    for (const child of [this._adapterProcess, this.debuggee]) {
      if (child && child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    }
  }
}

/** Rules that hold for every message of the protocol. */
function checkMessage(session, message) {
  const told = JSON.stringify(message).slice(0, 500);
  assert.ok(Number.isInteger(message.seq) && message.seq > session.lastSeq, `seq does not rise: ${told}`);
  session.lastSeq = message.seq;
  assert.ok(['event', 'response'].includes(message.type), `unexpected type: ${told}`);
  assert.ok(!/[[:,]null[,\]}]/.test(JSON.stringify({ ...message, body: withoutText(message.body) })), `null where a property should be absent: ${told}`);
  if (message.type === 'response') {
    assert.strictEqual(message.command, session.asked.get(message.request_seq), `answers nothing that was asked: ${told}`);
    session.asked.delete(message.request_seq);
    assert.strictEqual(typeof message.success, 'boolean', told);
    if (!message.success) assert.ok(message.message || message.body?.error?.format, `failure without a word: ${told}`);
  }
  if (message.event === 'stopped') assert.strictEqual(typeof message.body.reason, 'string', told);
}

/** A copy of a message body with its strings emptied. */
function withoutText(value) {
  return JSON.parse(JSON.stringify(value ?? {}, (_, v) => (typeof v === 'string' ? '' : v)));
}

function byName(variables) {
  return Object.fromEntries(variables.map((variable) => [variable.name, variable]));
}

/** Runs a program to its end; gives its exit code (or signal) and what it wrote. */
function run(args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(options.program ?? BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options.spawn });
    const out = { stdout: [], stderr: [] };
    child.stdout.on('data', (data) => out.stdout.push(data));
    child.stderr.on('data', (data) => out.stderr.push(data));
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code: code ?? signal, stdout: Buffer.concat(out.stdout), stderr: Buffer.concat(out.stderr).toString() }));
  });
}

/** Starts `llmspell run --dap 0` and waits for the port it tells; `child.exited` is its exit code. */
function serve(script, { args = [], wait = true, cwd, env, command } = {}) {
  const child = spawn(BINARY, command ?? ['run', '--dap', '0', ...(wait ? ['--wait'] : []), script, ...args], {
    cwd: cwd ?? path.dirname(script), env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  const debuggee = Object.assign(child, { out: '', err: '' });
  running.add({ kill: () => { if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL'); } });
  const listeners = new Set();
  child.stdout.on('data', (data) => {
    child.out += data;
    for (const listener of listeners) listener();
  });
  /** Resolves when the script itself has written `text`. */
  debuggee.wrote = (text) => new Promise((resolve) => {
    const look = () => child.out.includes(text) && resolve(listeners.delete(look));
    listeners.add(look);
    look();
  });
  debuggee.exited = new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)));
  return new Promise((resolve, reject) => {
    child.stderr.on('data', (data) => {
      child.err += data;
      const told = /dap: listening on 127\.0\.0\.1:(\d+)/.exec(child.err);
      if (told) resolve(Object.assign(debuggee, { port: Number(told[1]) }));
    });
    child.on('error', reject);
    child.on('close', (code) => reject(new Error(`llmspell run ended with ${code} before it told its port: ${child.err}`)));
  });
}

/** Opens a connection; fails if nobody listens. */
async function open(port, program) {
  const session = new Session(program);
  await session.start(port);
  return session;
}

/** Connects a client to a port and initializes it; sends no `attach` yet. */
async function connect(port, program, initialize = {}) {
  const session = await open(port, program);
  await initializeSession(session, initialize);
  return session;
}

/** Attaches, configures and goes as soon as the debugger before is gone: refused until then, so it asks again. */
async function reattach(debuggee, program, configure = async () => {}) {
  let refusal;
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    const session = await open(debuggee.port, program);
    Object.assign(session, { debuggee, exited: debuggee.exited });
    try {
      await initializeSession(session, {});
      session.starting = session.ask('attach', {});
      const refused = session.starting.then((response) => (response.success ? new Promise(() => {}) : Promise.reject(new Error(response.message))));
      await Promise.race([session.event('initialized'), refused]);
      await configure(session);
      return await session.go();
    } catch (error) {
      refusal = error;
      session.leave();
    }
  }
  throw new Error(`another debugger never got in: ${refusal?.message}`);
}

async function initializeSession(session, initialize) {
  session.capabilities = await session.call('initialize', {
    adapterID: 'lua', clientID: 'vscode', clientName: 'Visual Studio Code', locale: 'en', pathFormat: 'path',
    linesStartAt1: true, columnsStartAt1: true, supportsVariableType: true, supportsVariablePaging: true,
    supportsRunInTerminalRequest: true, supportsProgressReporting: true, supportsInvalidatedEvent: true, ...initialize,
  });
}

/** A session up to `initialized`: `launch` over stdio. The script waits for `go()`. */
async function launch(script, { args = [], initialize = {}, request = {}, cwd, env } = {}) {
  const session = new Session(script, { cwd: cwd ?? path.dirname(script) });
  await session.start();
  await initializeSession(session, initialize);
  const wanted = { program: script, args, ...(cwd && { cwd }), ...(env && { env }), ...request };
  session.starting = session.ask('launch', wanted);
  await session.event('initialized');
  return session;
}

/** A session up to `initialized`: `attach` over TCP to `llmspell run --dap 0 --wait`. */
async function attach(script, { args = [], initialize = {}, request = {}, cwd, env, command } = {}) {
  const debuggee = await serve(script, { args, cwd, env, command });
  const session = await connect(debuggee.port, script, initialize);
  session.debuggee = debuggee;
  session.exited = debuggee.exited;
  session.starting = session.ask('attach', { ...request });
  await session.event('initialized');
  return session;
}

/** A session up to `initialized`: the stdio adapter attaches to `llmspell run --dap 0 --wait`. */
async function relay(script, { request = {} } = {}) {
  const debuggee = await serve(script);
  const session = new Session(script);
  session.debuggee = debuggee;
  await session.start();
  await initializeSession(session, {});
  session.starting = session.ask('attach', { host: '127.0.0.1', port: debuggee.port, ...request });
  await session.event('initialized');
  return session;
}

/** Declares the same tests for both transports; `start` is `launch` or `attach`. */
function overBoth(subject, tests) {
  describe(`${subject} (stdio)`, () => tests(launch, 'stdio'));
  describe(`${subject} (TCP)`, () => tests(attach, 'tcp'));
}

afterEach(function () {
  for (const session of running) {
    if (session.breach) breaches.push(`${this.currentTest.fullTitle()}: ${session.breach.message}`);
    session.kill();
  }
  running.clear();
});

Object.assign(exports, { BINARY, Session, attach, breaches, byName, connect, fixture, launch, lineOf, open, overBoth, reattach, relay, run, serve, text });
