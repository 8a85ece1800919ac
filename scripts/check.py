"""The static checks, two at a time: one line each with its time, output only where something is wrong."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
MANAGE = (sys.executable, "-W", "ignore:Got an error checking a consistent migration history", "manage.py")
# The slowest first, so that the others fit beside it.
CHECKS = {
    "types": (str(BIN / "mypy"),),
    "lint": (str(BIN / "ruff"), "check", "."),
    "format": (str(BIN / "ruff"), "format", "--check", "."),
    "imports": (str(BIN / "lint-imports"),),
    "migrations": (*MANAGE, "makemigrations", "--check", "--dry-run"),
    "templates": (*MANAGE, "lint_templates"),
}


@dataclass(frozen=True)
class Outcome:
    name: str
    seconds: float
    code: int
    output: str


def run(name: str) -> Outcome:
    started = time.monotonic()
    # The test settings need no secrets, and no check needs a server.
    environment = {**os.environ, "MARKETPLACE_ENV": "test"}
    done = subprocess.run(  # noqa: S603 - the commands above
        CHECKS[name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
    )
    return Outcome(name, time.monotonic() - started, done.returncode, done.stdout)


def main() -> int:
    failed = []
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for outcome in pool.map(run, CHECKS):
            good = outcome.code == 0
            print(f"{outcome.name:<12}{'ok' if good else 'FAILED':<8}{outcome.seconds:5.1f} s", flush=True)
            if not good:
                print(outcome.output, flush=True)
                failed.append(outcome.name)
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
