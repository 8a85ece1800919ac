"""The gateway's full path against nginx as a plain reverse proxy and against a direct call, in one run.

Full path: API key checked, policy decided, call forwarded, `Call` row committed durably, then answered. All three subjects
lead to the same upstream with the same request over the same number of connections; gateway and proxy have one process on one
core; upstream, load, database and broker share another. Rounds take turns, so that a slow minute of the machine hits all alike.
Every answer is compared with the expected one, and afterwards the rows are counted: answered implies recorded.

The upstream echoes: an ASGI application under uvicorn, which is what most Python MCP servers are at their bottom. It shares its
core with the load, and that core, not its own, is then the limit of nginx: see "core busy". With `--upstream raw` (a bare socket
server) or `constant` (an nginx that reads nothing) the proxy gets closer to its own limit. "us/call" hardly depends on any of it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from bench import load, machine, report, subjects
from bench.harness import ROOT, BenchError, claim_cores, need_programs, work_folder
from bench.load import Measurement
from bench.report import Round
from bench.subjects import Subject, World
from marketplace.supervisor.infrastructure import embedded
from marketplace.supervisor.terminal import say, step

RATIO_BAR = 0.20
RATIO_AIM = 0.30
ADDED_BAR_MS = {"p50": 1.5, "p99": 8.0}
PACED_PER_SECOND = 500


@dataclass(frozen=True)
class Rows:
    """The call log after the run, next to what the load generator was answered."""

    recorded: int
    recorded_ok: int
    billed: int
    answers: int
    runs: int
    connections: int

    @property
    def problem(self) -> str:
        """Why the log and the answers disagree; empty when they agree.

        When a run ends, calls in flight are recorded and their answers are not counted any more: at most one per connection.
        """
        in_flight = self.runs * self.connections
        if self.recorded_ok < self.answers:
            return f"{self.answers - self.recorded_ok} answered calls have no row"
        if self.recorded > self.answers + in_flight:
            return f"{self.recorded - self.answers} more rows than answers, {in_flight} can have been in flight"
        if self.billed != self.recorded_ok:
            return f"{self.recorded_ok} calls succeeded and {self.billed} are billed"
        return ""


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    need_programs("nginx", "wrk")
    cores = claim_cores()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        with step("Starting PostgreSQL and Valkey, durable"):
            data = folder / "data"
            infrastructure = stack.enter_context(embedded(data, throwaway=False))
        facts = machine.describe(cores, infrastructure.database_url, data)
        compared, world = subjects.start(stack, folder, cores, infrastructure, options)
        rounds, warm = _measure(compared, folder, options)
        paced = {} if options.no_latency else _pace(compared, folder, options)
        memory_mb = compared[-1].child.rss_mb()
        rows = _count(world, rounds["gateway"], [warm["gateway"], *([paced["gateway"]] if paced else [])], options)
    return _conclude(options, facts, rounds, paced, rows, memory_mb)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench gateway", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds: is it alive, and about how fast")
    parser.add_argument("--rounds", type=int, help="rounds of all three subjects (default 5)")
    parser.add_argument("--seconds", type=float, help="length of each measurement (default 8)")
    parser.add_argument("--connections", type=int, default=32, help="concurrent connections (default %(default)s)")
    parser.add_argument(
        "--interface", choices=("mcp", "invoke"), default="mcp", help="POST /mcp/<server> or /v1/invoke"
    )
    parser.add_argument(
        "--upstream", choices=subjects.UPSTREAMS, default="asgi", help="the server behind (default asgi)"
    )
    parser.add_argument("--no-latency", action="store_true", help=f"skip the part at {PACED_PER_SECOND} calls/s")
    parser.add_argument("--require", type=float, metavar="RATIO", help="fail below this share of nginx")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="sample the gateway's stacks into a text file")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (3.0 if options.quick else 8.0)
    return options


def _measure(
    compared: Sequence[Subject], folder: Path, options: argparse.Namespace
) -> tuple[dict[str, list[Round]], dict[str, Measurement]]:
    """Warm every subject, then let them take turns."""
    with step("Warming up"):
        warm = {
            subject.name: _load(subject, folder, options, seconds=max(2.0, options.seconds / 4)) for subject in compared
        }
    rounds: dict[str, list[Round]] = {subject.name: [] for subject in compared}
    for number in range(1, options.rounds + 1):
        with step(f"Round {number} of {options.rounds}"):
            for subject in compared:
                rounds[subject.name].append(_round(subject, folder, options))
    return rounds, warm


def _round(subject: Subject, folder: Path, options: argparse.Namespace) -> Round:
    before = subject.child.cpu_s()
    measurement = _load(subject, folder, options, seconds=options.seconds)
    return Round(measurement, cpu_s=subject.child.cpu_s() - before)


def _pace(compared: Sequence[Subject], folder: Path, options: argparse.Namespace) -> dict[str, Measurement]:
    """Every subject at the same moderate rate: what a caller waits when nothing is overloaded."""
    with step(f"Latency at {PACED_PER_SECOND} calls/s"):
        return {
            subject.name: _load(subject, folder, options, seconds=options.seconds, per_second=PACED_PER_SECOND)
            for subject in compared
        }


def _load(
    subject: Subject,
    folder: Path,
    options: argparse.Namespace,
    *,
    seconds: float,
    per_second: float | None = None,
) -> Measurement:
    measurement = load.measure(
        subject.port,
        subject.request,
        seconds=seconds,
        connections=options.connections,
        folder=folder,
        per_second=per_second,
    )
    if subject.child.process.poll() is not None:
        raise BenchError(f"{subject.name} ended under load. Its last words:\n{subject.child.tail()}")
    return replace(measurement, sample=measurement.sample[:500])


def _count(world: World, rounds: Sequence[Round], others: Sequence[Measurement], options: argparse.Namespace) -> Rows:
    """Count the rows that the run left. The single question before the run is an answer too."""
    measurements = [one.measurement for one in rounds] + list(others)
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE outcome = 'ok'), count(*) FILTER (WHERE billable AND price > 0) FROM {}"
    ).format(sql.Identifier(world.schema, "calls_call"))
    with psycopg.connect(world.infrastructure.database_url) as connection:
        found = connection.execute(query).fetchone()
    assert found is not None
    recorded, recorded_ok, billed = found
    singles = 1
    return Rows(
        recorded=recorded,
        recorded_ok=recorded_ok,
        billed=billed,
        answers=sum(one.answers - one.wrong for one in measurements) + singles,
        runs=len(measurements),
        connections=options.connections,
    )


def _conclude(
    options: argparse.Namespace,
    facts: Mapping[str, str],
    rounds: Mapping[str, Sequence[Round]],
    paced: Mapping[str, Measurement],
    rows: Rows,
    memory_mb: float,
) -> int:
    to_nginx = report.ratio(rounds["gateway"], rounds["nginx"])
    to_direct = report.ratio(rounds["gateway"], rounds["direct"])
    added = _added(paced)
    samples = [one.measurement.sample for taken in rounds.values() for one in taken if one.measurement.sample]
    errors = sum(one.measurement.errors for taken in rounds.values() for one in taken)
    errors += sum(measurement.errors for measurement in paced.values())
    path = report.keep(
        "gateway",
        facts,
        {
            "interface": options.interface,
            "upstream": options.upstream,
            "connections": options.connections,
            "ratio_to_nginx": to_nginx,
            "ratio_to_direct": to_direct,
            "processor_time_nginx_to_gateway": report.cost(rounds["nginx"], rounds["gateway"]),
            "added_ms": added,
            "errors": errors,
            "gateway_memory_mb": memory_mb,
            "rows": vars(rows),
            "rounds": rounds,
            "paced": paced,
        },
    )
    say(
        f"\n{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s, "
        f"interface {options.interface}, upstream {options.upstream}\n"
    )
    say(report.table(rounds))
    say(f"\ngateway / nginx   {to_nginx:.3f}   (bar {RATIO_BAR:.2f}, aim {RATIO_AIM:.2f})")
    say(f"gateway / direct  {to_direct:.3f}")
    say(f"processor time    {report.cost(rounds['nginx'], rounds['gateway']):.3f}   (nginx / gateway, per call)")
    for name, value in added.items():
        say(f"added {name} at {PACED_PER_SECOND} calls/s  {value:+.2f} ms   (bar {ADDED_BAR_MS[name]:g} ms)")
    say(
        f"rows              {rows.recorded} recorded, {rows.answers} answered, {rows.billed} billed: {rows.problem or 'agree'}"
    )
    say(f"gateway memory    {memory_mb:.0f} MB\n")
    say(report.facts(facts))
    say(f"\nKept in {path.relative_to(ROOT)}")
    return _verdict(options, to_nginx, errors, samples, rows)


def _added(paced: Mapping[str, Measurement]) -> dict[str, float]:
    """Milliseconds that the gateway adds to a direct call at the moderate rate."""
    if not paced:
        return {}
    gateway, direct = paced["gateway"], paced["direct"]
    return {"p50": gateway.p50_ms - direct.p50_ms, "p99": gateway.p99_ms - direct.p99_ms}


def _verdict(options: argparse.Namespace, to_nginx: float, errors: int, samples: Sequence[str], rows: Rows) -> int:
    """The exit code: errors or a disagreeing log always fail, the ratio only when asked."""
    problems = [f"{errors} errors" + (f", the first: {samples[0]}" if samples else "")] if errors else []
    if rows.problem:
        problems.append(rows.problem)
    if options.require is not None and to_nginx < options.require:
        problems.append(f"the ratio {to_nginx:.3f} is below {options.require:g}")
    for problem in problems:
        sys.stderr.write(f"FAILED: {problem}\n")
    return 1 if problems else 0
