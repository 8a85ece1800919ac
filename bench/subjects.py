"""The three things that the gateway benchmark measures, started and answering: direct, nginx, gateway.

They get the same message. Only the gateway is told who asks, and it alone decides and records.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from bench import checks, echo, nginx
from bench.echo import MODERN
from bench.harness import ROOT, BenchError, Child, Cores, running
from bench.load import Request
from bench.world import SLUG
from marketplace.supervisor.infrastructure import Infrastructure
from marketplace.supervisor.ports import LOOPBACK, bound, free_port, port_of
from marketplace.supervisor.terminal import step

_BACKLOG = 2048
_READY_PROBES = 16
UPSTREAMS = ("asgi", "raw", "constant")
_SERVER = ("--loop", "uvloop", "--no-server-header", "--no-access-log", "--no-proxy-headers")
_PLAIN, _OWN = ("--http", "httptools"), ("--http", "gateway.http:Protocol")
_TOOL = str(echo.TOOL["name"])
_ARGUMENTS = {"text": "hello"}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
_CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
_MESSAGE: dict[str, Any] = {**_CALL, "params": {"name": _TOOL, "arguments": _ARGUMENTS, "_meta": _META}}
_ANSWER = echo.answer(_MESSAGE)


@dataclass(frozen=True)
class Subject:
    name: str
    port: int
    child: Child
    request: Request
    also: tuple[Child, ...] = ()  # further processes behind the same port

    @property
    def children(self) -> tuple[Child, ...]:
        return (self.child, *self.also)


@dataclass(frozen=True)
class World:
    """What was made for the run, and where the gateways of it run."""

    infrastructure: Infrastructure
    api_key: str
    schema: str
    upstream_port: int
    environment: Mapping[str, str]
    folder: Path
    cores: Cores


def start(
    stack: contextlib.ExitStack,
    folder: Path,
    cores: Cores,
    infrastructure: Infrastructure,
    options: argparse.Namespace,
) -> tuple[list[Subject], World]:
    """Everything that is measured, warm enough to answer."""
    upstream_port, upstream = stack.enter_context(_upstream(options.upstream, folder))
    proxy_port = free_port()
    proxy = stack.enter_context(nginx.proxying(proxy_port, upstream_port, folder, cores.subject))
    environment = _environment(infrastructure, folder, upstream_port)
    with step("Migrating, and making organisation, server, key and grant"):
        made = _make_world(environment, upstream_port)
    world = World(infrastructure, made["api_key"], made["schema"], upstream_port, environment, folder, cores)
    gateway_port, gateway = stack.enter_context(
        gateway_process(world, "gateway", core=cores.subject, profile=options.profile)
    )
    plain = mcp_request("/mcp", {})
    to_gateway = gateway_request(options.interface, world.api_key)
    subjects = [
        Subject("direct", upstream_port, upstream, plain),
        Subject("nginx", proxy_port, proxy, plain),
        Subject("gateway", gateway_port, gateway, to_gateway),
    ]
    with step("Waiting until all three answer"):
        for subject in subjects:
            subject.child.wait_until(partial(answers, subject))
    return subjects, world


def show_token(world: World, port: int) -> None:
    """Ask the server what the gateway told it about the caller. Raises BenchError unless it is a statement about this call."""
    message = {**_MESSAGE, "params": {**_MESSAGE["params"], "arguments": {**_ARGUMENTS, "show": "token"}}}
    body = orjson.dumps(message)
    request = replace(gateway_request("mcp", world.api_key), body=body, expected=b"")
    answer = ask(port, request)
    if answer is None or answer[0] != 200:
        raise BenchError(f"The gateway does not answer as expected: {answer}")
    checks.token(orjson.loads(answer[1])["result"]["content"][0]["text"], body, _TOOL)


def _environment(infrastructure: Infrastructure, folder: Path, upstream_port: int) -> dict[str, str]:
    return {
        **infrastructure.environment(),
        "MARKETPLACE_SECRET_KEY": secrets.token_hex(24),
        "MARKETPLACE_ENV": "development",
        "MARKETPLACE_ROLE": "gateway",
        "MARKETPLACE_DATA": str(folder),
        # Limits that are asked at every call and never reached.
        "MARKETPLACE_LIMIT_KEY_PER_MINUTE": "1000000000",
        "MARKETPLACE_LIMIT_SPEND_PER_MONTH": "1000000000",
        # Open streams are counted, and no number that is measured is refused.
        "MARKETPLACE_STREAMS_PER_KEY": "1000000",
        "MARKETPLACE_STREAMS_PER_ORGANISATION": "1000000",
        "MARKETPLACE_CONNECTIONS_PER_SERVER": "2000000",
        "MARKETPLACE_EGRESS_ALLOW": f"127.0.0.1:{upstream_port}",
    }


def _make_world(environment: Mapping[str, str], upstream_port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{upstream_port}/mcp"
    _run(environment, "manage.py", "setup", "--skip-checks")
    made: dict[str, str] = json.loads(_run(environment, "-m", "bench.world", "--upstream", url).splitlines()[-1])
    return made


def _run(environment: Mapping[str, str], *command: str) -> str:
    done = subprocess.run(
        (sys.executable, *command), cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


@contextlib.contextmanager
def _upstream(kind: str, folder: Path) -> Iterator[tuple[int, Child]]:
    """The server behind all three subjects, on the core of the load."""
    if kind == "constant":
        port = free_port()
        with nginx.answering(port, _ANSWER, folder) as child:
            yield port, child
        return
    with bound(0) as listener:
        descriptor = listener.fileno()
        raw = ("bench.echo", "--fd", str(descriptor))
        asgi = ("uvicorn", "bench.echo:application", "--fd", str(descriptor), *_SERVER, *_PLAIN, "--lifespan", "off")
        command = (sys.executable, "-m", *(raw if kind == "raw" else asgi))
        with running("upstream", command, folder=folder, pass_fds=(descriptor,)) as child:
            yield port_of(listener), child


@contextlib.contextmanager
def gateway_process(
    world: World, name: str, *, core: int, profile: Path | None = None, port: int = 0
) -> Iterator[tuple[int, Child]]:
    """One gateway process as the product runs it, on a core of its own. Several may share a port that is not 0."""
    with shared(port) if port else bound(0) as listener:
        descriptor = listener.fileno()
        server = ("uvicorn", "marketplace.asgi:application", "--fd", str(descriptor), *_SERVER, *_OWN)
        launcher = ("-m", "bench.profiled", str(profile.resolve())) if profile else ("-m",)
        command = (sys.executable, *launcher, *server)
        with running(
            name, command, folder=world.folder, core=core, environment=world.environment, pass_fds=(descriptor,)
        ) as child:
            yield port_of(listener), child


@contextlib.contextmanager
def shared_port() -> Iterator[int]:
    """A free port that several processes can share; it stays ours for as long as the block lasts."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((LOOPBACK, 0))
        yield port_of(holder)


