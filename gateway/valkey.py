"""Open: what goes wrong while connections to Valkey are closed concerns nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

import redis.asyncio as redis


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End tasks that use a client."""
    pending = set(tasks)
    while pending:
        # Again and again: a client library that times out at the same moment swallows a cancellation.
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=0.5)
        for task in done:
            if not task.cancelled():
                task.exception()  # nobody else asks what became of it


async def close(client: redis.Redis) -> None:
    """Close a client and its connections. Never raises, so that whatever is closed after it is closed too.

    A goodbye has the time of a connect, which a busy process may miss; the socket is closed on this side all the same.
    """
    with contextlib.suppress(redis.RedisError, OSError, TimeoutError):
        await client.aclose()
