"""Clients and servers of several SDKs meet through the gateway, and see of one another what they see without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers import fetched, walks
from tests.peers.ground import ground

MODERN = ("sdk-2-auto", "sdk-2-modern", "typescript-2-auto", "fastmcp-auto")
PAIRS = [
    *((client, "dual") for client in walks.CLIENTS),
    *((client, "modern") for client in MODERN),
    *((client, "legacy") for client in walks.CLIENTS if client not in MODERN),
    ("fastmcp-auto", "legacy"),
]


@pytest.fixture(scope="module")
def guide() -> Iterator[walks.Guide]:
    try:
        for peer in (*walks.CLIENTS.values(), *walks.SERVERS.values()):
            peer.command()
    except fetched.NotFetchedError as reason:
        pytest.skip(f"the peers are not to be had here: {reason}")
    with ground() as world:
        yield walks.Guide(world)


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_walk_through_the_gateway_sees_what_a_direct_one_sees(guide: walks.Guide, client: str, server: str) -> None:
    assert guide.compare(client, server) == {}