def shared(port: int) -> socket.socket:
    """A listening socket that shares its port: the kernel spreads connections over all such sockets."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(_BACKLOG)
    return listener


def mcp_request(path: str, extra: Mapping[str, str]) -> Request:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": _TOOL,
        **extra,
    }
    return Request(path=path, headers=headers, body=orjson.dumps(_MESSAGE), expected=_ANSWER)


def gateway_request(interface: str, api_key: str) -> Request:
    authorization = {"Authorization": f"Bearer {api_key}"}
    if interface == "mcp":
        return mcp_request(f"/mcp/{SLUG}", authorization)
    body = orjson.dumps({"server": SLUG, "tool": _TOOL, "arguments": _ARGUMENTS})
    expected = orjson.dumps(orjson.loads(_ANSWER)["result"]["content"])
    headers = {"Content-Type": "application/json", **authorization}
    return Request(path="/v1/invoke", headers=headers, body=body, expected=expected)


def answers(subject: Subject, *, strict: bool = True) -> bool:
    """Whether a subject answers as expected yet.

    With `strict` another answer raises BenchError: measuring it would mean nothing.
    """
    answer = ask(subject.port, subject.request)
    if answer is None:
        return False
    if answer[0] == 200 and subject.request.expected in answer[1]:
        return True
    if strict:
        raise BenchError(f"{subject.name} does not answer as expected: {answer}\n{subject.child.tail()}")
    return False


def is_ready(port: int) -> bool:
    """Whether every process behind the port serves: so many connections reach each of a few."""
    return all(_is_ready_once(port) for _ in range(_READY_PROBES))


def build_of(port: int) -> str:
    """Whether calls of the gateway at a port pass compiled modules: what it says of itself."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        state = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return "compiled" if state["compiled"] else "interpreted"


def _is_ready_once(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def ask(port: int, request: Request) -> tuple[int, bytes] | None:
    """Status and body of the answer; None while nobody listens."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("POST", request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return None
    finally:
        connection.close()
