"""The gateway's full path against nginx as a plain reverse proxy and against a direct call, in one run.

Full path: API key checked, policy decided, limits asked, intent kept, call forwarded with a token signed by the marketplace,
`Call` row with its price committed durably, then answered. All three subjects lead to the same upstream with the same request
over the same number of connections; gateway and proxy have one process on one core; upstream, load, database and broker share
another. Rounds take turns, so that a slow minute of the machine hits all alike. Every answer is compared with the expected one,
and afterwards the rows are counted: answered implies recorded.

The upstream echoes: an ASGI application under uvicorn, which is what most Python MCP servers are at their bottom. It shares its
core with the load, and that core, not its own, is then the limit of nginx: see "core busy". With `--upstream raw` (a bare socket
server) or `constant` (an nginx that reads nothing) the proxy gets closer to its own limit. "us/call" hardly depends on any of it.

More parts on demand: other gateways in the place of ours, open streams, two processes, a long run at a steady rate.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import bars, checks, load, machine, report, rivals, steady, streams, subjects
from bench.bars import Bar
from bench.checks import Rows
from bench.harness import ROOT, BenchError, Child, claim_cores, need_programs, raise_file_limit, work_folder
from bench.load import Measurement
from bench.report import Round
from bench.rivals import RIVALS, NotInstalledError
from bench.rivals.place import START_WITHIN_S, Started
from bench.streams import Streams
from bench.subjects import Subject, World
from core import compiled
from marketplace.supervisor import compiling
from marketplace.supervisor.errors import StartError
from marketplace.supervisor.infrastructure import embedded
from marketplace.supervisor.terminal import say, step

PACED_PER_SECOND = 500
SOAK_PER_SECOND = 1500
# They are slow enough for 32 connections to wait for seconds.
RIVAL_SECONDS, RIVAL_WARM_SECONDS = 10.0, 4.0
PARTS_ON = (
    "API key, policy (a grant to the key's agent), rates of key and organisation, quota, spending cap, durable intent, "
    "signed token to the server, priced and billed row"
)


@dataclass(frozen=True)
class Soak:
    """A long run at a steady rate, and the gateway's memory at its first tenth, its middle, and its last tenth."""

    measurement: Measurement
    memory_mb: tuple[float, float, float]

    @property
    def growth(self) -> float:
        return self.memory_mb[2] / self.memory_mb[0] - 1


@dataclass
class Run:
    """Everything that was measured; parts that were not asked for stay empty."""

    options: argparse.Namespace
    facts: Mapping[str, str] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    paced: dict[str, Measurement] = field(default_factory=dict)
    processes: dict[str, list[Round]] = field(default_factory=dict)
    rivals: dict[str, Round | str] = field(default_factory=dict)  # or why there is none
    soak: Soak | None = None
    streams: Streams | None = None
    memory_mb: float = 0.0
    rows: Rows | None = None
    # Every measurement through a gateway of ours with the number of its connections: each answer must have its row.
    ours: list[tuple[Measurement, int]] = field(default_factory=list)

    def add(self, measurement: Measurement, connections: int) -> Measurement:
        self.ours.append((measurement, connections))
        return measurement


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    need_programs("nginx", "wrk")
    raise_file_limit(4 * options.streams + 1024)
    cores = claim_cores()
    run = Run(options)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        with step("Starting PostgreSQL and Valkey, durable"):
            data = folder / "data"
            infrastructure = stack.enter_context(embedded(data, throwaway=False))
        run.facts = machine.describe(cores, infrastructure.database_url, data)
        note = _prepare(options)
        compared, world = subjects.start(stack, folder, cores, infrastructure, options)
        run.facts = {**run.facts, "gateway": subjects.build_of(compared[-1].port) + note}
        singles = 1  # the one that showed that the gateway answers
        singles += _see_token(world, compared[-1], options)
        _measure(run, compared, folder)
        if options.minutes:
            _soak(run, compared[-1])
        if options.streams:
            _hold_streams(run, compared[-1])
        if options.processes > 1:
            _share(run, world, compared[-1])
        if options.rivals is not None:
            _compare_rivals(run, world, compared)
        singles += _see_token(world, compared[-1], options)
        run.memory_mb = compared[-1].child.rss_mb()
        run.rows = _count(run, world, singles)
    return _conclude(run)


