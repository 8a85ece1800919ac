"""MCP servers for the measurement of health checks: many that are well, some that hang, reset or lie, each on a port of its own.

`python -m bench.health_servers WELL HANG RESET LIE` prints the ports of each kind as one line of JSON and serves until it ends.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys

import orjson

from bench import echo

KINDS = ("well", "hang", "reset", "lie")
_HEAD = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"


async def main(counts: list[int]) -> None:
    servers = []
    ports: dict[str, list[int]] = {}
    for kind, count in zip(KINDS, counts, strict=True):
        ports[kind] = []
        for _ in range(count):
            server = await asyncio.start_server(_talker(kind), "127.0.0.1", 0, backlog=512)
            servers.append(server)
            ports[kind].append(server.sockets[0].getsockname()[1])
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _talker(kind: str):  # type: ignore[no-untyped-def]  # what asyncio.start_server takes
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _talk(kind, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return talk


async def _talk(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    body = await reader.readexactly(length)
    if kind == "hang":
        await reader.read()  # until the other side gives up
    elif kind == "reset":
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif kind == "lie":
        page = b"<html>Welcome!</html>"
        writer.write(_HEAD % (b"200 OK", b"text/html", len(page), page))
        await writer.drain()
    else:
        answer = echo.reply(orjson.loads(body))
        writer.write(_HEAD % (b"200 OK", b"application/json", len(answer), answer))
        await writer.drain()


if __name__ == "__main__":
    asyncio.run(main([int(each) for each in sys.argv[1:]]))
