"""Other gateways in the place of ours: same machine, same core, same server behind, same connections.

Each is installed into an environment of its own under `var/rivals/`, which is kept, and set up as its documentation advises for
speed: one worker, no access log, no plugins, caches on. It gets the same call in the era that it speaks. What none of them does
is what the full path of ours does besides: nothing here is told a policy, a price or a limit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.rivals import contextforge, fastmcp, litellm
from bench.rivals.install import NotInstalledError, python_of
from bench.rivals.place import Place, Started

__all__ = ["RIVALS", "NotInstalledError", "Rival", "starting"]


@dataclass(frozen=True)
class Rival:
    """`start` runs it in a place and gives it back when it answers; it may raise BenchError."""

    title: str
    requirement: str
    start: Callable[[Place], contextlib.AbstractContextManager[Started]]
    settings: str  # what a reader has to know of how it was set up
    also: tuple[str, ...] = ()  # packages beside it


RIVALS: Mapping[str, Rival] = {
    "fastmcp": Rival(
        "FastMCP proxy",
        fastmcp.REQUIREMENT,
        fastmcp.start,
        "create_proxy, stateless, JSON answers, no key",
        fastmcp.ALSO,
    ),
    "fastmcp-one": Rival(
        "  one session",
        fastmcp.REQUIREMENT,
        fastmcp.start_with_one_session,
        "the same, with one connected client for all callers",
        fastmcp.ALSO,
    ),
    "contextforge": Rival(
        "ContextForge",
        contextforge.REQUIREMENT,
        contextforge.start,
        "virtual server, JWT, SQLite, caches in memory, no plugins, no rate limits",
    ),
    "litellm": Rival("LiteLLM proxy", litellm.REQUIREMENT, litellm.start, "one server for every key, master key"),
}


@contextlib.contextmanager
def starting(rival: Rival, *, folder: Path, core: int, upstream_port: int) -> Iterator[Started]:
    """Raises NotInstalledError or BenchError with the reason."""
    python = python_of(rival.requirement, rival.also)
    home = folder / f"rival-{rival.start.__module__.rpartition('.')[2]}-{rival.start.__name__}"
    home.mkdir()
    with rival.start(Place(home, python, core, upstream_port)) as started:
        yield started
