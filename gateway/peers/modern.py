"""Closed: a reply that is no answer to this request is an error, never passed off as one.

A server of the modern revision, asked without a client's bytes at hand: the request is built here, with its routing headers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator

from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.mcp import lossless, outcomes, sse, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import ENDLESS, NAME_KEYS
from gateway.peers import Ask, Json
from gateway.upstream import attempts, wire
from gateway.upstream.client import Target, Upstreams
from gateway.upstream.http1 import Reply

# A modern server says these with an HTTP error status; anything else there comes from a server that did not understand.
MODERN_ERRORS = frozenset({-32020, -32021, -32022, -32601, -32602, -32603})


class NotModernError(Exception):
    """The server refused the request as one that it cannot read, and therefore did nothing."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class ModernPeer:
    def __init__(self, config: GatewayConfig, upstreams: Upstreams) -> None:
        self._config, self._upstreams = config, upstreams

    async def ask(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        """As `Peer.ask`. Raises NotModernError too, before anything was yielded."""
        assert call.server is not None
        deadlines = self._config.deadlines
        idle = deadlines.stream if request.method in ENDLESS else deadlines.idle
        with await self._lasting(call, request):
            reply = await self._first_reply(call, request)
            try:
                call.watched.extend(idle)
                if wire.is_event_stream(reply) and reply.status == 200:
                    heard = functools.partial(call.watched.extend, idle)
                    async for event in wire.raw_events(reply, self._config.limits.reply_bytes, heard):
                        heard()
                        message = read_event(event)
                        if message is None or _is_foreign(message, request):
                            continue
                        call.note_upstream()
                        yield message
                        if "method" not in message:
                            return
                    if request.method in ENDLESS:
                        return
                    raise RefusedError("upstream.failed", detail="the stream ended without an answer")
                document = await self._document(reply, request)
                call.note_upstream()
                yield document
            finally:
                reply.close()
                call.note_upstream()

    async def _first_reply(self, call: CallContext, request: Ask) -> Reply:
        call.ask_upstream()
        try:
            return await attempts.first_reply(self._upstreams, call, functools.partial(self._request, request))
        except BaseException:
            call.note_upstream()
            raise

    async def _lasting(self, call: CallContext, request: Ask) -> contextlib.AbstractContextManager[None]:
        """The place of a stream without a natural end; nothing for other requests."""
        if request.method not in ENDLESS:
            return contextlib.nullcontext()
        return self._upstreams.lasting(await self._upstreams.target(call.url), call.tenant_id)

    async def _document(self, reply: Reply, request: Ask) -> Json:
        data = await reply.read_all(self._config.limits.reply_bytes)
        outcomes.require_welcome(reply.status)
        message = read_document(data) if wire.is_json(reply) else None
        if reply.status >= 400 and not is_understood(reply.status, message):
            raise NotModernError(reply.status)
        if message is None or not sse.is_answer(message):
            raise RefusedError("upstream.failed", detail=f"HTTP {reply.status}, no JSON-RPC answer")
        if _is_foreign(message, request) and not (reply.status >= 400 and "error" in message):
            raise RefusedError("upstream.failed", detail="the reply answers another request")
        return {**message, "id": request.request_id}

    def _request(self, request: Ask, target: Target, call: CallContext) -> bytes:
        body = lossless.dumps(
            {"jsonrpc": "2.0", "id": request.request_id, "method": request.method, "params": request.params}
        )
        version = str(request.params.get("_meta", {}).get(versions.META_VERSION, versions.FIRST_MODERN.decode()))
        lines = b"%bmcp-protocol-version: %b\r\nmcp-method: %b\r\n" % (
            self._upstreams.credentials.headers(call, body),
            versions.encode_header(version),
            versions.encode_header(request.method),
        )
        name = request.params.get(NAME_KEYS.get(request.method, ""))
        if isinstance(name, str):
            lines += b"mcp-name: %b\r\n" % versions.encode_header(name)
        head = b"%b%b%b%bcontent-length: %d\r\n\r\n" % (
            target.post_head,
            wire.POST_TYPES,
            lines,
            request.headers,
            len(body),
        )
        return head + body


def is_understood(status: int, message: Json | None) -> bool:
    """Whether an error status comes from a server that knew what it was asked."""
    error = message.get("error") if message is not None else None
    if isinstance(error, dict) and error.get("code") in MODERN_ERRORS:
        return True
    return status in {401, 403, 407, 429} or status >= 500


def read_document(data: bytes) -> Json | None:
    """The one JSON object of a reply; None when it is none."""
    try:
        message = lossless.loads(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def read_event(event: bytes) -> Json | None:
    """The message of an event, None for comments. Raises RefusedError for what is no message."""
    data = sse.data_of(event)
    if not data:
        return None
    message = read_document(data)
    if message is None:
        raise RefusedError("upstream.failed", detail="an event of the stream is not a JSON object")
    return message


def _is_foreign(message: Json, request: Ask) -> bool:
    """An answer to another request, or a request: a modern server sends neither."""
    if "method" in message:
        return "id" in message
    theirs = message.get("id")
    return type(theirs) is not type(request.request_id) or theirs != request.request_id
