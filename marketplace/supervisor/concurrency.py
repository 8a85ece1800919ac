"""Awaiting several things without leaving any behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Await all; the first failure cancels the rest and is raised as itself, not in a group."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        await settle(*tasks)


async def unless_fails(work: Coroutine[Any, Any, None], other: asyncio.Future[None]) -> None:
    """Await the work; when the other, which goes on beside it, fails meanwhile, that ends the work too."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            awaited = {task} if other.done() else {task, other}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if other.done():
                other.result()
        task.result()
    finally:
        await settle(task)


async def settle(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
