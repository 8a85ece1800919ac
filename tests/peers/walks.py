"""Who walks (clients of several SDKs) and where (servers of two SDKs), and one walk of one through the other.

A walk that goes through a gateway is compared with the same client's walk to a server that it can reach by itself.
`python -m tests.peers.walks [client …] [server …] [one] [two]`, on the servers of `marketplace.supervisor infra`, prints what
comes of each pair.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.supervisor.ports import free_port
from marketplace.supervisor.terminal import say
from tests.peers import fetched
from tests.peers.ground import Ground, ground

PROGRAMS = Path(__file__).parent / "programs"
TOOLS = ("echo", "add", "fail", "steps", "log", "ask", "think", "where", "wait", "touch")
WAYS = ("one", "two")  # gateways
_PATIENCE_S = 60


@dataclass(frozen=True)
class Client:
    name: str
    command: Callable[[], list[str]]
    first: tuple[str, ...] = ()  # arguments before the URL
    options: tuple[str, ...] = ()  # and after it


@dataclass(frozen=True)
class Server:
    """`like` names the server whose features a direct client is shown in its place, where it cannot reach this one."""

    name: str
    command: Callable[[], list[str]]
    options: tuple[str, ...] = ()
    path: str = "/mcp"
    like: str = ""


def _python(name: str, requirement: str, program: str) -> Callable[[], list[str]]:
    return lambda: [str(fetched.python_with(name, requirement)), str(PROGRAMS / program)]


def _typescript() -> list[str]:
    return [str(fetched.node()), str(PROGRAMS / "client_typescript.mjs")]


_NEWER, _OLDER = ("sdk", fetched.SDK), ("mcp1", fetched.LEGACY_SDK)
CLIENTS = {
    client.name: client
    for client in (
        Client("sdk-2-auto", _python(*_NEWER, "client_2026.py"), options=("auto",)),
        Client("sdk-2-modern", _python(*_NEWER, "client_2026.py"), options=("2026-07-28",)),
        Client("sdk-2-legacy", _python(*_NEWER, "client_2026.py"), options=("legacy",)),
        Client("sdk-1", _python(*_OLDER, "client_2025.py")),
        Client("typescript-2-auto", _typescript, ("2",), ("auto",)),
        Client("typescript-2-legacy", _typescript, ("2",), ("legacy",)),
        Client("typescript-1", _typescript, ("1",)),
        Client("fastmcp-auto", _python("fastmcp", fetched.FASTMCP, "client_fastmcp.py"), options=("auto",)),
        Client("fastmcp-legacy", _python("fastmcp", fetched.FASTMCP, "client_fastmcp.py"), options=("legacy",)),
    )
}
SERVERS = {
    server.name: server
    for server in (
        Server("dual", _python(*_NEWER, "server_2026.py")),
        Server("modern", _python(*_NEWER, "server_2026.py"), ("modern",), like="dual"),
        Server("legacy", _python(*_OLDER, "server_2025.py")),
        Server("sse", _python(*_OLDER, "server_2025.py"), ("sse",), path="/sse", like="legacy"),
    )
}


def start(world: Ground, server: Server) -> int:
    """Start a server, list it under its name, and give its port."""
    port = free_port()
    world.start(server.name, [*server.command(), str(port), *server.options], port)
    world.list_server(server.name, port, TOOLS, path=server.path)
    return port


def walk(client: Client, url: str, token: str = "") -> dict[str, Any]:
    """What a client saw on its way. Raises AssertionError with what it said when it did not arrive."""
    done = subprocess.run(
        [*client.command(), *client.first, url, *client.options],
        env={
            **os.environ,
            "PEER_TOKEN": token,
            "PEER_MODULES": str(fetched.packages("typescript", *fetched.TYPESCRIPT)),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    said = done.stdout.strip().rpartition("\n")[2]
    if done.returncode != 0:
        raise AssertionError(f"{client.name} stopped after {[*json.loads(said or '{}')][-3:]}:\n{_gist(done.stderr)}")
    seen: dict[str, Any] = json.loads(said)
    return seen


def difference(client: str, expected: dict[str, Any], seen: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What a client saw otherwise than it should, by feature: expected and seen."""
    # What was negotiated may differ; a client that is told the version does not ask who is there.
    ignored = {"protocol", *(("server", "instructions") if client == "sdk-2-modern" else ())}
    features = (expected.keys() | seen.keys()) - ignored
    return {
        feature: (expected.get(feature), seen.get(feature))
        for feature in sorted(features)
        if expected.get(feature) != seen.get(feature)
    }


class Guide:
    """Walks direct, each once, and through gateways in front of all servers: one, and two that take turns behind nginx."""

    def __init__(self, world: Ground, servers: Iterable[str] = tuple(SERVERS)) -> None:
        needed = {*servers} | {SERVERS[name].like or name for name in servers}
        self._token = world.token
        self._ports = {name: start(world, SERVERS[name]) for name in needed}
        gateways = world.gateways(2)
        self._ways = {"one": gateways[0], "two": world.balanced(gateways)}
        self._direct: dict[tuple[str, str], dict[str, Any]] = {}

    def direct(self, client: str, server: str) -> dict[str, Any]:
        """What the client sees of that server without a gateway, or of one like it."""
        able = "sdk-2-auto" if client == "sdk-2-modern" else client
        there = SERVERS[server].like or server
        if (able, there) not in self._direct:
            self._direct[able, there] = walk(CLIENTS[able], f"http://127.0.0.1:{self._ports[there]}/mcp")
        return self._direct[able, there]

    def through(self, client: str, server: str, way: str) -> dict[str, Any]:
        return walk(CLIENTS[client], f"http://127.0.0.1:{self._ways[way]}/mcp/{server}", self._token)

    def compare(self, client: str, server: str, way: str) -> dict[str, tuple[Any, Any]]:
        return difference(client, self.direct(client, server), self.through(client, server, way))


def _gist(trace: str) -> str:
    """The lines of a trace that say something: where our own program was, and every error."""
    lines = [line.strip("|+- ") for line in trace.splitlines()]
    return "\n".join(line for line in lines if PROGRAMS.name in line or "Error" in line)[-2000:]


def main(arguments: list[str]) -> int:
    clients = [name for name in CLIENTS if name in arguments] or [*CLIENTS]
    servers = [name for name in SERVERS if name in arguments] or [*SERVERS]
    ways = [name for name in WAYS if name in arguments] or [*WAYS]
    failed = 0
    with ground() as world:
        guide = Guide(world, servers)
        for server in servers:
            for client, way in itertools.product(clients, ways):
                try:
                    found = guide.compare(client, server, way)
                    told = "".join(f"\n    {key}: {pair}" for key, pair in found.items())
                except AssertionError as stop:
                    told = f"\n    {stop}"
                failed += bool(told)
                say(f"{client:<21}{server:<8}{way:<5}{'DIFFERS' if told else 'equal'}{told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
