"""Runs the experiments and prints one table; exit 0 when every promise held. See `--help`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from marketplace.supervisor.terminal import say
from tests.faultlab import promises
from tests.faultlab.faults import EXPERIMENTS, Experiment, MissedError, NotPossibleError
from tests.faultlab.lab import RATE, TENANTS, Lab, running_lab

PROMISES = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8"]


@dataclass
class Result:
    experiment: Experiment
    words: str
    broken: dict[str, str]
    skipped: bool = False

    @property
    def is_good(self) -> bool:
        return not self.broken


async def run_one(lab: Lab, experiment: Experiment) -> Result:
    lab.begin()
    broken: dict[str, str] = {}
    try:
        words = await experiment.run(lab)
    except NotPossibleError as reason:
        return Result(experiment, f"not possible here: {reason}", {}, skipped=True)
    except MissedError as missed:
        words = str(missed)
        broken["line"] = words
    finally:
        lab.heal()
    verdict = await promises.check(lab)
    return Result(experiment, words, {**broken, **verdict.broken})


async def run(numbers: list[str], tenants: int, rate: float) -> list[Result]:
    results = []
    async with running_lab(tenants=tenants, rate=rate) as lab:
        await lab.warm()
        for number in numbers:
            began = time.monotonic()
            result = await run_one(lab, EXPERIMENTS[number])
            results.append(result)
            mark = "skip" if result.skipped else "ok" if result.is_good else "FAIL"
            say(f"{number}  {mark:4}  {time.monotonic() - began:4.0f} s  {result.experiment.words}: {result.words}")
            for name, words in result.broken.items():
                say(f"           {name}: {words}")
            if not result.is_good:
                # The next fault begins with whole processes, whatever this one left.
                for gateway in lab.gateways:
                    await gateway.restart()
                await lab.wait_ready()
    return results


def table(results: list[Result]) -> str:
    lines = [f"{'fault':6} {'line':5} " + " ".join(PROMISES)]
    for result in results:
        if result.skipped:
            lines.append(f"{result.experiment.number:6} -     " + " ".join("- " for _ in PROMISES))
            continue
        marks = ["NO" if name in result.broken else "ok" for name in PROMISES]
        lines.append(f"{result.experiment.number:6} {'NO' if 'line' in result.broken else 'ok':5} " + " ".join(marks))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/faultlab", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="F01", help="which faults; all by default")
    parser.add_argument("--tenants", type=int, default=TENANTS, help="organisations that call")
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second")
    options = parser.parse_args()
    numbers = [number.upper() for number in options.faults] or list(EXPERIMENTS)
    unknown = set(numbers) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}")
    _offer_faketime(numbers)
    results = asyncio.run(run(numbers, options.tenants, options.rate))
    say("")
    say(table(results))
    return 0 if all(result.is_good for result in results) else 1


def _offer_faketime(numbers: list[str]) -> None:
    """One experiment needs a program of the system; without it that experiment says so."""
    if "F16" in numbers and shutil.which("faketime") is None and shutil.which("apt-get") is not None:
        subprocess.run(
            ("apt-get", "-qq", "install", "--no-install-recommends", "-y", "faketime"), capture_output=True, check=False
        )


if __name__ == "__main__":
    sys.exit(main())
