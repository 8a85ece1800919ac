"""A loopback forwarder for clients that cannot send an API key: adds it to every request, and changes nothing else.

Host and Origin stay as the client sent them, so that what a rebound name gets is the answer of the gateway. One request per
connection: after the head, bytes flow both ways unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator

_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_MAX_HEAD = 64 * 1024


@contextlib.contextmanager
def adding_key(port: int, token: str) -> Iterator[int]:
    """A port in front of `port` whose visitors have the key."""
    extra = b"\r\nauthorization: Bearer %b\r\nconnection: close\r\n\r\n" % token.encode()
    ready, loop, bound = threading.Event(), asyncio.new_event_loop(), [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            far_writer.write(_CONNECTION.sub(b"", head[:-4]) + extra)
            await _both_ways(reader, writer, far_reader, far_writer)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_MAX_HEAD)
        bound[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        others = asyncio.all_tasks(loop)
        for other in others:
            other.cancel()
        if others:
            loop.run_until_complete(asyncio.wait(others))
        loop.close()

    task = loop.create_task(main())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield bound[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Until one side has ended: a client that leaves is seen to leave, and an answer that ends ends the connection."""
    flows = {asyncio.ensure_future(_flow(reader, far_writer)), asyncio.ensure_future(_flow(far_reader, writer))}
    try:
        await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for flow in flows:
            flow.cancel()
        await asyncio.gather(*flows, return_exceptions=True)
        far_writer.close()


async def _flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
