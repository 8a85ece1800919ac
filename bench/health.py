"""How long a round of health checks takes on one worker: mixed servers, and the worst case, in which every server hangs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench import bars
from bench.bars import Bar
from bench.harness import ROOT, BenchError, claim_cores, raise_file_limit, running, work_folder
from marketplace.supervisor.infrastructure import embedded
from marketplace.supervisor.terminal import say, step

INTERVAL_S = 300.0
# Addresses that are well, hang, reset, lie. The worst case takes so many that hang that four checks at each fill all places.
PORTS = (44, 26, 2, 2)
HANGING_IN_MIX = 2


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    raise_file_limit(4096)
    cores = claim_cores()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        with step("Starting PostgreSQL and Valkey"):
            infrastructure = stack.enter_context(embedded(folder / "data", throwaway=False))
        command = (sys.executable, "-m", "bench.health_servers", *map(str, PORTS))
        servers = stack.enter_context(running("servers", command, folder=folder, core=cores.others))
        servers.wait_until(lambda: servers.log.stat().st_size > 0)
        ports: dict[str, list[int]] = json.loads(servers.log.read_text(encoding="utf-8").splitlines()[0])
        environment = {
            **infrastructure.environment(),
            "MARKETPLACE_SECRET_KEY": secrets.token_hex(24),
            "MARKETPLACE_ENV": "development",
            "MARKETPLACE_DATA": str(folder),
            "MARKETPLACE_EGRESS_ALLOW": ",".join(f"127.0.0.1:{port}" for each in ports.values() for port in each),
        }
        with step("Migrating"):
            run(environment, "manage.py", "setup", "--skip-checks")
        # The mix has few hanging ones; the worst case uses them all.
        mixed = {**ports, "hang": ports["hang"][:HANGING_IN_MIX]}
        with step(f"Listing {options.servers} servers, then {options.rounds} rounds and one in which all hang"):
            command = ("-m", "bench.health_round", "--ports", json.dumps(mixed), "--servers", str(options.servers))
            told = run(environment, *command, "--rounds", str(options.rounds), "--hanging", json.dumps(ports["hang"]))
    return _conclude([json.loads(line) for line in told.splitlines() if line.startswith("{")])


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench health", description=__doc__)
    parser.add_argument("--servers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=2, help="rounds over mixed servers")
    return parser.parse_args(arguments)


def run(environment: Mapping[str, str], *command: str) -> str:
    done = subprocess.run(
        (sys.executable, *command),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command[:2])} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def _conclude(rounds: Sequence[dict[str, Any]]) -> int:
    *mixed, hanging = rounds
    say(f"\n{'round':<14}{'seconds':>9}{'cpu s':>8}{'MB':>7}{'asked':>7}{'ready':>7}{'down':>6}{'unknown':>9}")
    for name, each in [*((f"mixed {number}", one) for number, one in enumerate(mixed, 1)), ("all hang", hanging)]:
        say(
            f"{name:<14}{each['seconds']:>9.1f}{each['cpu_s']:>8.1f}{each['rss_mb']:>7.0f}{each['checked']:>7}"
            f"{each['ready']:>7}{each['down']:>6}{each['unknown']:>9}"
        )
    required = [Bar("slowest mixed round", max(each["seconds"] for each in mixed), INTERVAL_S, "s")] if mixed else []
    required += [
        Bar("round in which all hang", hanging["seconds"], INTERVAL_S, "s"),
        Bar("servers that were not reached", float(max(each["due"] - each["checked"] for each in rounds)), 0.0),
    ]
    say("\n" + bars.lines(required))
    return 0 if all(bar.is_met for bar in required) else 1
