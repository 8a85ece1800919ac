"""From a server's URL to a reply: the egress guard, one pool per checked address, and what may be retried.

The name is looked up at most every 30 seconds, in the background while the previous answer is in use; connections only ever
go to addresses that the guard has checked. Only a failure to connect, before any byte was sent, is tried again, once.
Closed on failure: a denied address gives no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from core import egress, failpoints
from core.errors import MarketplaceError, UnavailableError
from gateway.config import GatewayConfig
from gateway.upstream.credentials import UpstreamCredentials
from gateway.upstream.http1 import Connection, Pool, Reply, UpstreamBrokenError

RESOLVE_EVERY_S = 30.0
MAX_TARGETS = 2048
_LASTING_MIN = 2  # of each organisation, however few connections a server has
_USER_AGENT = b"mcp-marketplace-gateway/0.1"


class ServerBusyError(UnavailableError):
    code = "gateway.server_busy"
    default_message = "Too many calls to this server are under way."


@dataclass(slots=True, eq=False)
class Target:
    """One upstream URL: the constant head of its requests and the pool of its current address."""

    endpoint: egress.Endpoint
    post_head: bytes
    pool: Pool
    addresses: tuple[str, ...]
    resolved_at: float
    refreshing: bool = field(default=False)
    lasting: Counter[UUID] = field(default_factory=Counter)  # connections that streams without a natural end hold

    def head(self, method: bytes) -> bytes:
        return method + b" " + self.post_head.removeprefix(b"POST ")


class Upstreams:
    def __init__(self, config: GatewayConfig, credentials: UpstreamCredentials) -> None:
        self._config = config
        self.credentials = credentials  # as whom requests are made: their builders ask it for header lines
        self._loop = asyncio.get_running_loop()
        self._targets: dict[str, Target] = {}
        self._tls: ssl.SSLContext | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def target(self, url: str) -> Target:
        """Raises EgressRefusedError or NameUnresolvedError."""
        return self.known_target(url) or await self._open(url)

    def known_target(self, url: str) -> Target | None:
        """The same where the address was checked before."""
        target = self._targets.get(url)
        if target is None:
            return None
        if self._loop.time() - target.resolved_at > RESOLVE_EVERY_S and not target.refreshing:
            target.refreshing = True
            task = asyncio.create_task(self._refresh(url, target))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        return target

    async def exchange(self, target: Target, request: bytes) -> Reply:
        """Send one request and wait for the reply's headers; the caller closes the reply. Raises UpstreamBrokenError."""
        conn = target.pool.reusable()
        if conn is None:
            if target.pool.full:
                raise ServerBusyError
            conn = await self._connect(target)
        if failpoints.armed:
            failpoints.reach("before_upstream")
        return await self.await_reply(conn, conn.send(request))

    async def await_reply(self, conn: Connection, started: asyncio.Future[Reply]) -> Reply:
        """The reply to a request that was sent; nobody waits for it any longer when this raises."""
        try:
            return await started
        except BaseException:
            conn.abandon()
            raise

    @contextlib.contextmanager
    def lasting(self, target: Target, tenant_id: UUID) -> Iterator[None]:
        """While a stream without a natural end holds a connection: at most half of them, so that calls find one.

        One organisation has a quarter of that half, so that others can listen too. Raises ServerBusyError.
        """
        most = max(1, self._config.limits.connections_per_server // 2)
        if target.lasting.total() >= most or target.lasting[tenant_id] >= max(_LASTING_MIN, most // 4):
            raise ServerBusyError("Too many listen to this server.")
        target.lasting[tenant_id] += 1
        try:
            yield
        finally:
            target.lasting[tenant_id] -= 1
            if not target.lasting[tenant_id]:
                del target.lasting[tenant_id]

    async def close(self) -> None:
        for task in tuple(self._background):
            task.cancel()
        for target in self._targets.values():
            target.pool.close()

    def reap(self) -> None:
        for target in self._targets.values():
            target.pool.reap()

    async def _connect(self, target: Target) -> Connection:
        try:
            return await target.pool.connect()
        except UpstreamBrokenError:
            if len(target.addresses) > 1:
                turned = (*target.addresses[1:], target.addresses[0])
                self._move(target, turned)
            return await target.pool.connect()

    async def _open(self, url: str) -> Target:
        endpoint = egress.parse_url(url, self._config.egress_allow)
        addresses = await egress.resolve_async(endpoint, self._config.egress_allow)
        if (present := self._targets.get(url)) is not None:
            return present
        while len(self._targets) >= MAX_TARGETS:
            # Dropping a target only costs its idle connections; replies under way keep theirs.
            self._targets.pop(next(iter(self._targets))).pool.retire()
        target = Target(endpoint, post_head(endpoint), self._pool(endpoint, addresses[0]), addresses, self._loop.time())
        self._targets[url] = target
        return target

    async def _refresh(self, url: str, target: Target) -> None:
        try:
            addresses = await egress.resolve_async(target.endpoint, self._config.egress_allow)
        except egress.EgressRefusedError:
            self._targets.pop(url, None)
            target.pool.retire()
            return
        except MarketplaceError:
            # The name server is away: the checked addresses stay in use until it is back.
            addresses = target.addresses
        finally:
            target.refreshing = False
        target.resolved_at = self._loop.time()
        if set(addresses) != set(target.addresses):
            self._move(target, addresses)

    def _move(self, target: Target, addresses: tuple[str, ...]) -> None:
        target.pool.retire()
        target.addresses, target.pool = addresses, self._pool(target.endpoint, addresses[0])

    def _pool(self, endpoint: egress.Endpoint, address: str) -> Pool:
        tls = None
        if endpoint.scheme == "https":
            tls = self._tls = self._tls or _tls_context()
        return Pool(
            address,
            endpoint.port,
            tls=tls,
            name=endpoint.host,
            connect_s=self._config.deadlines.connect,
            tls_s=self._config.deadlines.tls,
            limit=self._config.limits.connections_per_server,
        )


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def post_head(endpoint: egress.Endpoint) -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\nuser-agent: %b\r\n" % (
        endpoint.path.encode(),
        endpoint.netloc.encode(),
        _USER_AGENT,
    )
