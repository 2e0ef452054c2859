#!/usr/bin/env python3
"""What debugging with llmspell costs: one command, one table.

    cargo build --release && cargo build --release --example bare_lua
    python3 benches/overhead.py [--quick] [--peers]

Ratios are of CPU seconds against `bare_lua`, the same Lua in the same build
without any debugger; Python's standard library is all this needs. Progress and
failures go to standard error, the Markdown tables to standard output. See
README.md beside this file for what each row means.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import instructions
import latency
import measure
import peers
import report
from measure import Attach, Config, Plan
from report import RatioRow, Target

ROOT = Path(__file__).resolve().parent.parent
PARTS = ["ratios", "instructions", "latency", "peers"]
FULL, QUICK = Plan(0.03, 20, 15), Plan(0.03, 6, 8)
CONDITION_TARGET = [Target("worst", 1.0)]


@dataclass
class Tables:
    """What has been measured so far."""

    ratios: list[RatioRow] = field(default_factory=list)
    latencies: list[latency.Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def attached(llmspell: str, key: str, label: str, attach: Attach) -> Config:
    """A configuration with our DAP client attached."""
    run = functools.partial(measure.run_attached, llmspell, attach)
    return Config(key, f"attached, {label}", run)


def our_rows(llmspell: str) -> list[tuple[Config, list[Target]]]:
    """llmspell's own rows and their targets."""
    alone = functools.partial(measure.run_command, [llmspell, "run"])
    listening = functools.partial(measure.run_listening, llmspell)
    elsewhere = [Target("loop", 1.1), Target("fib", 2.6), Target("mean", 1.5)]
    dap = functools.partial(attached, llmspell)
    return [
        # Noise of 3 % is allowed here; the instruction count below is exact.
        (Config("alone", "nobody attached (`run`)", alone), [Target("mean", 1.03)]),
        (Config("listening", "nobody attached (`run --dap`)", listening), []),
        (dap("none", "no breakpoints", Attach()), []),
        (dap("elsewhere", "one breakpoint elsewhere", Attach("elsewhere")), elsewhere),
        (dap("never", "breakpoint on a line of the hot function that never runs",
             Attach("never")), [Target("worst", 6.0)]),
        (dap("condition", "false condition on the hot line",
             Attach("hot", conditional=True)), []),
        (dap("exceptions", "exception filter `all`", Attach(filters=("all",))), []),
    ]


def measure_ratios(options: argparse.Namespace, tables: Tables) -> None:
    """llmspell against the bare VM, and plain Debian Lua for orientation."""
    plan = QUICK if options.quick else FULL
    rows = our_rows(options.llmspell)
    bare = Config(
        "bare", "bare", functools.partial(measure.run_command, [options.bare]), baseline=True
    )
    plain = Config("plain", f"plain {Path(options.lua).name}, another build of Lua",
                   functools.partial(measure.run_command, [options.lua]))
    seconds, passes = {}, {}
    for workload in options.workloads:
        progress(f"ratios: {workload.name}")
        measure.prove_stops(options.llmspell, workload)
        configs = [bare, *(config for config, _ in rows), plain]
        seconds[workload.name] = measure.interleave(configs, workload, plan)
        passes[workload.name] = measure.passes([options.bare], workload, plan.scale)
    for config, targets in rows:
        tables.ratios.append(report.ratios(config.label, seconds, config.key, "bare", targets))
        if config.key == "condition":
            tables.ratios.append(report.per_pass(
                "— the same, per pass of that line", seconds, "condition", "bare", passes,
                CONDITION_TARGET,
            ))
            tables.ratios.append(report.per_pass(
                "— and over a line there that never runs", seconds, "condition", "never", passes,
            ))
    tables.ratios.append(report.ratios(plain.label, seconds, "plain", "bare"))


def measure_instructions(options: argparse.Namespace, tables: Tables) -> None:
    """Instructions of `llmspell run` against the bare VM."""
    if not instructions.available():
        tables.notes.append("instruction counts: valgrind is not installed")
        return
    ours, bare, runs = [options.llmspell, "run"], [options.bare], 3 if options.quick else 12
    values: dict[str, float | None] = {}
    for workload in options.workloads:
        progress(f"instructions: {workload.name}")
        try:
            values[workload.name] = instructions.ratio(ours, bare, workload, runs)
        except RuntimeError as error:
            progress(f"! {error}")
            values[workload.name] = None
    label = "nobody attached (`run`), instructions"
    tables.ratios.append(RatioRow(label, values, [Target("worst", 1.01)]))


