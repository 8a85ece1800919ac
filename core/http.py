"""HTTP clients for the control plane: syncs, health checks, webhooks. Never a bare `httpx.Client`.

Every connection goes to an address that `core.egress` checked, with the name kept for TLS and the Host header. Redirects are
not followed, proxies from the environment are ignored, replies are cut at a stated size, and no connection is kept, because
two names behind one address must not share a TLS session. The hot path has its own client in `gateway.upstream`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx

from core import egress
from core.errors import UpstreamError

TIMEOUT = httpx.Timeout(10.0, connect=3.0)
MAX_REPLY_BYTES = 10 * 1024 * 1024
_CONNECTIONS = 20
_NO_KEEPALIVE = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0)
_USER_AGENT = "mcp-marketplace/0.1"


class ReplyTooLargeError(UpstreamError):
    code = "core.reply_too_large"
    default_message = "The server's answer is larger than is accepted."


def client(
    allow: egress.AllowList = frozenset(),
    *,
    timeout: httpx.Timeout | float = TIMEOUT,
    max_reply_bytes: int = MAX_REPLY_BYTES,
    headers: dict[str, str] | None = None,
) -> httpx.Client:
    """A guarded synchronous client; `allow` lists the private hosts that the operator opened."""
    return httpx.Client(
        transport=GuardedTransport(allow, max_reply_bytes),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        headers={"user-agent": _USER_AGENT, **(headers or {})},
    )


def async_client(
    allow: egress.AllowList = frozenset(),
    *,
    timeout: httpx.Timeout | float = TIMEOUT,
    max_reply_bytes: int = MAX_REPLY_BYTES,
    headers: dict[str, str] | None = None,
) -> httpx.AsyncClient:
    """The same for coroutines."""
    return httpx.AsyncClient(
        transport=AsyncGuardedTransport(allow, max_reply_bytes),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        headers={"user-agent": _USER_AGENT, **(headers or {})},
    )


@asynccontextmanager
async def async_clients(
    allow: egress.AllowList = frozenset(),
    *,
    connections: int,
    times: httpx.Timeout = TIMEOUT,
    max_reply_bytes: int = MAX_REPLY_BYTES,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Callable[[], httpx.AsyncClient]]:
    """A maker of guarded clients for asking many hosts: they share sockets' number and one TLS context, but no cookies.

    The clients need not be closed. `tls` replaces the usual authorities.
    """
    async with AsyncGuardedTransport(allow, max_reply_bytes, connections, tls) as transport:
        yield lambda: httpx.AsyncClient(
            transport=transport,
            timeout=times,
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": _USER_AGENT},
        )


class GuardedTransport(httpx.BaseTransport):
    def __init__(self, allow: egress.AllowList, max_reply_bytes: int) -> None:
        self._allow, self._max_bytes = allow, max_reply_bytes
        self._inner = httpx.HTTPTransport(limits=_NO_KEEPALIVE, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        endpoint = egress.parse_url(str(request.url), self._allow)
        addresses = egress.resolve(endpoint, self._allow)
        response = self._inner.handle_request(_pinned(request, endpoint, addresses[0]))
        stream = response.stream
        assert isinstance(stream, httpx.SyncByteStream)
        return _with_stream(response, _CappedStream(stream, self._max_bytes))

    def close(self) -> None:
        self._inner.close()


class AsyncGuardedTransport(httpx.AsyncBaseTransport):
    def __init__(
        self,
        allow: egress.AllowList,
        max_reply_bytes: int,
        connections: int = _CONNECTIONS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow, self._max_bytes = allow, max_reply_bytes
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=tls or True, limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        endpoint = egress.parse_url(str(request.url), self._allow)
        addresses = await egress.resolve_async(endpoint, self._allow)
        response = await self._inner.handle_async_request(_pinned(request, endpoint, addresses[0]))
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        return _with_stream(response, _AsyncCappedStream(stream, self._max_bytes))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pinned(request: httpx.Request, endpoint: egress.Endpoint, address: str) -> httpx.Request:
    """The same request, addressed to the checked address; TLS still verifies the name."""
    headers = [
        (name, value) for name, value in request.headers.raw if name.lower() not in {b"host", b"accept-encoding"}
    ]
    headers += [(b"Host", endpoint.netloc.encode()), (b"Accept-Encoding", b"identity")]
    url = request.url.copy_with(scheme=endpoint.scheme, host=address, port=endpoint.port)
    extensions = {**request.extensions, "sni_hostname": endpoint.host}
    return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=extensions)


def _with_stream(response: httpx.Response, stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> httpx.Response:
    if "content-encoding" in response.headers:
        # Nothing but identity was asked for; unpacking an unasked encoding is how small replies become huge.
        raise UpstreamError("The server compressed an answer that was not to be compressed.")
    return httpx.Response(response.status_code, headers=response.headers, stream=stream, extensions=response.extensions)


class _CappedStream(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, max_bytes: int) -> None:
        self._inner, self._left = inner, max_bytes

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise ReplyTooLargeError
            yield chunk

    def close(self) -> None:
        self._inner.close()


class _AsyncCappedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, max_bytes: int) -> None:
        self._inner, self._left = inner, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise ReplyTooLargeError
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
