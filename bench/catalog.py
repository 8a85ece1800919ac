"""Search and import of the catalog at size: 25,000 servers and 100,000 tools, varied from the real entries beside the project.

Entries go the way of every source (`catalog.services.importing.take`). A search is everything that the home page asks of the
database: the counts of every facet and one page of servers. It is timed in the database (its statements, as their client
waits for them) and as the whole page in a warm process. Plain index-only counts in the same run say how fast the machine was,
and of an import also the processor time is told, its own and that of Postgres: others may be using the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench import bars, corpus
from bench.bars import Bar
from bench.harness import ROOT, BenchError, work_folder
from marketplace.supervisor.infrastructure import embedded
from marketplace.supervisor.terminal import say, step

SERVERS = 25_000
CURVE = (1_000, 5_000, 10_000, 25_000, 50_000)


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    if not corpus.DATA.is_dir():
        raise BenchError(f"The entries are varied from real ones, which are not there: {corpus.DATA}")
    sizes = sorted({*CURVE, options.servers}) if options.curve else [options.servers]
    with work_folder() as folder, embedded(folder / "data", throwaway=False) as infrastructure:
        environment = {
            **os.environ,
            **infrastructure.environment(),
            "MARKETPLACE_SECRET_KEY": secrets.token_hex(24),
            "MARKETPLACE_ENV": "development",
            "MARKETPLACE_DATA": str(folder),
        }
        with step("Making the database"):
            _run(environment, "manage.py", "setup", "--skip-checks")
        taken = [_at(environment, before, size) for before, size in zip([0, *sizes], sizes, strict=False)]
    say(_table(taken))
    reached = next(each for each in taken if each["servers"] == options.servers)
    met = _bars(reached)
    say(bars.lines(met))
    return 0 if all(bar.is_met for bar in met) else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench catalog", description=__doc__.partition("\n")[0])
    parser.add_argument("--servers", type=int, default=SERVERS, help="how many (default %(default)s)")
    parser.add_argument("--curve", action="store_true", help=f"also at {', '.join(map(str, CURVE))} servers")
    return parser.parse_args(arguments)


def _at(environment: Mapping[str, str], before: int, size: int) -> dict[str, Any]:
    """Grow the catalog to this size and measure."""
    with step(f"{size:,} servers"):
        said = _run(environment, "-m", "bench.catalog_inside", str(before), str(size))
    measured: dict[str, Any] = json.loads(said.splitlines()[-1])
    return measured


def _run(environment: Mapping[str, str], *command: str) -> str:
    done = subprocess.run(
        (sys.executable, *command), cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def _bars(measured: Mapping[str, Any]) -> list[Bar]:
    return [
        Bar("search with every facet, p95", measured["search_p95_ms"], bars.SEARCH_MS, "ms"),
        Bar("whole page, p95", measured["page_p95_ms"], bars.PAGE_MS, "ms"),
        Bar("first import, entries/s", measured["import_per_second"], bars.IMPORTED_PER_SECOND, at_least=True),
        Bar("the same again, unchanged", measured["unchanged_s"], bars.UNCHANGED_S, "s"),
    ]


# Two lines of title and a form; all of them side by side fit on a screen of 100 characters.
_COLUMNS = (
    ("", "servers", "servers", "{:,}"),
    ("", "tools", "tools", "{:,}"),
    ("search", "p50 ms", "search_p50_ms", "{:.1f}"),
    ("", "p95 ms", "search_p95_ms", "{:.1f}"),
    ("page", "p50 ms", "page_p50_ms", "{:.1f}"),
    ("", "p95 ms", "page_p95_ms", "{:.1f}"),
    ("count", "ms", "count_ms", "{:.2f}"),
    ("search", ":count", "ratio", "{:.1f}"),
    ("import", "per s", "import_per_second", "{:,.0f}"),
    ("", "CPU µs", "import_cpu_us", "{:.0f}"),
    ("again", "s", "unchanged_s", "{:.1f}"),
)
_WIDTH = 9


def _table(taken: Sequence[Mapping[str, Any]]) -> str:
    lines = ["".join(f"{column[row]:>{_WIDTH}}" for column in _COLUMNS) for row in (0, 1)]
    lines += ["".join(f"{form.format(each[name]):>{_WIDTH}}" for _, _, name, form in _COLUMNS) for each in taken]
    return "\n".join(lines)
