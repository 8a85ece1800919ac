"""`POST /v1/token`: an API key becomes a short-lived access token, for a process that should not hold the key itself.

The token never gives more than the key: scopes and servers may only be fewer, it ends with the key, and a token cannot be
exchanged again. Nothing is stored; what the token stands for is looked up at every use.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

import orjson

from core import clock, ids, tokens
from core.signing import Signer
from gateway import answers
from gateway.answers import Send
from gateway.config import GatewayConfig
from gateway.context import CallContext, Caller
from gateway.mcp import messages
from gateway.mcp.errors import RefusedError
from gateway.pipeline import Pipeline
from gateway.watch import Watch

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_LIFE_S = 600
DEFAULT_LIFE_S = 300
_MIN_LIFE_S = 10
_MAX_SERVERS = 50
_MAX_BODY = 16 * 1024
_KEYS = frozenset({"expires_in", "scope", "servers"})


class TokenExchange:
    def __init__(self, config: GatewayConfig, pipeline: Pipeline, watch: Watch, signer: Callable[[], Signer]) -> None:
        self._config, self._pipeline, self._watch, self._signer = config, pipeline, watch, signer
        self._pace = Pace(config.limits.tokens_per_minute)

    async def handle(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        call = CallContext("", "token", self._watch.request())
        try:
            with call.watched:
                if scope["method"] != "POST":
                    raise RefusedError("gateway.method_not_allowed")
                await self._pipeline.receive(call, scope, receive)
                body = self._issue(call)
                await answers.send_json(call, send, 200, body, more=[(b"cache-control", b"no-store")])
        except Exception as exc:  # noqa: BLE001 - translated in one place
            await self._pipeline.answer_failure(call, exc, send)

    def _issue(self, call: CallContext) -> bytes:
        caller = call.caller
        assert caller is not None
        if caller.credential != "key":
            raise RefusedError("access.key_needed")
        if not self._pace.allows(caller.key.api_key_id):
            raise RefusedError("access.tokens_too_often")
        wish = self._wish(call.body)
        life = _life(wish.get("expires_in", DEFAULT_LIFE_S), caller)
        scope = " ".join(sorted(_scopes(wish.get("scope"), caller)))
        claims = {
            "iss": self._config.public_url,
            "sub": str(caller.key.user_id or caller.key.api_key_id),
            "tenant": str(caller.tenant.tenant_id),
            "key": caller.key.key_id,
            "aud": self._audience(wish.get("servers")),
            "scope": scope,
            "iat": int(call.occurred_at.timestamp()),
            "exp": int(call.occurred_at.timestamp()) + life,
            "jti": str(ids.uuid7()),
        }
        token = tokens.sign(claims, self._signer())
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": life, "scope": scope}
        return orjson.dumps(answer)

    def _wish(self, body: bytes) -> dict[str, Any]:
        if not body.strip():
            return {}
        if len(body) > _MAX_BODY:
            raise RefusedError("gateway.too_large")
        data, defect = messages.read_object(body, self._config.limits.json_depth)
        if defect is not None:
            raise defect
        if unknown := sorted(set(data) - _KEYS):
            raise RefusedError("gateway.request_invalid", f"Unknown members: {', '.join(unknown)[:200]}.")
        return data

    def _audience(self, servers: Any) -> list[str]:
        if servers is None:
            return [self._config.public_url]
        if not isinstance(servers, list) or not 0 < len(servers) <= _MAX_SERVERS:
            raise RefusedError("gateway.request_invalid", f"`servers` is a list of 1 to {_MAX_SERVERS} names.")
        if not all(isinstance(name, str) and self._config.paths.server_of(f"/mcp/{name}") for name in servers):
            raise RefusedError("gateway.request_invalid", "`servers` holds names of servers.")
        return [f"{self._config.public_url}/mcp/{name}" for name in servers]


class Pace:
    """So many in a minute for each key, counted in this process; the counts of the last minute are all that is kept."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute, self._counts = 0, dict[UUID, int]()

    def allows(self, key: UUID) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] <= self._per_minute


def _life(wanted: Any, caller: Caller) -> int:
    """Seconds that the token lives: as wanted, and never longer than its key."""
    if type(wanted) is not int or not _MIN_LIFE_S <= wanted <= MAX_LIFE_S:
        raise RefusedError(
            "gateway.request_invalid", f"`expires_in` is a number of {_MIN_LIFE_S} to {MAX_LIFE_S} seconds."
        )
    if caller.key.expires_at is None:
        return wanted
    return max(1, min(wanted, int((caller.key.expires_at - clock.now()).total_seconds())))


def _scopes(wanted: Any, caller: Caller) -> frozenset[str]:
    if wanted is None:
        return caller.key.scopes
    if not isinstance(wanted, str) or not wanted.split():
        raise RefusedError("gateway.request_invalid", "`scope` is a text of scopes with spaces between them.")
    scopes = frozenset(wanted.split())
    if not scopes <= caller.key.scopes:
        raise RefusedError("gateway.request_invalid", "`scope` asks for more than the key has.")
    return scopes
