"""FastMCP's proxy, as its documentation mounts it for production: stateless, JSON answers, under uvicorn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.rivals.place import SERVER, Place, Started, call, port

REQUIREMENT = "fastmcp==4.1.2"
ALSO = ("uvloop", "httptools")  # what makes uvicorn fast, which it does without otherwise

_PLAIN = """
import os
from fastmcp.server import create_proxy

proxy = create_proxy(os.environ["UPSTREAM"], name="bench")
app = proxy.http_app(path="/mcp", stateless_http=True, json_response=True)
"""

# A client that is connected already is used for all callers, which spares a handshake with the server for each call.
_ONE_SESSION = """
import contextlib
import os
from fastmcp import Client
from fastmcp.server import create_proxy

client = Client(os.environ["UPSTREAM"])
proxy = create_proxy(client, name="bench")
app = proxy.http_app(path="/mcp", stateless_http=True, json_response=True)
inner = app.router.lifespan_context

@contextlib.asynccontextmanager
async def lifespan(app):
    async with client, inner(app) as state:
        yield state

app.router.lifespan_context = lifespan
"""


def start(place: Place) -> contextlib.AbstractContextManager[Started]:
    return _run(place, _PLAIN)


def start_with_one_session(place: Place) -> contextlib.AbstractContextManager[Started]:
    return _run(place, _ONE_SESSION)


@contextlib.contextmanager
def _run(place: Place, program: str) -> Iterator[Started]:
    (place.folder / "proxied.py").write_text(program, encoding="utf-8")
    at = port()
    command = ("python", "-m", "uvicorn", "proxied:app", "--port", str(at), *SERVER)
    with place.run(command, {"UPSTREAM": place.upstream}) as child:
        yield Started(child, at, call("/mcp", "echo"))
