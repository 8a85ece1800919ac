"""Connections that are held are shared out: one organisation, with however many keys, leaves a server to the others."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.config import Limits
from gateway.peers.pool import MAX_PER_OWNER, MAX_PER_TENANT_AND_SERVER, PoolKey, SessionPool
from gateway.upstream.client import ServerBusyError
from tests.integration.gateway.conftest import Stage
from tests.support.gateways import config_for, running_gateway


@pytest.fixture(scope="module")
def stage(build_stage: Any, urls: tuple[str, str], sdk_port: int) -> Any:
    """A gateway with eight connections to each server, of which four may be held."""
    make, world, upstream = build_stage()
    config = config_for(*urls, upstream.port, sdk_port, limits=Limits(connections_per_server=8))
    with running_gateway(config, world.loader) as base:
        yield make(base)


def test_who_listens_with_many_keys_leaves_places_for_another_organisation(stage: Stage) -> None:
    url = f"{stage.base}/mcp/stream-hangs"
    server = stage.servers["stream-hangs"]

    def listen(tenant: Any) -> Any:
        token, key = stage.world.key(tenant)
        stage.world.grant(tenant, server, key)
        return httpx.stream("GET", url, headers=stage.headers(token), timeout=10)

    with contextlib.ExitStack() as stack:
        mine = [stack.enter_context(listen(stage.acme)).status_code for _ in range(4)]
        assert mine == [200, 200, 503, 503]
        assert [stack.enter_context(listen(stage.globex)).status_code for _ in range(2)] == [200, 200]


def test_sessions_of_many_keys_with_one_server_have_a_bound() -> None:
    asyncio.run(_fill())


async def _fill() -> None:
    async def opened(*_: Any) -> Any:
        return Session()

    pool = SessionPool(opened, asyncio.ensure_future)
    call: Any = SimpleNamespace()
    tenant, server = uuid4(), uuid4()

    def key(tenant: Any, number: int) -> PoolKey:
        return PoolKey(f"{tenant}|key{number // MAX_PER_OWNER}|{server}|", "http://server", b"{}", alone=True)

    held = [await pool._open(call, key(tenant, number), None) for number in range(MAX_PER_TENANT_AND_SERVER)]
    for session in held:
        session.users = 1
    with pytest.raises(ServerBusyError):
        await pool._open(call, key(tenant, 9_999), None)
    await pool._open(call, key(uuid4(), 0), None)
    # One that nobody uses gives way.
    held[5].users = 0
    await pool._open(call, key(tenant, 9_999), None)
    assert len(pool) == MAX_PER_TENANT_AND_SERVER + 1
    await pool.close()


class Session:
    """As much of a session as the pool looks at."""

    users, idle_since = 0, 0.0
    lost = spoilt = False

    async def close(self) -> None:
        """Nothing is open."""
