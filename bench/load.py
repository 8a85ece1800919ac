"""Driving load with wrk: one request repeated over so many connections, each answer compared with what is expected."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.harness import BenchError, program

_SCRIPT = Path(__file__).with_name("load.lua")
_ANSWER_TIMEOUT_S = 10


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent, and a piece of text that a right answer holds."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    expected: bytes


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run of the load generator. Errors are answers other than the expected one and broken connections."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    wrong: int
    broken: int
    sample: str = ""  # the first wrong answer

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds if self.seconds else 0.0

    @property
    def errors(self) -> int:
        return self.wrong + self.broken


def measure(
    port: int, request: Request, *, seconds: float, connections: int, folder: Path, per_second: float | None = None
) -> Measurement:
    """Load a port as hard as it takes, or at about a given rate, and measure."""
    files = {
        "BENCH_BODY": request.body,
        "BENCH_HEADERS": "\n".join(f"{name}: {value}" for name, value in request.headers.items()).encode(),
        "BENCH_EXPECTED": request.expected,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    result = folder / "BENCH_RESULT"
    result.unlink(missing_ok=True)
    pause_ms = connections / per_second * 1000 if per_second else 0
    environment = {name: str(folder / name) for name in (*files, "BENCH_RESULT")} | {
        "BENCH_PAUSE_MS": f"{pause_ms:.0f}"
    }
    arguments = (
        "-t1",
        f"-c{connections}",
        f"-d{seconds:.0f}s",
        "--timeout",
        f"{_ANSWER_TIMEOUT_S}s",
        "-s",
        str(_SCRIPT),
    )
    done = subprocess.run(
        (program("wrk"), *arguments, f"http://127.0.0.1:{port}{request.path}"),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    if done.returncode != 0 or not result.exists():
        raise BenchError(f"wrk failed (exit {done.returncode}): {(done.stderr or done.stdout).strip()}")
    return parse(result.read_text(encoding="utf-8", errors="replace"))


def parse(text: str) -> Measurement:
    """Read what load.lua wrote: counts and microseconds in one line, then the first wrong answer."""
    line, _, sample = text.partition("\n")
    answers, duration, p50, p99, longest, *errors, wrong = (int(word) for word in line.split())
    return Measurement(
        answers=answers,
        seconds=duration / 1e6,
        p50_ms=p50 / 1000,
        p99_ms=p99 / 1000,
        max_ms=longest / 1000,
        wrong=wrong,
        broken=sum(errors),
        sample=sample,
    )
