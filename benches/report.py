"""Turns seconds into ratios, and both into Markdown tables with verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from latency import Row as LatencyRow

MARK = {True: " ✓", False: " ✗", None: ""}


@dataclass(frozen=True)
class Target:
    """A promise about a row: the value of `column` is at most `limit`."""

    column: str  # a workload, "mean" or "worst"
    limit: float


@dataclass
class RatioRow:
    """One row of the big table: a value per workload, None where it failed."""

    label: str
    values: dict[str, float | None]
    targets: list[Target] = field(default_factory=list)
    unit: str = ""  # empty for ratios

    def mean(self) -> float | None:
        """The geometric mean, or None if a value is missing."""
        values = list(self.values.values())
        if not values or any(value is None or value <= 0 for value in values):
            return None
        return math.exp(sum(map(math.log, values)) / len(values))

    def verdicts(self) -> list[tuple[Target, bool]]:
        """Each target, and whether it is met; what was not measured is not."""
        return [(target, self._meets(target)) for target in self.targets]

    def _meets(self, target: Target) -> bool:
        if target.column == "mean":
            value = self.mean()
        elif target.column == "worst":
            values = list(self.values.values())
            value = None if None in values else max(values, default=None)
        else:
            value = self.values.get(target.column)
        return value is not None and round(value, 3) <= target.limit


def ratios(
    label: str, seconds: dict[str, dict[str, float | None]], key: str, base: str,
    targets: Iterable[Target] = (),
) -> RatioRow:
    """The row of `key` over `base`; `seconds` is by workload, then configuration."""
    values = {
        name: None if best[key] is None else best[key] / best[base]
        for name, best in seconds.items()
    }
    return RatioRow(label, values, list(targets))


def per_pass(
    label: str, seconds: dict[str, dict[str, float | None]], key: str, base: str,
    passes: dict[str, int], targets: Iterable[Target] = (),
) -> RatioRow:
    """Microseconds that `key` takes over `base` each time the hot line runs."""
    values = {
        name: None if best[key] is None else (best[key] - best[base]) / passes[name] * 1e6
        for name, best in seconds.items()
    }
    return RatioRow(label, values, list(targets), unit="µs")


def ratio_table(rows: list[RatioRow], names: list[str]) -> str:
    """The big table."""
    lines = [
        f"| ratio to the same Lua without debugging | {' | '.join(names)} | geo. mean | target |",
        f"| --- |{' ---: |' * (len(names) + 1)} --- |",
    ]
    for row in rows:
        cells = [_cell(row.values.get(name), row.unit) for name in names]
        mean = _cell(row.mean(), row.unit) if not row.unit else ""
        targets = ", ".join(
            f"{target.column} ≤ {target.limit:g}{MARK[met]}" for target, met in row.verdicts()
        )
        lines.append(f"| {row.label} | {' | '.join(cells)} | {mean} | {targets} |")
    return "\n".join(lines)


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    digits = 3 if unit else 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}" + (f" {unit}" if unit else "")


def latency_table(rows: list[LatencyRow]) -> str:
    """The small table."""
    lines = ["| what | measured | target |", "| --- | --- | --- |"]
    lines += [f"| {row.what} | {row.measured} | {row.target}{MARK[row.met]} |" for row in rows]
    return "\n".join(lines)


def missed(ratio_rows: list[RatioRow], latency_rows: list[LatencyRow]) -> list[str]:
    """The targets that were not met."""
    ratio_misses = [
        f"{row.label}: {target.column} ≤ {target.limit:g}"
        for row in ratio_rows
        for target, met in row.verdicts()
        if not met
    ]
    return ratio_misses + [f"{row.what}: {row.target}" for row in latency_rows if row.met is False]
