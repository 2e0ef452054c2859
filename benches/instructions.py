"""Instruction counts by callgrind: the noise-free half of "costs nothing".

Start-up is taken out by counting at two sizes and comparing the differences.
Lua seeds its hashes from the clock and from addresses, so a program whose keys
collide needs more instructions in one run than in the next: the least of
several runs is compared. `perf stat` would do as well, but virtual machines
rarely have its counters.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from measure import Workload

SMALL, LARGE = 0.003, 0.02
COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")


def available() -> bool:
    """Whether callgrind is installed."""
    return shutil.which("valgrind") is not None


def ratio(subject: list[str], baseline: list[str], workload: Workload, runs: int) -> float:
    """Instructions of the workload itself under `subject`, per one under `baseline`."""
    # Counting needs no quiet machine: use all of it.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = {
            (side, size): [
                pool.submit(_count, prefix, workload, size) for _ in range(runs)
            ]
            for side, prefix in (("subject", subject), ("baseline", baseline))
            for size in (SMALL, LARGE)
        }
        least = {key: min(count.result() for count in each) for key, each in counts.items()}

    def marginal(side: str) -> int:
        return least[side, LARGE] - least[side, SMALL]

    return marginal("subject") / marginal("baseline")


def _count(prefix: list[str], workload: Workload, scale: float) -> int:
    """Instructions of a whole run of one repetition."""
    command = [
        "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
        *prefix, str(workload.path), repr(scale), "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = COLLECTED.search(done.stderr)
    if done.returncode != 0 or match is None:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return int(match[1])
