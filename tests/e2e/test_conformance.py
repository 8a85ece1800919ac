"""The official conformance suite through the gateway: every scored scenario passes, and no check ends otherwise than direct."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from bench.harness import BenchError, need_programs
from tests.peers import conformance, fetched
from tests.peers.ground import Ground, ground


@pytest.fixture(scope="module")
def world() -> Iterator[Ground]:
    try:
        fetched.conformance()
        fetched.everything_server()
        need_programs("nginx")
    except (fetched.NotFetchedError, BenchError) as reason:
        pytest.skip(f"the conformance suite or nginx is not to be had here: {reason}")
    with ground() as prepared:
        yield prepared


@pytest.fixture(scope="module")
def direct(world: Ground):
    """`direct(run)` gives what the suite says of the server itself."""
    port = conformance.open_everything(world)

    @lru_cache
    def measure(run: conformance.Run) -> conformance.Outcome:
        return conformance.measure(run, f"http://localhost:{port}/mcp", world.folder)

    return measure


@pytest.fixture(scope="module")
def ways(world: Ground, direct) -> dict[str, int]:
    return conformance.ways(world, with_two=True)


@pytest.mark.parametrize("way", ["gateway", "two gateways, nginx"])
@pytest.mark.parametrize("run", conformance.RUNS, ids=lambda run: run.name)
def test_nothing_is_lost_on_the_way(
    world: Ground, direct, ways: dict[str, int], run: conformance.Run, way: str
) -> None:
    outcome = conformance.measure(run, f"http://localhost:{ways[way]}/mcp/{conformance.SLUG}", world.folder)

    assert direct(run).difference(outcome) == []
    assert outcome.is_conformant
