"""`python -m bench.profiled FILE MODULE [arguments]` runs a module under cProfile and keeps the profile when it is told to stop.

Plain `python -m cProfile` would lose it: uvicorn ends itself by the signal that stopped it.
"""

from __future__ import annotations

import cProfile
import runpy
import signal
import sys


def main() -> None:
    _, target, module, *arguments = sys.argv
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    sys.argv = [module, *arguments]
    profile = cProfile.Profile()
    profile.enable()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        profile.disable()
        profile.dump_stats(target)


if __name__ == "__main__":
    main()
