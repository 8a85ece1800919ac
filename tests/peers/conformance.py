"""The official conformance suite against the SDK's everything-server, direct and through gateways.

Run by scripts/conformance; prints one table. Exit status 0 says that nothing is lost on the way: every scored scenario passes,
and each check of each scenario, scored or not, ends through a gateway as it ends direct.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import BenchError, need_programs
from marketplace.supervisor.ports import free_port
from marketplace.supervisor.terminal import complain, say
from tests.peers import fetched
from tests.peers.forwarder import adding_key
from tests.peers.ground import Ground, ground

SLUG = "everything"
# Tools of scenarios that are run and not scored, which this server has not: what it says of them is compared too.
_ABSENT = (
    "confirm_delete",
    "failing_job",
    "greet",
    "multi_input",
    "protocol_error_job",
    "slow_compute",
    "test_custom_headers",
    "test_custom_headers_null",
    "test_tool_with_task",
)
_PATIENCE_S = 300
_MAX_MESSAGE = 300


@dataclass(frozen=True)
class Run:
    """One way through the suite, and how many scenarios it scores."""

    name: str
    options: tuple[str, ...]
    scored: int


RUNS = (
    Run("2025-11-25", ("--requirements", "2025-11-25"), 30),
    Run("2026-07-28", ("--requirements", "2026-07-28"), 37),
    Run("2025-06-18", ("--suite", "all", "--spec-version", "2025-06-18"), 27),
)


@dataclass
class Outcome:
    """What one run against one address said: `checks` counts (scenario, check, status)."""

    run: Run
    exit_code: int
    scored: frozenset[str]
    checks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    messages: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def passed(self) -> int:
        return sum(count for (_, _, status), count in self.checks.items() if status == "SUCCESS")

    @property
    def failed(self) -> int:
        return sum(count for (_, _, status), count in self.checks.items() if status == "FAILURE")

    @property
    def scenarios_passed(self) -> int:
        bad = {scenario for scenario, _, status in self.checks if status == "FAILURE"}
        ran = {scenario for scenario, _, _ in self.checks}
        return len((self.scored & ran) - bad)

    @property
    def is_conformant(self) -> bool:
        return self.exit_code == 0 and self.scenarios_passed == len(self.scored) == self.run.scored

    def difference(self, other: Outcome) -> list[str]:
        """Each check that ends otherwise there; one that fails here and succeeds there is no loss."""
        lost, gained = self.checks - other.checks, other.checks - self.checks
        for scenario, check, status in tuple(lost):
            better = (scenario, check, "SUCCESS")
            if status == "FAILURE" and gained[better]:
                lost -= Counter([(scenario, check, status)])
                gained -= Counter([better])
        removed = [f"- {' '.join(key)}" for key in lost]
        added = [f"+ {' '.join(key)}: {other.messages.get(key, '')}" for key in gained]
        return sorted(removed) + sorted(added)


def open_everything(world: Ground) -> int:
    """Start the everything-server, list it with all its tools, and give its port."""
    port = free_port()
    environment = {"PYTHONPATH": str(fetched.everything_server())}
    command = (str(fetched.python_with("sdk", fetched.SDK)), "-m", "mcp_everything_server", "--port", str(port))
    world.start("everything", command, port, environment=environment)
    tools = asyncio.run(_tools_of(f"http://127.0.0.1:{port}/mcp"))
    world.list_server(SLUG, port, [*tools, *_ABSENT])
    return port


def measure(run: Run, url: str, folder: Path) -> Outcome:
    """Run the suite against an address."""
    command = fetched.conformance()
    where = folder / f"{run.name}-{free_port()}"
    done = subprocess.run(
        [*command, "server", "--url", url, *run.options, "-o", str(where)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    outcome = Outcome(run, done.returncode, frozenset())
    for report in where.glob("server-*/checks.json"):
        scenario = "-".join(report.parent.name.removeprefix("server-").split("-")[:-6])
        for check in json.loads(report.read_text(encoding="utf-8")):
            key = (scenario, check["id"], check["status"])
            outcome.checks[key] += 1
            outcome.messages[key] = str(check.get("errorMessage") or "")[:_MAX_MESSAGE]
    outcome.scored = _scored(run) or frozenset(scenario for scenario, _, _ in outcome.checks)
    return outcome


def report(name: str, outcome: Outcome, direct: Outcome) -> list[str]:
    """One line of the table, and a line for each check that ends otherwise than direct."""
    difference = direct.difference(outcome)
    scenarios = f"{outcome.scenarios_passed}/{len(outcome.scored)}"
    line = (
        f"{outcome.run.name:<12}{name:<26}{scenarios:>9}{outcome.passed:>8}{outcome.failed:>8}"
        f"{outcome.passed - direct.passed:>+12}"
    )
    return [line, *(f"    {each}" for each in difference)]


HEADING = f"{'revision':<12}{'way':<26}{'scored':>9}{'passed':>8}{'failed':>8}{'difference':>12}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__.partition("\n")[0])
    parser.add_argument("--one", action="store_true", help="one gateway only, without nginx and a second one")
    options = parser.parse_args(arguments)
    try:
        if not options.one:
            need_programs("nginx")
        with ground() as world:
            return _compare(world, with_two=not options.one)
    except (fetched.NotFetchedError, BenchError) as error:
        complain(str(error))
        return 1


def ways(world: Ground, *, with_two: bool) -> dict[str, int]:
    """The ports of the ways through gateways, each with the path of the everything-server."""
    first = world.gateways(1)
    found = {"gateway": first[0]}
    if with_two:
        found["two gateways, nginx"] = world.balanced([*first, *world.gateways(1)])
    return {name: world.stack.enter_context(adding_key(port, world.token)) for name, port in found.items()}


def _compare(world: Ground, *, with_two: bool) -> int:
    port = open_everything(world)
    good = True
    through = ways(world, with_two=with_two)
    say(HEADING)
    for run in RUNS:
        direct = measure(run, f"http://localhost:{port}/mcp", world.folder)
        say("\n".join(report("direct", direct, direct)))
        for name, way in through.items():
            outcome = measure(run, f"http://localhost:{way}/mcp/{SLUG}", world.folder)
            say("\n".join(report(name, outcome, direct)))
            good = good and outcome.is_conformant and not direct.difference(outcome)
    say("Equal to direct." if good else "NOT equal to direct.")
    return 0 if good else 1


def _scored(run: Run) -> frozenset[str]:
    """The server scenarios that a frozen requirement set scores; empty for a suite, where all are."""
    if "--requirements" not in run.options:
        return frozenset()
    listed = subprocess.run(
        [*fetched.conformance(), "list", *run.options], capture_output=True, text=True, check=True, timeout=_PATIENCE_S
    ).stdout
    section = listed.partition("Server scenarios")[2].partition("\n\n")[0]
    return frozenset(line.strip()[2:] for line in section.splitlines() if line.strip().startswith("- "))


async def _tools_of(url: str) -> list[str]:
    from mcp import Client

    async with Client(url) as client:
        names, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            if not (cursor := page.next_cursor):
                return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
