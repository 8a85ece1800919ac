"""ContextForge: the server registered as a gateway, its tool offered by a virtual server."""

from __future__ import annotations

import contextlib
import secrets
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import jwt

from bench.harness import BenchError
from bench.rivals.place import SERVER, START_WITHIN_S, Place, Started, ask, call, port

REQUIREMENT = "mcp-contextforge-gateway"
_ADMIN = "admin@bench.example"


@contextlib.contextmanager
def start(place: Place) -> Iterator[Started]:
    at, secret = port(), secrets.token_hex(24)
    command = ("python", "-m", "uvicorn", "mcpgateway.main:app", "--port", str(at), *SERVER)
    with place.run(command, _settings(place, secret)) as child:
        child.wait_until(partial(_is_healthy, at), deadline_s=START_WITHIN_S)
        token = _token(secret)
        server = _register(at, token, place.upstream)
        yield Started(child, at, call(f"/servers/{server}/mcp", "bench-echo", token))


def _settings(place: Place, secret: str) -> dict[str, str]:
    password = f"Bench-1!{secrets.token_hex(16)}"
    off = ("PLUGINS_ENABLED", "OBSERVABILITY_ENABLED", "STRUCTURED_LOGGING_ENABLED", "TOKEN_USAGE_LOGGING_ENABLED")
    off += ("RATE_LIMITING_ENABLED", "MCPGATEWAY_UI_ENABLED")
    return {
        "DATABASE_URL": f"sqlite:///{place.folder / 'contextforge.db'}",
        "CACHE_TYPE": "memory",
        "LOG_LEVEL": "ERROR",
        "JWT_SECRET_KEY": secret,
        "AUTH_ENCRYPTION_SECRET": secrets.token_hex(24),
        "BASIC_AUTH_PASSWORD": password,
        "PLATFORM_ADMIN_EMAIL": _ADMIN,
        "PLATFORM_ADMIN_PASSWORD": password,
        "SSRF_ALLOW_LOCALHOST": "true",
        "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
        "TOOL_RATE_LIMIT": "1000000",
        "TOOL_CONCURRENT_LIMIT": "1000",
        **dict.fromkeys(off, "false"),
    }


def _is_healthy(at: int) -> bool:
    return ask(at, "GET", "/health") is not None


def _token(secret: str) -> str:
    now = int(time.time())
    claims = {
        "sub": _ADMIN,
        "iat": now,
        "exp": now + 86_400,
        "jti": str(uuid.uuid4()),
        "aud": "mcpgateway-api",
        "iss": "mcpgateway",
        "is_admin": True,
        "teams": None,
        "token_use": "session",
        "user": {"email": _ADMIN, "full_name": "Bench", "is_admin": True, "auth_provider": "local"},
    }
    return jwt.encode(claims, secret, "HS256")


def _register(at: int, token: str, upstream: str) -> str:
    """The id of a virtual server with the tool. Raises BenchError."""
    headers = {"Authorization": f"Bearer {token}"}
    gateway = {"name": "bench", "url": upstream, "transport": "STREAMABLEHTTP", "visibility": "public"}
    tools: Any = None
    if ask(at, "POST", "/gateways", gateway, headers):
        tools = ask(at, "GET", "/tools", headers=headers)
    if not tools:
        raise BenchError("ContextForge does not take the server.")
    server = {"name": "bench", "associated_tools": [tools[0]["id"]], "visibility": "public"}
    made = ask(at, "POST", "/servers", {"server": server}, headers)
    if not made:
        raise BenchError("ContextForge does not make a virtual server.")
    return str(made["id"])
