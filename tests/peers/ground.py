"""Where peers meet: servers as processes, one or more gateways as processes in front of them, nginx before those if asked.

Entries are in memory (tests.support.gateways); HTTP, Postgres, Valkey and everything that is fetched are real. The key may use
every tool of every server, so that whatever is refused is refused by the protocol.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from access.types import PolicyMode, ServerPolicy, SideEffect, ToolRule, Trust
from bench import nginx
from bench.harness import Child, running, work_folder
from gateway.app import Gateway
from gateway.config import Deadlines
from gateway.entries import KeyEntry, TenantEntry
from marketplace.supervisor.ports import bound, free_port, port_of
from tests.support.gateways import MemoryLoader, World, config_for, drop_schemas, make_call_tables, rows_of

_SERVER = ("--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "3")


@dataclass
class Ground:
    folder: Path
    stack: contextlib.ExitStack
    world: World
    provider: TenantEntry
    caller: TenantEntry
    token: str
    key: KeyEntry
    ports: list[int] = field(default_factory=list)

    def start(
        self, name: str, command: Sequence[str], port: int, *, environment: Mapping[str, str] | None = None
    ) -> Child:
        """A server process that listens on that port."""
        child = self.stack.enter_context(running(name, command, folder=self.folder, environment=environment))
        child.wait_until(lambda: _accepts(port))
        return child

    def list_server(self, slug: str, port: int, tools: Sequence[str], *, path: str = "/mcp", **changes: Any) -> None:
        """Make a server known to the gateways that are started after this."""
        server = self.world.server(slug, f"http://127.0.0.1:{port}{path}", self.provider)
        rules = {name: ToolRule(name, Trust.LOW, SideEffect.READ) for name in tools}
        policy = ServerPolicy(server.server_id, PolicyMode.ALLOW_LIST, Trust.LOW, rules)
        self.world.change_server(server.server_id, policy=policy, **changes)
        self.world.grant(self.caller, server, self.key)
        self.ports.append(port)

    def gateways(self, count: int = 1) -> list[int]:
        """The ports of so many gateway processes with the same entries."""
        entries = self.folder / "entries.json"
        entries.write_text(self.world.loader.dump(), encoding="utf-8")
        environment = {"PEERS_ENTRIES": str(entries), "PEERS_PORTS": ",".join(map(str, self.ports))}
        ports = []
        for number in range(count):
            listener = self.stack.enter_context(bound(0))
            descriptor, port = listener.fileno(), port_of(listener)
            factory = ("uvicorn", "--factory", "tests.peers.ground:gateway_app", "--fd", str(descriptor), *_SERVER)
            command = (sys.executable, "-m", *factory)
            gateway = running(
                f"gateway-{number}", command, folder=self.folder, environment=environment, pass_fds=(descriptor,)
            )
            self.stack.enter_context(gateway).wait_until(lambda port=port: _answers(port))
            ports.append(port)
        return ports

    def balanced(self, ports: Sequence[int]) -> int:
        """nginx in front of gateways, each request to the next of them."""
        port = free_port()
        self.stack.enter_context(nginx.balancing(port, ports, self.folder)).wait_until(lambda: _accepts(port))
        return port

    def rows(self) -> list[dict[str, Any]]:
        return rows_of(os.environ["DATABASE_URL"], self.caller.schema_name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Empty ground on the servers that DATABASE_URL and REDIS_URL name."""
    world = World()
    caller, provider = world.tenant("acme"), world.tenant("initech")
    token, key = world.key(caller)
    database_url = os.environ["DATABASE_URL"]
    make_call_tables(database_url, world.schemas)
    try:
        with work_folder() as folder, contextlib.ExitStack() as stack:
            yield Ground(folder, stack, world, provider, caller, token, key)
    finally:
        drop_schemas(database_url, world.schemas)


def gateway_app() -> Gateway:
    """The app factory of a gateway process, with the deadlines of the product."""
    loader = MemoryLoader.load(Path(os.environ["PEERS_ENTRIES"]).read_text(encoding="utf-8"))
    ports = [int(port) for port in os.environ["PEERS_PORTS"].split(",")]
    return Gateway(
        config_for(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], *ports, deadlines=Deadlines()), loader
    )


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(port: int) -> bool:
    """The socket is open before the process is there; any answer at all says that it is."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/mcp/nothing", timeout=30).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True
