"""Whether money adds up: calls through the real writer with injected kills, a close under load, one invoice, and many."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import bars
from bench.bars import Bar
from bench.harness import BenchError, Child, running, work_folder
from bench.health import run
from marketplace.supervisor.infrastructure import embedded
from marketplace.supervisor.terminal import say, step

ID_BYTES = 16
WRITERS = 2
_KILL_EVERY_S = 1.5
_PATIENCE_S = 1_800.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench billing", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, help="written while writers are killed")
    parser.add_argument("--tenants", type=int, default=1_000, help="organisations of the invoice run; 0 leaves it out")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        with step("Starting PostgreSQL and Valkey"):
            infrastructure = stack.enter_context(embedded(folder / "data", throwaway=False))
        environment = {
            **infrastructure.environment(),
            "MARKETPLACE_SECRET_KEY": secrets.token_hex(24),
            "MARKETPLACE_ENV": "development",
            "MARKETPLACE_DATA": str(folder),
        }
        with step("Migrating, and making an organisation, a server and its prices"):
            run(environment, "manage.py", "setup", "--skip-checks")
            world = json.loads(run(environment, "-m", "bench.billing_inside", "prepare").splitlines()[-1])
        with step(f"Writing {options.calls:,} calls, a writer killed every {_KILL_EVERY_S} s"):
            written = _write(folder, environment, world, options.calls)
        with step("Closing the month while two writers go on, rating it, and making its invoice"):
            found = _close(folder, environment, world)
        if options.tenants:
            with step(f"Making {options.tenants:,} organisations with calls, and the invoices of all"):
                told = run(environment, "-m", "bench.billing_inside", "many", "--tenants", str(options.tenants))
                found |= json.loads(told.splitlines()[-1])
    return _conclude(written | found)


def _write(folder: Path, environment: Mapping[str, str], world: Mapping[str, Any], calls: int) -> dict[str, Any]:
    answered, kills, number = folder / "answered", 0, 0
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        writers = []
        for number in range(WRITERS):
            writers.append(stack.enter_context(_writer(folder, environment, world, answered, number)))
        while (done := _size(answered)) < calls:
            if time.monotonic() - began > _PATIENCE_S:
                raise BenchError(f"Only {done:,} calls were written in {_PATIENCE_S:.0f} s.")
            time.sleep(_KILL_EVERY_S)
            victim = writers.pop(0)
            if victim.process.poll() is not None:
                raise BenchError(f"A writer ended by itself:\n{victim.log.read_text()[-2000:]}")
            victim.process.kill()
            victim.process.wait()
            kills, number = kills + 1, number + 1
            writers.append(stack.enter_context(_writer(folder, environment, world, answered, number)))
    seconds = time.monotonic() - began
    # What the killed ones owed is taken over by one that lives.
    run(environment, "-m", "bench.billing_writer", "--world", json.dumps(world), "--folder", str(folder), "--settle")
    return {"answered": _size(answered), "kills": kills, "written per s": _size(answered) / seconds}


def _close(folder: Path, environment: Mapping[str, str], world: Mapping[str, Any]) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        for number in range(WRITERS):
            stack.enter_context(_writer(folder, environment, world, folder / "late", number, name="late"))
        began = time.monotonic()
        while not _size(folder / "late"):
            if time.monotonic() - began > _KILL_EVERY_S * 40:
                raise BenchError("The writers beside the close do not write.")
            time.sleep(0.1)
        told = run(
            environment, "-m", "bench.billing_inside", "close", "--world", json.dumps(world), "--folder", str(folder)
        )
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


@contextlib.contextmanager
def _writer(
    folder: Path,
    environment: Mapping[str, str],
    world: Mapping[str, Any],
    answered: Path,
    number: int,
    *,
    name: str = "writer",
) -> Iterator[Child]:
    command = (sys.executable, "-m", "bench.billing_writer", "--world", json.dumps(world), "--folder", str(folder))
    told = (*command, "--answered", str(answered))
    with running(f"{name}-{number}", told, folder=folder, environment=environment) as child:
        yield child


def _size(file: Path) -> int:
    return file.stat().st_size // ID_BYTES if file.exists() else 0


def _conclude(found: Mapping[str, Any]) -> int:
    for name, value in found.items():
        say(f"{name:<58}{value:>16,.2f}" if isinstance(value, float) else f"{name:<58}{value:>16,}")
    required = [
        Bar("answered calls not in the log", float(found["answered calls that are not in the log"]), 0.0),
        Bar("calls less units on lines", float(found["billable calls less units on the lines"]), 0.0),
        Bar("calls less lines, minor units", float(found["price of the calls less the lines, minor units"]), 0.0),
        Bar("lines less ledger, minor units", float(found["lines less debits of the ledger, minor units"]), 0.0),
        Bar("calls after the close", float(found["calls that joined the month after its close"]), 0.0),
        Bar("rated", found["rated calls per s"], bars.RATED_PER_SECOND, "/s", at_least=True),
        Bar("close under load", found["close under load, s"], bars.CLOSE_S, "s"),
    ]
    if "invoice run, s" in found:
        required.append(Bar("invoice run", found["invoice run, s"], bars.INVOICE_RUN_S, "s"))
    sys.stdout.write("\n" + bars.lines(required) + "\n")
    return 0 if all(bar.is_met for bar in required) else 1
