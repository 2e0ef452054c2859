"""The seven workloads and the ways to run them: bare, alone, debugged.

Each run measures itself (CPU seconds of its process, the best of a few
repetitions). Rounds go through all configurations in turn, so that a slow
minute of the machine hits them all; the best of each is then compared. Many
short repetitions beat a few long ones: on a shared machine the processor runs
at full speed for milliseconds at a time, and each needs to meet such a moment
(the same Lua against itself: within 2 %; with long ones 20 % and more).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dap_client import Breakpoint, DapError, Debuggee

HERE = Path(__file__).resolve().parent
NAMES = ["fib", "loop", "methods", "strings", "sort", "coroutines", "closures"]
FAILURES = (DapError, RuntimeError, OSError, subprocess.SubprocessError)
RESULT = re.compile(r"^RESULT (\S+) ([0-9.]+) (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Workload:
    """One Lua file with its marked lines."""

    name: str
    path: Path
    condition: str  # always false, over locals and constants
    lines: dict[str, int]  # elsewhere, never, hot


@dataclass(frozen=True)
class Result:
    """What one run printed."""

    seconds: float
    checksum: str


@dataclass(frozen=True)
class Config:
    """One row: how to run a workload, at what fraction of its size."""

    key: str
    label: str
    run: Callable[[Workload, float, int], Result]
    baseline: bool = False
    repetitions: int | None = None  # instead of the plan's


@dataclass(frozen=True)
class Attach:
    """What a debugger sets before the program starts."""

    mark: str | None = None  # the marked line of a breakpoint
    conditional: bool = False
    filters: tuple[str, ...] = ()

    def breakpoints(self, workload: Workload) -> list[Breakpoint]:
        """The breakpoint as it is set in this workload, if any."""
        if self.mark is None:
            return []
        condition = workload.condition if self.conditional else None
        return [Breakpoint(workload.lines[self.mark], condition)]


def load_workloads(directory: Path = HERE / "workloads") -> list[Workload]:
    """Reads the workloads, in the order of the table's columns."""
    return [_load(directory / f"{name}.lua") for name in NAMES]


def _load(path: Path) -> Workload:
    text = path.read_text()
    condition = re.search(r"^-- CONDITION: (.+)$", text, re.MULTILINE)
    if condition is None:
        raise ValueError(f"{path}: no CONDITION line")
    lines = {}
    for number, line in enumerate(text.splitlines(), 1):
        if mark := re.search(r"-- BP:(\w+)$", line):
            lines[mark[1]] = number
    if set(lines) != {"elsewhere", "never", "hot"}:
        raise ValueError(f"{path}: marks are {sorted(lines)}")
    return Workload(path.stem, path, condition[1], lines)


def parse_result(workload: Workload, output: str) -> Result:
    """Finds the RESULT line of a run."""
    match = RESULT.search(output)
    if match is None or match[1] != workload.name:
        raise RuntimeError(f"{workload.name}: no RESULT in {output[-500:]!r}")
    return Result(float(match[2]), match[3])


def run_command(prefix: list[str], workload: Workload, scale: float, repetitions: int) -> Result:
    """Runs a workload as `PREFIX… FILE SCALE REPETITIONS`."""
    command = [*prefix, str(workload.path), repr(scale), str(repetitions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return parse_result(workload, done.stdout)


def run_listening(llmspell: str, workload: Workload, scale: float, repetitions: int) -> Result:
    """Runs with the DAP port open and nobody there."""
    with Debuggee(llmspell, workload.path, [repr(scale), str(repetitions)], wait=False) as debuggee:
        return parse_result(workload, debuggee.finish())


def run_attached(
    llmspell: str, attach: Attach, workload: Workload, scale: float, repetitions: int
) -> Result:
    """Runs under our DAP client, to the end, without a single stop."""
    args = [repr(scale), str(repetitions)]
    with Debuggee(llmspell, workload.path, args) as debuggee:
        client = debuggee.connect(attach.breakpoints(workload), list(attach.filters))
        end = client.event("stopped", "terminated")
        if end.body["event"] == "stopped":
            raise DapError(f"{workload.name}, {attach}: unexpected stop {end.body}")
        _check_verified(client.breakpoints, workload, attach)
        client.leave()
        return parse_result(workload, debuggee.finish())


def _check_verified(breakpoints: dict[int, dict], workload: Workload, attach: Attach) -> None:
    """A breakpoint that was never really set would cost nothing: refuse it."""
    for breakpoint_ in breakpoints.values():
        line = breakpoint_.get("line")
        if not breakpoint_.get("verified") or line != workload.lines[attach.mark]:
            raise DapError(f"{workload.name}, {attach}: not verified in place: {breakpoint_}")


def prove_stops(llmspell: str, workload: Workload) -> None:
    """Shows that the hot line is one: it stops without a condition and with a
    true one. Otherwise a debugger that ignores breakpoints would look fastest."""
    line = workload.lines["hot"]
    for condition in (None, f"not ({workload.condition})"):
        with Debuggee(llmspell, workload.path, ["0.001", "1"]) as debuggee:
            client = debuggee.connect([Breakpoint(line, condition)], [])
            client.stopped("breakpoint")
            frames = client.request("stackTrace", {"threadId": 1, "levels": 1})["stackFrames"]
            if frames[0]["line"] != line:
                raise DapError(f"{workload.name}: stopped at {frames[0]}, not line {line}")
            client.close()


def passes(lua: list[str], workload: Workload, scale: float) -> int:
    """How often the hot line runs in one repetition."""
    command = [*lua, str(workload.path), repr(scale), "passes"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(output.split()[2])


@dataclass(frozen=True)
class Plan:
    """How much to run."""

    scale: float
    rounds: int
    repetitions: int


def interleave(
    configs: list[Config], workload: Workload, plan: Plan
) -> dict[str, float | None]:
    """Best seconds of each configuration; None where it failed (and says so).

    The order turns by one each round. Checksums must agree: they tell that all
    ran the same program at the same size.
    """
    best: dict[str, float | None] = {config.key: float("inf") for config in configs}
    checksums: dict[str, str] = {}
    for round_ in range(plan.rounds):
        turn = round_ % len(configs)
        for config in configs[turn:] + configs[:turn]:
            if best[config.key] is None:
                continue
            try:
                repetitions = config.repetitions or plan.repetitions
                result = config.run(workload, plan.scale, repetitions)
            except FAILURES as error:
                if config.baseline:
                    raise
                print(f"! {config.label}, {workload.name}: {error}", file=sys.stderr)
                best[config.key] = None
                continue
            checksums[config.key] = result.checksum
            best[config.key] = min(best[config.key], result.seconds)
    if len(set(checksums.values())) > 1:
        raise RuntimeError(f"{workload.name}: checksums differ: {checksums}")
    return best
