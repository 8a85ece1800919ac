"""A running gateway with acme's key and grants, in front of the misbehaving upstream and two servers of the official SDK."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.config import Deadlines
from gateway.entries import KeyEntry, ServerEntry, TenantEntry
from tests.support.gateways import (
    GatewayProcess,
    World,
    config_for,
    drop_schemas,
    make_call_tables,
    rows_of,
    running_gateway,
    serving,
)
from tests.support.upstreams import BEHAVIOURS, Upstream, misbehaving_upstream

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


@dataclass
class Stage:
    """Everything a test of the gateway needs at hand."""

    base: str
    world: World
    upstream: Upstream
    acme: TenantEntry
    globex: TenantEntry
    token: str
    key: KeyEntry
    foreign_token: str
    servers: dict[str, ServerEntry]
    database_url: str

    def headers(self, token: str | None = None, **more: str) -> dict[str, str]:
        return {
            "authorization": f"Bearer {token or self.token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    def modern(self, method: str, name: str | None = None, **more: str) -> dict[str, str]:
        headers = self.headers(**{"mcp_protocol_version": "2026-07-28", "mcp_method": method, **more})
        return headers if name is None else {**headers, "mcp-name": name}

    def call(self, server: str, tool: str = "echo", **arguments: Any) -> httpx.Response:
        """A modern tools/call, as a well-behaved client sends it."""
        return httpx.post(
            f"{self.base}/mcp/{server}",
            content=body_of("tools/call", {"name": tool, "arguments": arguments}),
            headers=self.modern("tools/call", tool),
            timeout=10,
        )

    def invoke(self, server: str, tool: str = "echo", **arguments: Any) -> httpx.Response:
        return httpx.post(
            f"{self.base}/v1/invoke",
            json={"server": server, "tool": tool, "arguments": arguments},
            headers={"authorization": f"Bearer {self.token}"},
            timeout=10,
        )

    def rows(self, tenant: TenantEntry | None = None) -> list[dict[str, Any]]:
        return rows_of(self.database_url, (tenant or self.acme).schema_name)

    def row(self, response: httpx.Response) -> dict[str, Any]:
        """The one row of an answered call."""
        call_id = response.headers["x-marketplace-call-id"]
        (row,) = [row for row in self.rows() if str(row["call_id"]) == call_id]
        return row


def body_of(method: str, params: dict[str, Any] | None = None, request_id: Any = 1, *, modern: bool = True) -> bytes:
    import json

    params = {**(params or {}), "_meta": META} if modern else params
    message = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return json.dumps({**message, **({"params": params} if params is not None else {})}).encode()


@pytest.fixture(scope="session")
def urls() -> tuple[str, str]:
    """Of the Postgres and the Valkey that `scripts/test` starts."""
    return os.environ["DATABASE_URL"], os.environ["REDIS_URL"]


@pytest.fixture(scope="session")
def sdk_port() -> Iterator[int]:
    """A server of the official SDK that speaks both eras."""
    from tests.support.sdk_servers import build

    with serving(build().streamable_http_app()) as port:
        yield port


@pytest.fixture(scope="module")
def build_stage(urls: tuple[str, str], sdk_port: int) -> Iterator[Callable[..., Any]]:
    """`build_stage(**config)` prepares a world; `with running_gateway(...)` is up to the caller of `stage`."""
    world = World()
    with misbehaving_upstream() as upstream:
        acme, globex, initech = world.tenant("acme"), world.tenant("globex"), world.tenant("initech")
        token, key = world.key(acme)
        foreign_token, _ = world.key(globex)
        make_call_tables(urls[0], world.schemas)
        servers = {name: world.server(name, upstream.url(name), initech) for name in BEHAVIOURS if name != "hang"}
        servers["hang"] = world.server("hang", upstream.url("hang"), initech, timeout_s=2)
        servers["sdk"] = world.server("sdk", f"http://127.0.0.1:{sdk_port}/mcp", initech)
        for server in servers.values():
            world.grant(acme, server, key)

        def make(base: str) -> Stage:
            tenants = world.loader.tenants
            return Stage(
                base,
                world,
                upstream,
                tenants[acme.tenant_id],
                tenants[globex.tenant_id],
                token,
                key,
                foreign_token,
                servers,
                urls[0],
            )

        yield lambda: (make, world, upstream)
        drop_schemas(urls[0], world.schemas)


@pytest.fixture(scope="module")
def stage(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[Stage]:
    make, world, upstream = build_stage()
    # A busy machine must not look like a slow server: only what is to time out has little time.
    deadlines = Deadlines(first_byte=10.0, idle=2.0, total=20.0, request_body=2.0, connect=5.0)
    config = config_for(*urls, upstream.port, sdk_port, deadlines=deadlines)
    with running_gateway(config, world.loader) as base:
        yield make(base)


@dataclass
class Alone:
    """One organisation with one server, behind a gateway in a process of its own that is not started yet."""

    process: GatewayProcess
    upstream: Upstream
    headers: dict[str, str]
    database_url: str
    schema: str

    def recorded(self) -> Counter[str]:
        """How many rows each call has."""
        return Counter(str(row["call_id"]) for row in rows_of(self.database_url, self.schema))


@pytest.fixture
def alone(urls: tuple[str, str], tmp_path: Path) -> Iterator[Alone]:
    world = World()
    with misbehaving_upstream() as upstream:
        acme, initech = world.tenant("acme"), world.tenant("initech")
        token, key = world.key(acme)
        make_call_tables(urls[0], world.schemas)
        world.grant(acme, world.server("ok", upstream.url("ok"), initech), key)
        entries = tmp_path / "entries.json"
        entries.write_text(world.loader.dump())
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "echo",
        }
        process = GatewayProcess(entries, upstream.port)
        try:
            yield Alone(process, upstream, headers, urls[0], acme.schema_name)
        finally:
            process.close()
            drop_schemas(urls[0], world.schemas)
