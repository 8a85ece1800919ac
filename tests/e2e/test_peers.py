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


@pytest.mark.parametrize("server", walks.SERVERS)
@pytest.mark.parametrize("client", walks.CLIENTS)
def test_a_walk_through_two_gateways_in_turn_sees_what_a_direct_one_sees(
    guide: walks.Guide, client: str, server: str
) -> None:
    assert guide.compare(client, server, "two") == {}
