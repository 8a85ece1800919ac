"""Closed: what may have had an effect is sent once; a second attempt comes from the ticket's budget or not at all.

The attempts at one request to a server, the same whether a client's bytes are passed on or the gateway asks itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.admission import retries
from gateway.context import CallContext
from gateway.mcp import outcomes
from gateway.mcp.errors import RefusedError
from gateway.upstream.client import Target, Upstreams
from gateway.upstream.http1 import Reply, UpstreamBrokenError

Make = Callable[[Target, CallContext], bytes]


async def first_reply(
    upstreams: Upstreams, call: CallContext, make: Make, under_way: Awaitable[Reply] | None = None
) -> Reply:
    """The head of the server's reply; what may be sent twice is, once, when the first attempt came to nothing.

    `make` builds the request for the address that is tried. The first attempt may be `under_way` already. Raises as
    `Upstreams.exchange` does.
    """
    while True:
        if under_way is None:
            call.attempts += 1
            target = upstreams.known_target(call.url) or await upstreams.target(call.url)
            under_way = upstreams.exchange(target, make(target, call))
        try:
            reply = await under_way
        except UpstreamBrokenError as exc:
            if not retries.is_harmless(call, exc) or call.attempts >= retries.MAX_ATTEMPTS or not _repeat(call):
                raise
            await asyncio.sleep(retries.jitter())
            under_way = None
            continue
        outcomes.note_status(call, reply)
        if reply.status < 429 or (pause := retries.pause_after(call, reply.status)) is None:
            return reply
        if not _repeat(call):
            return reply
        reply.close()
        under_way = None
        await asyncio.sleep(pause)


async def again(call: CallContext, failure: Exception) -> bool:
    """Whether a request that failed so within a session may be sent once more; the pause before that is over then."""
    pause: float | None = None
    if isinstance(failure, UpstreamBrokenError):
        if retries.is_harmless(call, failure) and call.attempts < retries.MAX_ATTEMPTS:
            pause = retries.jitter()
    elif isinstance(failure, RefusedError) and failure.error_code == "upstream.failed":
        pause = retries.pause_after(call, call.status)
    if pause is None or not _repeat(call):
        return False
    call.attempts = max(call.attempts, 1)  # no session came about, but one was asked for
    await asyncio.sleep(pause)
    return True


def _repeat(call: CallContext) -> bool:
    return call.ticket is not None and call.ticket.repeat(call)
