"""`python -m bench.profiled FILE MODULE [arguments]` runs a module, and keeps a profile of its main thread when told to stop.

It samples: every few milliseconds of processor time the stack is noted. Unlike a tracing profiler that slows what is measured by
little and alike, so that the shares are those of the program. What C code does is counted for the Python line that called it.
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

_EVERY_S = 0.001
# Processor seconds for importing and the first requests, which are not what a server does all day.
_START_S = 2.0
_SHOWN = 150
_ROOT = str(Path(__file__).resolve().parents[1]) + "/"


class Samples:
    def __init__(self) -> None:
        self.total = 0
        self.own: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()

    def take(self, _number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self.total += 1
        self.own[_name(frame)] += 1
        self.lines[f"{_file(frame)}:{frame.f_lineno}"] += 1
        seen = set()
        while frame is not None:
            seen.add(_name(frame))
            frame = frame.f_back
        self.within.update(seen)

    def report(self) -> str:
        parts = [f"{self.total} samples"]
        for title, counts in (
            ("in the function itself", self.own),
            ("with its callees", self.within),
            ("lines", self.lines),
        ):
            shares = [f"{count / self.total:7.2%}  {name}" for name, count in counts.most_common(_SHOWN)]
            parts.append("\n".join([f"-- {title}", *shares]))
        return "\n\n".join(parts) + "\n"


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename.rpartition("site-packages/")[2].removeprefix(_ROOT)


def _name(frame: FrameType) -> str:
    return f"{_file(frame)} {frame.f_code.co_qualname}"


def main() -> None:
    _, target, module, *arguments = sys.argv
    # uvicorn ends itself by the signal that stopped it, and restores this handler before.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    samples = Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.setitimer(signal.ITIMER_PROF, _START_S, _EVERY_S)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(target).write_text(samples.report(), encoding="utf-8")


if __name__ == "__main__":
    main()
