"""Where a rival runs, and what the benchmark needs of it once it does."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import Child, running
from bench.load import Request
from marketplace.supervisor.ports import LOOPBACK, free_port

PROTOCOL = "2025-06-18"
START_WITHIN_S = 120.0
# Without a whole answer around it: they order and space its members differently.
EXPECTED = b'"hello"'
SERVER = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error")


@dataclass(frozen=True)
class Place:
    folder: Path
    python: Path
    core: int
    upstream_port: int

    @property
    def upstream(self) -> str:
        return f"http://{LOOPBACK}:{self.upstream_port}/mcp"

    @contextlib.contextmanager
    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Child]:
        """A command of the rival's environment, on the core of what is measured."""
        program, *rest = command
        with running(
            "rival",
            (str(self.python.with_name(program)), *rest),
            folder=self.folder,
            core=self.core,
            environment={"PYTHONPATH": str(self.folder), "HOME": str(self.folder), **environment},
        ) as child:
            yield child


@dataclass(frozen=True)
class Started:
    child: Child
    port: int
    request: Request


def call(path: str, tool: str, token: str = "") -> Request:
    """The call that is measured, in the words of 2025-06-18, which all of them speak; none needs a session for it."""
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": {"text": "hello"}},
    }
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return Request(path=path, headers=headers, body=json.dumps(message).encode(), expected=EXPECTED)


def ask(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """A JSON answer of an administrator's interface; None while there is none."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        return json.loads(text) if response.status < 300 else None
    except (OSError, ValueError):
        return None
    finally:
        connection.close()


def port() -> int:
    return free_port()