def measure_latency(options: argparse.Namespace, tables: Tables) -> None:
    """What a person waits for."""
    amounts = latency.QUICK if options.quick else latency.FULL
    for row in latency.measure(options.llmspell, options.lua, amounts):
        progress(f"latency: {row.what}: {row.measured}")
        tables.latencies.append(row)


def measure_peers(options: argparse.Namespace, tables: Tables) -> None:
    """The other debuggers that are here."""
    mobdebug = peers.find_mobdebug(options.lua, options.mobdebug)
    lldebugger = peers.find_lldebugger(options.lldebugger)
    tables.notes += peers.missing(mobdebug, lldebugger)
    groups = []
    if mobdebug:
        groups += peers.mobdebug_groups(options.lua, mobdebug, options.quick)
    if lldebugger:
        groups += peers.lldebugger_groups(options.lua, lldebugger, options.quick)
    for group in groups:
        seconds, passes = {}, {}
        for workload in options.workloads:
            progress(f"peers: {group.configs[1].key}: {workload.name}")
            seconds[workload.name] = measure.interleave(group.configs, workload, group.plan)
            passes[workload.name] = measure.passes([options.lua], workload, group.plan.scale)
        for config in group.configs[1:]:
            tables.ratios.append(report.ratios(config.label, seconds, config.key, "plain"))
            if config.key.endswith("condition"):
                label = "— the same, per pass of the hot line"
                tables.ratios.append(report.per_pass(label, seconds, config.key, "plain", passes))
    if mobdebug:
        steps = 20 if options.quick else 100
        tables.latencies.append(peers.mobdebug_steps(options.lua, mobdebug, steps))


def progress(text: str) -> None:
    """Tells where we are, apart from the tables."""
    print(text, file=sys.stderr, flush=True)


def header(options: argparse.Namespace) -> str:
    """What the figures depend on."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    model = "unknown CPU"
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            model = line.partition(": ")[2]
            break
    size = "a quick look, ±5 % and more" if options.quick else "a full run"
    return f"{model}, {os.cpu_count()} CPUs, load average before {load}; {size}."


def parse_arguments() -> argparse.Namespace:
    """Reads the command line and checks that what it names is there."""
    release = ROOT / "target" / "release"
    parser = argparse.ArgumentParser(description="What debugging with llmspell costs.")
    parser.add_argument("--llmspell", default=str(release / "llmspell"), metavar="PATH")
    parser.add_argument("--bare", default=str(release / "examples" / "bare_lua"), metavar="PATH",
                        help="the same Lua without a debugger: PATH FILE ARGS…")
    parser.add_argument("--lua", default="lua5.4", metavar="PATH", help="plain Lua")
    parser.add_argument("--quick", action="store_true", help="a minute or two instead of ten")
    parser.add_argument("--peers", action="store_true", help="other debuggers as well")
    parser.add_argument("--mobdebug", metavar="FILE", help="mobdebug.lua")
    parser.add_argument("--lldebugger", metavar="FILE", help="lldebugger.lua")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated")
    parser.add_argument("--workload", choices=measure.NAMES, action="append",
                        help="may be repeated")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    options = parser.parse_args()
    options.parts = options.only or (PARTS if options.peers else PARTS[:3])
    needed = {"ratios": ["llmspell", "bare", "lua"], "instructions": ["llmspell", "bare"],
              "latency": ["llmspell", "lua"], "peers": ["lua"]}
    for name in {name for part in options.parts for name in needed[part]}:
        path = shutil.which(getattr(options, name))
        if path is None:
            parser.error(f"--{name}: {getattr(options, name)} is no program; build it first:\n"
                         "cargo build --release && cargo build --release --example bare_lua")
        setattr(options, name, path)
    names = options.workload or measure.NAMES
    options.workloads = [each for each in measure.load_workloads() if each.name in names]
    return options


def main() -> int:
    """Measures what was asked for and prints the tables."""
    options, tables = parse_arguments(), Tables()
    subjects = {"ratios": measure_ratios, "instructions": measure_instructions,
                "latency": measure_latency, "peers": measure_peers}
    heading = header(options)
    for part in options.parts:
        subjects[part](options, tables)
    print(heading)
    if tables.ratios:
        names = [workload.name for workload in options.workloads]
        print("\n" + report.ratio_table(tables.ratios, names))
    if tables.latencies:
        print("\n" + report.latency_table(tables.latencies))
    for note in tables.notes:
        print(f"\nNot measured: {note}.")
    misses = report.missed(tables.ratios, tables.latencies)
    for miss in misses:
        progress(f"missed: {miss}")
    return 1 if options.check and misses else 0


if __name__ == "__main__":
    sys.exit(main())
