"""How long a person waits: pause, step, expand, look at a deep stack, start.

Every figure is taken at the client's socket, from the first byte sent to the
last byte of the answer received.
"""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dap_client import Breakpoint, DapClient, DapError, Debuggee, Silent
from measure import FAILURES

LOST = 3.0  # seconds after which a pause counts as lost
SCRIPTS = Path(__file__).resolve().parent / "latency"


@dataclass(frozen=True)
class Row:
    """One line of the latency table."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Amounts:
    """How often to do what."""

    pauses: int
    steps: int
    stops: int
    starts: int


FULL = Amounts(pauses=200, steps=1000, stops=50, starts=60)
QUICK = Amounts(pauses=40, steps=200, stops=10, starts=20)


def percentile(seconds: list[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def milliseconds(seconds: list[float]) -> str:
    """Percentiles as the table shows them."""
    p50, p99 = percentile(seconds, 50), percentile(seconds, 99)
    return (
        f"p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, "
        f"max {max(seconds) * 1e3:.2f} ms (n = {len(seconds)})"
    )


def _marked(script: Path) -> int:
    """The number of the line marked `-- BP:stop`."""
    for number, line in enumerate(script.read_text().splitlines(), 1):
        if line.endswith("-- BP:stop"):
            return number
    raise ValueError(f"{script}: no BP:stop")


def pause(llmspell: str, amounts: Amounts) -> Iterator[Row]:
    """Pause of a script that spins, to the `stopped` event."""
    for kind in ("loop", "recursion", "coroutine"):
        times, lost = _pauses(llmspell, SCRIPTS / f"spin_{kind}.lua", amounts.pauses)
        measured = milliseconds(times) + (f"; LOST {lost} more" if lost else "")
        met = not lost and percentile(times, 99) <= 5e-3
        yield Row(f"pause → stopped, {kind}", measured, "p99 ≤ 5 ms", met)


def _pauses(llmspell: str, script: Path, count: int) -> tuple[list[float], int]:
    """The latencies, and how many pauses were answered but never stopped."""
    times, lost = [], 0
    with Debuggee(llmspell, script) as debuggee:
        client = debuggee.connect([], [])
        client.wait_at_most(LOST)
        while len(times) < count:
            # A few round trips let the script run on for a time that varies.
            for _ in range(random.randrange(1, 8)):
                client.request("threads")
            start = time.perf_counter()
            answered = client.send("pause", {"threadId": 1})
            try:
                times.append(client.stopped("pause").arrived - start)
            except Silent:
                lost += 1
                if lost > count // 10:
                    raise
                continue
            client.response(answered)
            client.request("continue", {"threadId": 1})
        client.close()
    return times, lost


def step(llmspell: str, amounts: Amounts) -> Iterator[Row]:
    """Step over, to the `stopped` event."""
    script, times = SCRIPTS / "steps.lua", []
    with Debuggee(llmspell, script) as debuggee:
        client = debuggee.connect([Breakpoint(_marked(script))], [])
        client.stopped("breakpoint")
        _clear_breakpoints(client, script)
        for _ in range(amounts.steps):
            start = time.perf_counter()
            answered = client.send("next", {"threadId": 1})
            times.append(client.stopped("step").arrived - start)
            client.response(answered)
        client.close()
    met = percentile(times, 50) <= 0.3e-3
    yield Row("step over → stopped", milliseconds(times), "p50 ≤ 0.3 ms", met)


def _clear_breakpoints(client: DapClient, script: Path) -> None:
    client.request("setBreakpoints", {"source": {"path": str(script)}, "breakpoints": []})


def tables(llmspell: str, amounts: Amounts) -> Iterator[Row]:
    """A hundred variables of a table with a million entries."""
    for kind, paging in (("array", "indexed"), ("hash", "named")):
        script = SCRIPTS / f"table_{kind}.lua"
        for where, start in (("first", 0), ("middle", 500_000)):
            page = {"filter": paging, "start": start, "count": 100}
            times = _pages(llmspell, script, page, amounts.stops)
            first = where == "first"
            yield Row(
                f"{where} 100 of 1,000,000 ({kind})",
                milliseconds(times),
                "p50 ≤ 5 ms" if first else "",
                percentile(times, 50) <= 5e-3 if first else None,
            )


def _pages(llmspell: str, script: Path, page: dict, count: int) -> list[float]:
    """The first such request after each of `count` stops."""
    times = []
    for client in _stops(llmspell, script, count):
        frame = client.request("stackTrace", {"threadId": 1, "levels": 1})["stackFrames"][0]
        scopes = client.request("scopes", {"frameId": frame["id"]})["scopes"]
        reference = {"variablesReference": _reference(scopes, "Locals")}
        variables = client.request("variables", reference)["variables"]
        arguments = {"variablesReference": _reference(variables, "big"), **page}
        body, seconds = client.timed_request("variables", arguments)
        if len(body["variables"]) != 100:
            raise DapError(f"{script.name}: {len(body['variables'])} variables, not 100")
        times.append(seconds)
    return times


def _reference(items: list[dict], name: str) -> int:
    """The reference of the scope or variable of this name."""
    for item in items:
        if item["name"] == name:
            return item["variablesReference"]
    raise DapError(f"no {name} among {[item['name'] for item in items]}")


def _stops(llmspell: str, script: Path, count: int) -> Iterator[DapClient]:
    """Yields the client at each of `count` stops on the marked line."""
    with Debuggee(llmspell, script) as debuggee:
        client = debuggee.connect([Breakpoint(_marked(script))], [])
        for _ in range(count):
            client.stopped("breakpoint")
            yield client
            client.request("continue", {"threadId": 1})
        client.close()


def deep_stack(llmspell: str, amounts: Amounts) -> Iterator[Row]:
    """The top 20 frames of a deep recursion, the first request after each stop."""
    times, arguments = [], {"threadId": 1, "startFrame": 0, "levels": 20}
    for client in _stops(llmspell, SCRIPTS / "deep.lua", amounts.stops):
        body, seconds = client.timed_request("stackTrace", arguments)
        if len(body["stackFrames"]) != 20:
            raise DapError(f"{len(body['stackFrames'])} frames, not 20")
        times.append(seconds)
    yield Row("top 20 of 190,000 frames", milliseconds(times))


def caught_error(llmspell: str, _: Amounts) -> Iterator[Row]:
    """Proof that the filter `all` is really on in the ratio table."""
    script = SCRIPTS / "caught_error.lua"
    with Debuggee(llmspell, script) as debuggee:
        client = debuggee.connect([], ["all"])
        start = time.perf_counter()
        client.stopped("exception")
        seconds = time.perf_counter() - start
        body = client.request("stackTrace", {"threadId": 1, "levels": 1})
        line = body["stackFrames"][0]["line"]
        client.close()
    if line != _marked(script):
        raise DapError(f"filter all stopped at line {line}")
    yield Row("filter `all` stops at a caught error", f"yes ({seconds * 1e3:.1f} ms from start)")


def start_up(llmspell: str, lua: str, amounts: Amounts) -> Iterator[Row]:
    """Start to end of `print(1)`, wall clock, in turn with plain Lua."""
    script = str(SCRIPTS / "print1.lua")
    ours, plain = [llmspell, "run", script], [lua, script]
    for command in (ours, plain):  # once unmeasured: files come into memory
        _spawn(command)
    pairs = [(_spawn(ours), _spawn(plain)) for _ in range(amounts.starts)]
    our_median = statistics.median(first for first, _ in pairs)
    plain_median = statistics.median(second for _, second in pairs)
    ratio = our_median / plain_median
    yield Row(
        "start of `run` on print(1)",
        f"{our_median * 1e3:.2f} ms, {Path(lua).name} {plain_median * 1e3:.2f} ms: "
        f"{ratio:.2f}× (n = {len(pairs)})",
        "≤ 2×",
        ratio <= 2,
    )


def _spawn(command: list[str]) -> float:
    """Wall seconds from spawn to exit, with as little of Python as possible."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    path = shutil.which(command[0]) or command[0]
    start = time.perf_counter()
    process = os.posix_spawn(path, command, os.environ, file_actions=quiet)
    _, status = os.waitpid(process, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise RuntimeError(f"{' '.join(command)}: wait status {status}")
    return seconds


def size(llmspell: str) -> Iterator[Row]:
    """The size of the binary, stripped if `strip` is installed."""
    note, megabytes = "as it is", os.path.getsize(llmspell) / 1e6
    if shutil.which("strip"):
        with tempfile.TemporaryDirectory() as directory:
            stripped = Path(directory) / "llmspell"
            subprocess.run(["strip", "-o", stripped, llmspell], check=True)
            note, megabytes = "stripped", stripped.stat().st_size / 1e6
    yield Row(f"binary, {note}", f"{megabytes:.1f} MB", "≤ 15 MB", megabytes <= 15)


def measure(llmspell: str, lua: str, amounts: Amounts) -> Iterator[Row]:
    """All rows; one that fails says so and the others go on."""
    subjects = [pause, step, tables, deep_stack, caught_error]
    groups = [subject(llmspell, amounts) for subject in subjects]
    for group in [*groups, start_up(llmspell, lua, amounts), size(llmspell)]:
        try:
            yield from group
        except (*FAILURES, KeyError) as error:
            name = re.sub(r"_", " ", group.__name__)
            yield Row(name, f"FAILED: {error!r}", met=False)
