"""Closed: when none of a server's addresses may be tried, the call is refused at once with the time of the next attempt.

Calls go round the addresses in turn. One whose breaker is open is passed over, but never more than half of them: when most seem
broken it may well be the network on our side, and the last ones would be crushed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from gateway.admission.breaker import Breaker, BreakerConfig, State
from gateway.context import CallContext


class Endpoint:
    __slots__ = ("breaker", "url")

    def __init__(self, url: str, config: BreakerConfig) -> None:
        self.url, self.breaker = url, Breaker(config)


class Endpoints:
    """The addresses of one server. An address that stays keeps what is known of it when others come and go."""

    __slots__ = ("_config", "_down_at", "_next", "_urls", "each")

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._urls: Sequence[str] = ()
        self._down_at: datetime | None = None
        self._next = 0
        self.each: list[Endpoint] = []

    def set(self, urls: Sequence[str]) -> None:
        if urls != self._urls:
            known = {endpoint.url: endpoint for endpoint in self.each}
            self.each = [known.get(url) or Endpoint(url, self._config) for url in dict.fromkeys(urls)]
            self._urls = urls

    def note_down(self, down_at: datetime | None, now: float) -> None:
        """When the marketplace's checks found the server down, None when they did not: each time is a warning of its own.

        Only of a server with one address, because checks ask the first only.
        """
        if down_at != self._down_at:
            self._down_at = down_at
            if down_at is None:
                for endpoint in self.each:
                    endpoint.breaker.warned = False
            elif len(self.each) == 1:
                self.each[0].breaker.warn(now)

    @property
    def healthy(self) -> Endpoint | None:
        """The only endpoint, when there is one alone and nothing is held against it."""
        each = self.each
        return each[0] if len(each) == 1 and each[0].breaker.state is State.CLOSED else None

    def choose(self, now: float, wanted: str = "", avoided: str = "") -> Endpoint | None:
        """The endpoint whose turn it is; `wanted` when it is one of them; `avoided` only when there is no other."""
        if len(self.each) == 1:
            endpoint = self.each[0]
            return None if endpoint.breaker.blocked_s(now) else endpoint
        if wanted:
            for endpoint in self.each:
                if endpoint.url == wanted:
                    return None if endpoint.breaker.blocked_s(now) else endpoint
        usable = self._usable(now)
        others = [endpoint for endpoint in usable if endpoint.url != avoided] or usable
        if not others:
            return None
        self._next += 1
        return others[self._next % len(others)]

    def blocked_s(self, now: float) -> float:
        """Seconds until the first endpoint may be tried again."""
        return min((endpoint.breaker.blocked_s(now) for endpoint in self.each), default=0.0)

    def _usable(self, now: float) -> list[Endpoint]:
        blocked = [(endpoint.breaker.blocked_s(now), index) for index, endpoint in enumerate(self.each)]
        out = sorted((item for item in blocked if item[0] > 0), reverse=True)
        if len(out) == len(self.each):
            return []
        ejected = {index for _, index in out[: len(self.each) // 2]}
        return [endpoint for index, endpoint in enumerate(self.each) if index not in ejected]


def tie(session: bytes, call: CallContext) -> bytes:
    """A server's session id with the address it lives at, before it is sealed; as it is when there is one address only."""
    return b"%b~%b" % (_tag(call.url), session) if call.server is not None and call.server.urls else session


def untie(session: bytes, call: CallContext) -> bytes:
    """The server's own id; the call goes to the address that it lives at. An id from before there were several is the first's."""
    server = call.server
    if server is None or not server.urls:
        return session
    tag, mark, own = session.partition(b"~")
    for url in (server.url, *server.urls):
        if mark and _tag(url) == tag:
            call.url = call.url_wanted = url
            return own
    call.url_wanted = server.url
    return session


@lru_cache(maxsize=4096)
def _tag(url: str) -> bytes:
    return hashlib.sha256(url.encode()).hexdigest()[:8].encode()