def _prepare(options: argparse.Namespace) -> str:
    """Make the compiled modules where that is possible and wanted; why not, for the report."""
    if options.interpreted:
        os.environ[compiled.SETTING] = "off"
        return ", as asked"
    try:
        compiling.ensure()
    except StartError as error:
        return f": {str(error).splitlines()[0]}"
    os.environ[compiled.SETTING] = "auto"
    return ""


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench gateway", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds: is it alive, and about how fast")
    parser.add_argument("--rounds", type=int, help="rounds of all three subjects (default 5; 0: only the parts below)")
    parser.add_argument("--seconds", type=float, help="length of each measurement (default 8)")
    parser.add_argument("--connections", type=int, default=32, help="concurrent connections (default %(default)s)")
    parser.add_argument(
        "--interface", choices=("mcp", "invoke"), default="mcp", help="POST /mcp/<server> or /v1/invoke"
    )
    parser.add_argument(
        "--upstream", choices=subjects.UPSTREAMS, default="asgi", help="the server behind (default asgi)"
    )
    parser.add_argument("--interpreted", action="store_true", help="measure the gateway without compiled modules")
    parser.add_argument("--no-latency", action="store_true", help=f"skip the part at {PACED_PER_SECOND} calls/s")
    parser.add_argument("--minutes", type=float, default=0, help="a steady run of this length: errors, memory, rows")
    parser.add_argument(
        "--rate", type=float, default=SOAK_PER_SECOND, help="its calls per second (default %(default)s)"
    )
    parser.add_argument(
        "--streams", type=int, default=0, metavar="N", help="hold N event streams open, and call meanwhile"
    )
    parser.add_argument(
        "--processes", type=int, default=1, choices=(1, 2), help="2: also two gateway processes on one port"
    )
    parser.add_argument(
        "--rivals",
        nargs="*",
        choices=list(RIVALS),
        metavar="NAME",
        help=f"other gateways in the place of ours, by default all: {', '.join(RIVALS)}",
    )
    parser.add_argument("--require", type=float, metavar="RATIO", help="fail below this share of nginx")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="sample the gateway's stacks into a text file")
    parser.add_argument("--keep", action="store_true", help="keep the result under bench/results/")
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = 2 if options.quick else 5
    options.seconds = options.seconds or (3.0 if options.quick else 8.0)
    if options.streams and options.upstream != "asgi":
        parser.error("streams need the upstream asgi")
    return options


def _see_token(world: World, gateway: Subject, options: argparse.Namespace) -> int:
    """Sample what the server is told of the caller; how many calls that took. The constant upstream can show nothing."""
    if options.upstream == "constant":
        return 0
    subjects.show_token(world, gateway.port)
    return 1


def _measure(run: Run, compared: Sequence[Subject], folder: Path) -> None:
    """Warm every subject, then let them take turns; at last all at the same moderate rate."""
    options = run.options
    if not options.rounds:
        return
    with step("Warming up"):
        for subject in compared:
            warm = _load(subject, folder, options, seconds=max(2.0, options.seconds / 4))
            if subject.name == "gateway":
                run.add(warm, options.connections)
    _take_turns(run, run.rounds, compared, folder)
    if options.no_latency:
        return
    with step(f"Latency at {PACED_PER_SECOND} calls/s"):
        for subject in compared:
            run.paced[subject.name] = _load(
                subject, folder, options, seconds=options.seconds, per_second=PACED_PER_SECOND
            )
    run.add(run.paced["gateway"], options.connections)


def _take_turns(run: Run, rounds: dict[str, list[Round]], compared: Sequence[Subject], folder: Path) -> None:
    options = run.options
    for number in range(1, (options.rounds or 2) + 1):
        with step(f"Round {number} of {options.rounds or 2}"):
            for subject in compared:
                taken = measured_round(subject, folder, options)
                rounds.setdefault(subject.name, []).append(taken)
                if "gateway" in subject.name:
                    run.add(taken.measurement, options.connections)


def measured_round(subject: Subject, folder: Path, options: argparse.Namespace) -> Round:
    before = [child.cpu_s() for child in subject.children]
    measurement = _load(subject, folder, options, seconds=options.seconds)
    spent = [child.cpu_s() - at for child, at in zip(subject.children, before, strict=True)]
    return Round(measurement, cpu_s=sum(spent))


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
    _require_alive(subject)
    return replace(measurement, sample=measurement.sample[:500])


def _require_alive(subject: Subject) -> None:
    for child in subject.children:
        if child.process.poll() is not None:
            raise BenchError(f"{child.name} ended under load. Its last words:\n{child.tail()}")


def _soak(run: Run, gateway: Subject) -> None:
    """Many minutes at a rate that it bears easily: nothing fails, and nothing grows."""
    options = run.options
    memory: list[tuple[float, float]] = []
    with step(f"{options.minutes:g} minutes at {options.rate:g} calls/s"):
        measurement = steady.measure(
            gateway.port,
            gateway.request,
            seconds=options.minutes * 60,
            per_second=options.rate,
            watch=lambda share: memory.append((share, gateway.child.rss_mb())),
        )
    _require_alive(gateway)

    def at(share: float) -> float:
        return min(memory, key=lambda one: abs(one[0] - share))[1] if memory else 0.0

    run.soak = Soak(run.add(measurement, steady.MAX_CONNECTIONS), (at(0.1), at(0.5), at(0.9)))


