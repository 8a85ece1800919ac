"""Turning rounds into one table, and keeping them: the median of the rounds, because one disturbed round must not decide."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.load import Measurement

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Round:
    """One subject in one round: what the load generator saw, and the processor time that the subject used."""

    measurement: Measurement
    cpu_s: float

    @property
    def busy(self) -> float:
        """The share of its core that the subject had; well below one, something else was the limit."""
        return self.cpu_s / self.measurement.seconds

    @property
    def cpu_us_per_call(self) -> float:
        """The subject's own cost of a call, which other programs on the machine hardly change."""
        return self.cpu_s / self.measurement.answers * 1e6 if self.measurement.answers else 0.0


def ratio(of: Sequence[Round], to: Sequence[Round]) -> float:
    """The median over the rounds of one subject's speed as a share of another's in the same round."""
    pairs = zip(of, to, strict=True)
    return median(a.measurement.per_second / b.measurement.per_second for a, b in pairs if b.measurement.per_second)


def cost(of: Sequence[Round], to: Sequence[Round]) -> float:
    """One subject's processor time per call as a share of another's: what a core of each could do if nothing else limited it."""
    return median(one.cpu_us_per_call for one in of) / (median(one.cpu_us_per_call for one in to) or 1.0)


def middle(values: Iterable[float]) -> float:
    return median(values)


def table(rounds: Mapping[str, Sequence[Round]]) -> str:
    """One line per subject: medians over the rounds, the range of the speed, and the sum of the errors."""
    columns = ("calls/s", "lowest", "highest", "p50 ms", "p99 ms", "core busy", "us/call", "errors")
    lines = ["".join([f"{'':<14}", *(f"{column:>11}" for column in columns)])]
    for name, taken in rounds.items():
        measured = [one.measurement for one in taken]
        speeds = [one.per_second for one in measured]
        cells = (
            f"{median(speeds):.0f}",
            f"{min(speeds):.0f}",
            f"{max(speeds):.0f}",
            f"{median(one.p50_ms for one in measured):.2f}",
            f"{median(one.p99_ms for one in measured):.2f}",
            f"{median(one.busy for one in taken):.0%}",
            f"{median(one.cpu_us_per_call for one in taken):.1f}",
            f"{sum(one.errors for one in measured)}",
        )
        lines.append("".join([f"{name:<14}", *(f"{cell:>11}" for cell in cells)]))
    return "\n".join(lines)


def facts(values: Mapping[str, str]) -> str:
    width = max(map(len, values)) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in values.items())


def keep(benchmark: str, machine: Mapping[str, str], result: Mapping[str, Any]) -> Path:
    """Store a result as JSON under bench/results/, named by its moment."""
    moment = datetime.now(UTC)
    path = RESULTS / f"{benchmark}-{moment:%Y%m%dT%H%M%SZ}.json"
    body = {"benchmark": benchmark, "at": moment.isoformat(), "machine": dict(machine), **result}
    path.write_text(json.dumps(body, indent=1, default=_plain) + "\n", encoding="utf-8")
    return path


def _plain(value: object) -> Any:
    if isinstance(value, Round):
        return {**asdict(value.measurement), "per_second": value.measurement.per_second, "cpu_s": value.cpu_s}
    if isinstance(value, Measurement):
        return {**asdict(value), "per_second": value.per_second}
    raise TypeError(f"{type(value).__name__} is not JSON")
