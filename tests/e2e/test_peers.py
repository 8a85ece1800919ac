"""Clients and servers of several SDKs meet through the gateway, and see of one another what they see without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.harness import BenchError, need_programs
from tests.peers import fetched, walks
from tests.peers.ground import ground


@pytest.fixture(scope="module")
def guide() -> Iterator[walks.Guide]:
    try:
        for peer in (*walks.CLIENTS.values(), *walks.SERVERS.values()):
            peer.command()
        need_programs("nginx")
    except (fetched.NotFetchedError, BenchError) as reason:
        pytest.skip(f"the peers or nginx are not to be had here: {reason}")
    with ground() as world:
        yield walks.Guide(world)


# Every client bridged and not; servers that differ little from these by some. `python -m tests.peers.walks` walks all pairs.
PAIRS = [
    *((client, server) for server in ("modern", "legacy") for client in walks.CLIENTS),
    *((client, "dual") for client in ("sdk-2-auto", "sdk-2-legacy", "sdk-1", "typescript-1")),
    *((client, "sse") for client in ("sdk-2-auto", "sdk-1")),
]


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_walk_through_two_gateways_in_turn_sees_what_a_direct_one_sees(
    guide: walks.Guide, client: str, server: str
) -> None:
    try:
        differences = guide.compare(client, server, "two")
    except fetched.NotFetchedError as reason:
        pytest.skip(f"a peer is not to be had here: {reason}")
    assert differences == {}
