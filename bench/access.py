"""How long the policy takes: a decision, an entry with many grants, and a revocation until gateways know of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
from collections.abc import Sequence

from bench import bars
from bench.bars import Bar
from bench.harness import claim_cores, work_folder
from bench.health import run
from marketplace.supervisor.infrastructure import embedded
from marketplace.supervisor.terminal import say, step


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench access", description=__doc__)
    parser.add_argument("--grants", type=int, default=10_000, help="of the organisation whose entry is compiled")
    options = parser.parse_args(arguments)
    claim_cores()
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
        with step("Migrating"):
            run(environment, "manage.py", "setup", "--skip-checks")
        with step(f"Deciding, then compiling and publishing {options.grants:,} grants"):
            told = run(environment, "-m", "bench.access_inside", "--grants", str(options.grants))
    return _conclude(json.loads(told.splitlines()[-1]))


def _conclude(found: dict[str, float]) -> int:
    for name, value in found.items():
        say(f"{name:<64}{value:>12,.1f}")
    slowest = max(value for name, value in found.items() if name.startswith("decision"))
    checked = [
        Bar("policy decision, 100 grants, 500 tools", slowest, bars.DECISION_US, "us"),
        Bar(
            "grant revoked, gateway knows",
            found["revocation until a gateway knows, ms, worst"],
            bars.REVOCATION_MS,
            "ms",
        ),
    ]
    sys.stdout.write("\n" + bars.lines(checked) + "\n")
    return 0
