"""Questions that only a working server answers. A probe says False; it does not raise."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from marketplace.supervisor.ports import LOOPBACK
from marketplace.supervisor.process import ManagedProcess

_PROBE_TIMEOUT_S = 2.0


async def postgres_answers(url: str) -> bool:
    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=2)
        async with connection:
            await connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


async def valkey_answers(port: int, password: str) -> bool:
    """PONG means loaded: while it reads its log, Valkey takes connections and answers LOADING."""
    answer = await _exchange(port, f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode())
    return b"+PONG" in answer


async def http_status(port: int, path: str, *, public_url: str) -> int | None:
    """The status of a GET on a loopback port, asked under the public host name; None without answer."""
    url = urlsplit(public_url)
    headers = f"Host: {url.netloc}\r\nX-Forwarded-Proto: {url.scheme}\r\nConnection: close"
    request = f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n"
    words = (await _exchange(port, request.encode())).split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


class Heartbeat:
    """A file that a working process touches: asked again, it says whether that happened in between.

    The times of two looks are compared with each other and never with a clock, which may be set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: int | None = None

    def has_beaten(self) -> bool:
        try:
            found = self._path.stat().st_mtime_ns
        except OSError:
            return False
        beaten, self._seen = found != self._seen, found
        return beaten


def said(process: ManagedProcess, words: str) -> bool:
    """Whether the process wrote the words to its log since it was started."""
    return words in process.log.text_since(process.log_start)


async def _exchange(port: int, request: bytes) -> bytes:
    """Send a request and read the answer to its end; empty when there is none in time."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(request)
                return await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
