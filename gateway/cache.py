"""Open: what is not held is asked for; what is held is used only where the server itself said that it may be.

Results of lists, of discovery and of reads, for as long as the server's `ttlMs` says. `cacheScope: public` serves every caller of
that version of the server, anything else only the same key of the same organisation. The text is kept as the server sent it, so
the answer from here is the same but for its id and the time that is left. It is decided and recorded like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway.context import CallContext
from gateway.mcp import splice, versions
from gateway.upstream.credentials import account_of

METHODS = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)
# A notification that says so makes these results stale.
_STALE = {
    "notifications/tools/list_changed": frozenset({"tools/list"}),
    "notifications/prompts/list_changed": frozenset({"prompts/list"}),
    "notifications/resources/list_changed": frozenset({"resources/list", "resources/templates/list"}),
}
_UPDATED = "notifications/resources/updated"
_PARAMS = frozenset({"_meta", "cursor", "uri"})
# Members of `_meta` that no result depends on. A request with others is not understood well enough to be answered from here.
_INDIFFERENT = frozenset(
    {
        versions.META_CLIENT,
        "io.modelcontextprotocol/logLevel",
        "progressToken",
        "traceparent",
        "tracestate",
        "baggage",
    }
)
_DECIDING = frozenset({versions.META_VERSION, versions.META_CAPABILITIES})
LONGEST_S = 3600.0
_LONG = 4096
PATIENCE_S = 5.0  # for somebody else's question; after that a caller asks for itself
MAX_BYTES = 64 * 1024 * 1024
MAX_RESULT_BYTES = 2 * 1024 * 1024
MAX_RESULTS = 8192

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """One answer, cut where the id and the time that is left stand."""

    text: str
    request_id: tuple[int, int]
    ttl: tuple[int, int]
    until: float

    def answer(self, request_id: Any, now: float) -> bytes:
        """The answer to a request of that id."""
        left = max(int((self.until - now) * 1000), 0)
        changes = [(*self.request_id, orjson.dumps(request_id).decode()), (*self.ttl, str(left))]
        return splice.replace(self.text, changes).encode()


class ResultCache:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._held: dict[Key, Held] = {}
        self._bytes = 0
        # Questions under way whose last answer was held: others wait for theirs instead of asking as well.
        self._asking: dict[Key, asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, call: CallContext) -> AsyncIterator[bytes | None]:
        """The answer that is held; None when this call is to ask, and meanwhile the only one to ask that."""
        own = _key(call)
        if own is None:
            yield None
            return
        for key in (own, _shared(own)):
            if (waited := self._asking.get(key)) is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(waited.wait(), PATIENCE_S)
            if (held := self._find(key)) is not None:
                yield held.answer(call.request_id, self._loop.time())
                return
        stale = next((key for key in (own, _shared(own)) if key in self._held and key not in self._asking), None)
        if stale is None:
            yield None
            return
        done = self._asking[stale] = asyncio.Event()
        try:
            yield None
        finally:
            del self._asking[stale]
            done.set()

    def note(self, call: CallContext, message: dict[str, Any], data: bytes) -> None:
        """Keep an answer as the server sent it, when the server allows that."""
        key, result = _key(call), message.get("result")
        if key is None or not isinstance(result, dict) or len(data) > MAX_RESULT_BYTES:
            return
        ttl = result.get("ttlMs")
        is_complete = result.get("resultType", "complete") == "complete"
        if not is_complete or not isinstance(ttl, int) or isinstance(ttl, bool) or ttl <= 0:
            return
        with contextlib.suppress(UnicodeDecodeError, splice.UnreadableError, KeyError):
            text = data.decode()
            envelope = splice.members(text)
            left = splice.members(text, envelope["result"].start)["ttlMs"]
            until = self._loop.time() + min(ttl / 1000, LONGEST_S)
            held = Held(text, (envelope["id"].start, envelope["id"].end), (left.start, left.end), until)
            self._keep(_shared(key) if result.get("cacheScope") == "public" else key, held)
            for each in (key, _shared(key)):
                # Who waits does not also wait until this caller has taken in its answer.
                if (asking := self._asking.get(each)) is not None:
                    asking.set()

    def hear(self, server_id: UUID, message: dict[str, Any] | None) -> None:
        """A server's notification: what it makes stale is forgotten, whoever it was held for."""
        method = message.get("method") if message is not None else None
        if method == _UPDATED and message is not None:
            params = message.get("params")
            uri = params.get("uri") if isinstance(params, dict) else None
            self._forget(server_id, lambda key: key[3] == "resources/read" and key[4] == uri)
        elif method in _STALE:
            self._forget(server_id, lambda key: key[3] in _STALE[method])

    def _forget(self, server_id: UUID, is_stale: Any) -> None:
        for key in [key for key in self._held if key[1] == server_id and is_stale(key)]:
            self._drop(key)

    def _find(self, key: Key) -> Held | None:
        held = self._held.get(key)
        return held if held is not None and self._loop.time() < held.until else None

    def _keep(self, key: Key, held: Held) -> None:
        self._drop(key)
        self._held[key] = held
        self._bytes += len(held.text)
        while self._bytes > MAX_BYTES or len(self._held) > MAX_RESULTS:
            self._drop(next(iter(self._held)))

    def _drop(self, key: Key) -> None:
        gone = self._held.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.text)


def _key(call: CallContext) -> Key | None:
    """What an answer depends on, for this caller; None when it depends on more than is known here."""
    message, caller, server = call.message, call.caller, call.server
    if message is None or caller is None or server is None or message.method not in METHODS or not call.modern:
        return None
    params, meta = message.params, message.params.get("_meta", {})
    if not params.keys() <= _PARAMS or not isinstance(meta, dict) or not meta.keys() <= _INDIFFERENT | _DECIDING:
        return None
    uri, cursor = params.get("uri"), params.get("cursor")
    client = orjson.dumps([cursor, *(meta.get(key) for key in sorted(_DECIDING))], option=orjson.OPT_SORT_KEYS)
    if len(client) > _LONG:
        # What a client says of itself may be long, and is kept for as long as the answer.
        client = hashlib.sha256(client).digest()
    if uri is not None and (not isinstance(uri, str) or len(uri) > _LONG):
        return None
    owner = (caller.tenant.tenant_id, caller.key.key_id, account_of(call))
    return owner, server.server_id, server.revision, message.method, uri, client


def _shared(key: Key) -> Key:
    return (None, *key[1:])
