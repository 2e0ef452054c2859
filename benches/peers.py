"""Other Lua debuggers, each against the plain Lua that it runs on.

Only what a package registry or the user brings is measured; nothing is
fetched from here. Slow ones get a fraction of the work, and their baseline the
same fraction.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import latency
from measure import Attach, Config, Plan, Result, Workload, parse_result, run_command

NONE = Attach()
ELSEWHERE = Attach("elsewhere")
NEVER = Attach("never")
CONDITION = Attach("hot", conditional=True)
TIMEOUT = 120.0


@dataclass(frozen=True)
class Group:
    """Configurations measured at the same size, against one baseline."""

    configs: list[Config]
    plan: Plan


def baseline(lua: str) -> Config:
    """Plain Lua."""
    run = functools.partial(run_command, [lua])
    return Config("plain", f"plain {lua}", run, baseline=True, repetitions=30)


# MobDebug -------------------------------------------------------------------


def find_mobdebug(lua: str, given: str | None) -> Path | None:
    """MobDebug as given, as `require` finds it, or inside PyPI's `plua` wheel."""
    if given:
        return Path(given).resolve()
    search = 'print(package.searchpath("mobdebug", package.path) or "")'
    found = subprocess.run([lua, "-e", search], capture_output=True, text=True, check=False)
    if path := found.stdout.strip():
        return Path(path).resolve()
    try:
        files = importlib.metadata.files("plua") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(file.locate()) for file in files if file.name == "mobdebug.lua"), None)


def mobdebug_name(path: Path) -> str:
    """The name and version that the file states of itself; a known fork is told apart."""
    text = path.read_text(errors="replace")
    match = re.search(r'_VERSION = "([^"]+)"', text)
    fork = " (fork that also speaks VS Code's protocol)" if "VSCODE" in text else ""
    return f"MobDebug {match[1] if match else 'of unknown version'}{fork}"