def _hold_streams(run: Run, gateway: Subject) -> None:
    with step(f"{run.options.streams} open streams, and calls beside them"):
        run.streams = streams.measure(gateway.port, gateway.request, run.options.streams, gateway.child.rss_mb)
    _require_alive(gateway)
    run.add(run.streams.calls, steady.MAX_CONNECTIONS)


def _share(run: Run, world: World, gateway: Subject) -> None:
    """Two processes behind one port against one, under the same load.

    On two cores the second process shares its core with load, server, database and broker: compare the cost per call.
    """
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(subjects.shared_port())
        children: list[Child] = []
        with step("Starting two gateway processes on one port"):
            for name, core in (("first", world.cores.subject), ("second", world.cores.others)):
                _, child = stack.enter_context(subjects.gateway_process(world, name, core=core, port=port))
                child.wait_until(partial(subjects.is_ready, port))
                children.append(child)
        pair = Subject("2 gateways", port, children[0], gateway.request, also=(children[1],))
        with step("Warming up"):
            run.add(_load(pair, world.folder, run.options, seconds=2.0), run.options.connections)
        _take_turns(run, run.processes, [gateway, pair], world.folder)


def _compare_rivals(run: Run, world: World, compared: Sequence[Subject]) -> None:
    """Other gateways, one after the other, between a round of nginx and one of ours in the same minutes."""
    for name in ("nginx", "gateway"):
        subject = next(each for each in compared if each.name == name)
        taken = measured_round(subject, world.folder, run.options)
        run.rivals[name] = taken
        if name == "gateway":
            run.add(taken.measurement, run.options.connections)
    for name in run.options.rivals or RIVALS:
        rival = RIVALS[name]
        try:
            with (
                step(f"{rival.title.strip()}: {rival.settings}"),
                rivals.starting(
                    rival, folder=world.folder, core=world.cores.subject, upstream_port=world.upstream_port
                ) as started,
            ):
                run.rivals[rival.title] = _rival_round(rival.title, started, world, run.options)
        except (NotInstalledError, BenchError) as error:
            first, *others = str(error).splitlines()
            run.rivals[rival.title] = f"{first} {others[-1].strip() if others else ''}"


def _rival_round(title: str, started: Started, world: World, options: argparse.Namespace) -> Round:
    subject = Subject(title, started.port, started.child, started.request)
    # While they start, some refuse what they will serve.
    started.child.wait_until(partial(subjects.answers, subject, strict=False), deadline_s=START_WITHIN_S)
    patient = argparse.Namespace(**{**vars(options), "seconds": max(RIVAL_SECONDS, options.seconds)})
    _load(subject, world.folder, patient, seconds=RIVAL_WARM_SECONDS)
    return measured_round(subject, world.folder, patient)


def _count(run: Run, world: World, singles: int) -> Rows:
    """Count the rows that the run left. The single questions beside the load are answers too."""
    return checks.count(
        world.infrastructure.database_url,
        world.schema,
        answers=sum(one.answers - one.wrong for one, _ in run.ours) + singles,
        in_flight=sum(connections for _, connections in run.ours),
    )


def _conclude(run: Run) -> int:
    options, rows = run.options, run.rows
    assert rows is not None
    required = _bars(run)
    say(
        f"\n{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s, "
        f"interface {options.interface}, upstream {options.upstream}\non: {PARTS_ON}\n"
    )
    if run.rounds:
        say(report.table(run.rounds) + "\n")
        direct, cost = report.ratio(run.rounds["gateway"], run.rounds["direct"]), _cost(run)
        say(f"gateway / direct {direct:.3f}, processor time of nginx / gateway per call {cost:.3f}\n")
    for part in (_processes_text(run), _rivals_text(run.rivals), _streams_text(run.streams), _soak_text(run.soak)):
        if part:
            say(part + "\n")
    say(bars.lines(required))
    say(
        f"\nrows     {rows.recorded} recorded, {rows.answers} answered, {rows.billed} billed: {rows.problem or 'agree'}\n"
        f"memory   {run.memory_mb:.0f} MB\n"
    )
    say(report.facts(run.facts))
    if options.keep:
        say(f"\nKept in {report.keep('gateway', run.facts, _result(run, required)).relative_to(ROOT)}")
    return _verdict(run)


def _cost(run: Run) -> float:
    return report.cost(run.rounds["nginx"], run.rounds["gateway"])