class MobDebug:
    """The controller: listens, sets the breakpoint, lets the script run."""

    def __init__(self, lua: str, library: Path, script: Path, args: list[str]):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            # Loaded by its path: its directory may hold modules that are not for us.
            setup = (
                f'local m = assert(loadfile([[{library}]]))("mobdebug"); '
                f'package.loaded.mobdebug = m; m.coro(); assert(m.start("127.0.0.1", {port}))'
            )
            self.process = subprocess.Popen(
                [lua, "-e", setup, str(script), *args],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            self._socket = self._accept(server)
        self._socket.settimeout(TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("r")
        # As its own controller does: a breakpoint sent before the first stop
        # may be taken for one set while running, which gets no answer.
        self.command("STEP")
        self.paused()

    def __enter__(self) -> MobDebug:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()
        self.process.kill()
        self.process.communicate()

    def _accept(self, server: socket.socket) -> socket.socket:
        """Waits for the script to connect, or to die of not being able to."""
        alive = os.pidfd_open(self.process.pid)
        try:
            ready, _, _ = select.select([server, alive], [], [], TIMEOUT)
        finally:
            os.close(alive)
        if server not in ready:
            self.process.kill()
            raise RuntimeError(f"MobDebug did not start: {self.process.communicate()[1]}")
        return server.accept()[0]

    def command(self, line: str) -> None:
        """Sends one command and waits for its `200 OK`."""
        self._socket.sendall(f"{line}\n".encode())
        self._expect("200")

    def paused(self) -> None:
        """Waits for the next stop."""
        self._expect("202")

    def _expect(self, code: str) -> None:
        answer = self._reader.readline()
        if not answer.startswith(code):
            raise RuntimeError(f"MobDebug: expected {code}, got {answer!r}")

    def run_to_end(self) -> str:
        """Continues to the end of the script; a stop on the way is an error."""
        self.command("RUN")
        if answer := self._reader.readline():
            raise RuntimeError(f"MobDebug: {answer!r} instead of the end")
        output, errors = self.process.communicate(timeout=TIMEOUT)
        if self.process.returncode != 0:
            raise RuntimeError(f"MobDebug: exit {self.process.returncode}: {errors}")
        return output


def run_mobdebug(
    lua: str, library: Path, attach: Attach, workload: Workload, scale: float, repetitions: int
) -> Result:
    """One run under MobDebug; its watches stand in for conditions, which it lacks."""
    args = [repr(scale), str(repetitions)]
    with MobDebug(lua, library, workload.path, args) as session:
        for breakpoint_ in attach.breakpoints(workload):
            if breakpoint_.condition is None:
                session.command(f"SETB {workload.path} {breakpoint_.line}")
            else:
                session.command(f"SETW {breakpoint_.condition}")
        return parse_result(workload, session.run_to_end())


def mobdebug_groups(lua: str, library: Path, quick: bool) -> list[Group]:
    """MobDebug's rows."""
    name = mobdebug_name(library)

    def config(key: str, label: str, attach: Attach) -> Config:
        run = functools.partial(run_mobdebug, lua, library, attach)
        return Config(f"mobdebug {key}", f"{name}, {label}", run)

    rounds = 2 if quick else 5
    lines = [
        config("none", "no breakpoints", NONE),
        config("elsewhere", "breakpoint elsewhere", ELSEWHERE),
        config("never", "breakpoint on a line that never runs", NEVER),
    ]
    watch = [config("condition", "false watch (it has no conditions)", CONDITION)]
    return [
        Group([baseline(lua), *lines], Plan(0.01, rounds, 2)),
        Group([baseline(lua), *watch], Plan(0.002, rounds, 2)),
    ]


def mobdebug_steps(lua: str, library: Path, steps: int) -> latency.Row:
    """Step over under MobDebug, from the command to the report of the stop."""
    script, times = latency.SCRIPTS / "steps.lua", []
    with MobDebug(lua, library, script, []) as session:
        for _ in range(steps):
            start = time.perf_counter()
            session.command("OVER")
            session.paused()
            times.append(time.perf_counter() - start)
    label = f"{mobdebug_name(library)}: step over → stopped"
    return latency.Row(label, latency.milliseconds(times))


# local-lua-debugger ---------------------------------------------------------


def find_lldebugger(given: str | None) -> Path | None:
    """The debugger's Lua half as given, or inside an installed editor extension."""
    if given:
        return Path(given).resolve()
    pattern = "*/extensions/tomblind.local-lua-debugger-vscode-*/debugger/lldebugger.lua"
    return next(iter(sorted(Path.home().glob(pattern), reverse=True)), None)


def run_lldebugger(
    lua: str, library: Path, attach: Attach, workload: Workload, scale: float, repetitions: int
) -> Result:
    """One run under local-lua-debugger, started as its extension starts it.

    Its commands wait on standard input; a stop would read the end of the file
    and end the program without a result.
    """
    commands = [
        f"break set {workload.path}:{each.line} {each.condition or ''}".rstrip()
        for each in attach.breakpoints(workload)
    ]
    launch = (
        f'require("{library.stem}").runFile([[{workload.path}]], true, '
        f'{{[0] = [[{workload.path}]], "{scale!r}", "{repetitions}"}})'
    )
    environment = {
        **os.environ,
        "LUA_PATH": f"{library.parent}/?.lua;;",
        "LOCAL_LUA_DEBUGGER_OUTPUT_FILE": os.devnull,
    }
    done = subprocess.run(
        [lua, "-e", launch], input="\n".join([*commands, "cont", ""]), env=environment,
        capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"local-lua-debugger: exit {done.returncode}: {done.stderr}")
    return parse_result(workload, done.stdout)


def lldebugger_groups(lua: str, library: Path, quick: bool) -> list[Group]:
    """local-lua-debugger's rows."""

    def config(key: str, label: str, attach: Attach) -> Config:
        run = functools.partial(run_lldebugger, lua, library, attach)
        return Config(f"lldebugger {key}", f"local-lua-debugger, {label}", run)

    rounds = 2 if quick else 5
    lines = [
        config("elsewhere", "breakpoint elsewhere", ELSEWHERE),
        config("never", "breakpoint on a line that never runs", NEVER),
    ]
    return [
        Group([baseline(lua), config("none", "no breakpoints", NONE)], Plan(0.2, rounds, 2)),
        Group([baseline(lua), *lines], Plan(0.02, rounds, 2)),
        Group([baseline(lua), config("condition", "false condition", CONDITION)],
              Plan(0.002, rounds, 2)),
    ]


def missing(mobdebug: Path | None, lldebugger: Path | None) -> Iterator[str]:
    """What could not be measured, and how it could."""
    if mobdebug is None:
        yield ("MobDebug: not installed. Debian has no package of it; PyPI's `plua` holds one: "
               "`pip install --no-deps plua`, or give --mobdebug FILE (needs lua-socket)")
    if lldebugger is None:
        yield ("local-lua-debugger: not available from a package registry; install the "
               "editor extension or give --lldebugger FILE")
    yield "lua-debug: not available from a package registry"
    yield "EmmyLuaDebugger: not available from a package registry"