def _bars(run: Run) -> list[Bar]:
    """What was measured next to what is required of it."""
    found: list[Bar] = []
    if run.rounds:
        share = report.ratio(run.rounds["gateway"], run.rounds["nginx"])
        found.append(Bar("share of nginx", share, bars.RATIO, at_least=True))
        found.append(Bar("share of nginx, stretch", share, bars.RATIO_STRETCH, at_least=True))
        p99 = report.middle(one.measurement.p99_ms for one in run.rounds["gateway"])
        found.append(Bar(f"p99 with {run.options.connections} busy connections", p99, bars.P99_MS, "ms"))
    if run.paced:
        gateway, direct = run.paced["gateway"], run.paced["direct"]
        added = {"p50": gateway.p50_ms - direct.p50_ms, "p99": gateway.p99_ms - direct.p99_ms}
        found += [
            Bar(f"added {name} at {PACED_PER_SECOND} calls/s", value, bars.ADDED_MS[name], "ms")
            for name, value in added.items()
        ]
    if run.processes:
        found.append(Bar("cost per call, 2 processes to 1", _linear(run), bars.LINEAR))
    if run.soak:
        found.append(Bar("growth of memory, steady run", run.soak.growth, bars.GROWTH))
    found.append(Bar("errors", sum(one.errors for one, _ in run.ours), 0))
    return found


def _linear(run: Run) -> float:
    return report.cost(run.processes["2 gateways"], run.processes["gateway"])


def _processes_text(run: Run) -> str:
    if not run.processes:
        return ""
    note = "The second process shares its core with load, server, database and broker: near-linear is an equal us/call."
    return f"{report.table(run.processes)}\n{note}"


def _rivals_text(taken: Mapping[str, Round | str]) -> str:
    if not taken:
        return ""
    measured = {name: [one] for name, one in taken.items() if isinstance(one, Round)}
    shares = [f"{name.strip()} {report.ratio(one, measured['nginx']):.4f}" for name, one in measured.items()]
    reasons = [f"{name.strip()}: not measured: {one}" for name, one in taken.items() if isinstance(one, str)]
    settings = [f"{rival.title.strip()}: {rival.settings}" for rival in RIVALS.values() if rival.title in measured]
    return "\n".join([report.table(measured), f"share of nginx: {', '.join(shares)}", *settings, *reasons])


def _streams_text(seen: Streams | None) -> str:
    if seen is None:
        return ""
    calls = seen.calls
    return (
        f"streams  {seen.opened} of {seen.wanted} open, {seen.lost} lost, {seen.memory_kb:.1f} kB each; within "
        f"{streams.LISTEN_S:g} s {seen.events} events, {seen.keep_alives} keep-alives: {seen.problem or 'all live'}\n"
        f"         calls meanwhile {calls.per_second:.0f}/s, p50 {calls.p50_ms:.2f} ms, p99 {calls.p99_ms:.2f} ms, "
        f"{calls.errors} errors"
    )


def _soak_text(soak: Soak | None) -> str:
    if soak is None:
        return ""
    one, (start, middle, end) = soak.measurement, soak.memory_mb
    return (
        f"steady   {one.seconds / 60:.1f} min at {one.per_second:.0f} calls/s: {one.answers} answers, {one.errors} errors, "
        f"p50 {one.p50_ms:.2f} ms, p99 {one.p99_ms:.2f} ms, longest {one.max_ms:.0f} ms\n"
        f"         memory {start:.0f} MB at the start, {middle:.0f} MB in the middle, {end:.0f} MB at the end"
    )


def _result(run: Run, required: Sequence[Bar]) -> dict[str, Any]:
    return {
        "interface": run.options.interface,
        "upstream": run.options.upstream,
        "connections": run.options.connections,
        "parts_on": PARTS_ON,
        "bars": [{**vars(bar), "met": bar.is_met} for bar in required],
        "gateway_memory_mb": run.memory_mb,
        "rows": vars(run.rows),
        "rounds": run.rounds,
        "paced": run.paced,
        "processes": run.processes,
        "rivals": run.rivals,
        "streams": vars(run.streams) if run.streams else None,
        "steady": vars(run.soak) if run.soak else None,
    }


def _verdict(run: Run) -> int:
    """The exit code: errors or a disagreeing log always fail, the ratio only when asked."""
    assert run.rows is not None
    everybody = [one for one, _ in run.ours] + [one.measurement for taken in run.rounds.values() for one in taken]
    errors = sum(one.errors for one in {id(one): one for one in everybody}.values())
    samples = [one.sample for one in everybody if one.sample]
    problems = [f"{errors} errors" + (f", the first: {samples[0]}" if samples else "")] if errors else []
    problems += [run.rows.problem, run.streams.problem if run.streams else ""]
    required = run.options.require
    if (
        required is not None
        and run.rounds
        and (share := report.ratio(run.rounds["gateway"], run.rounds["nginx"])) < required
    ):
        problems.append(f"the ratio {share:.3f} is below {required:g}")
    problems = [problem for problem in problems if problem]
    for problem in problems:
        sys.stderr.write(f"FAILED: {problem}\n")
    return 1 if problems else 0
