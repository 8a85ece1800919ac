"""An MCP server that counts what it executed, and answers badly when told to."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import ssl
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import clock

ODD_REPLIES: dict[str, tuple[str, bytes]] = {
    "half a document": ("application/json", b'{"jsonrpc":"2.0","id":'),
    "another id": ("application/json", b'{"jsonrpc":"2.0","id":"somebody-else","result":{"content":[]}}'),
    "no result": ("application/json", b'{"jsonrpc":"2.0","id":1}'),
    "a page": ("text/html", b"<html>200 and no answer</html>"),
    "bytes that are no text": ("application/json", b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xff\xfe"}}'),
    "not a number": ("application/json", b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}'),
    "nothing": ("application/json", b""),
    "a list": ("application/json", b"[]"),
}


@dataclass
class CountingServer:
    """`executed` counts runs of each nonce; `call_ids` are the gateway's ids of what arrived."""

    port: int = 0
    tls_port: int = 0  # the same behind a certificate that nobody trusts
    executed: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    call_ids: set[str] = field(default_factory=set)
    requests: int = 0
    failing_share: float = 0.0  # of requests, answered 500
    too_many_share: float = 0.0  # of requests, answered 429
    delay_s: float = 0.0
    odd: str = ""
    giant: str = ""  # "", "length", "gzip" or "stream"
    open_connections: int = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tls = await asyncio.start_server(self._serve, "127.0.0.1", self.tls_port, ssl=_untrusted())
        self.tls_port = self._tls.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self._tls.close()

    def heal(self) -> None:
        self.failing_share = self.too_many_share = self.delay_s = 0.0
        self.odd = self.giant = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError, ValueError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    headers = dict(_header(line) for line in head.split(b"\r\n")[1:] if b":" in line)
                    body = await reader.readexactly(int(headers.get("content-length", "0")))
                    await self._answer(headers, json.loads(body), writer)
                    await writer.drain()
        finally:
            self.open_connections -= 1
            writer.close()

    async def _answer(self, headers: dict[str, str], message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if random.random() < self.failing_share:
            return _write(writer, 500, b"broken", "text/plain")
        if random.random() < self.too_many_share:
            return _write(writer, 429, b"slow down", "text/plain", "retry-after: 1")
        if message.get("method") == "tools/call":
            self._note(headers, message)
        if self.odd:
            kind, data = ODD_REPLIES[self.odd]
            return _write(writer, 200, data, kind)
        if self.giant:
            return await self._write_giant(writer)
        if message.get("method") == "tools/call" and message["params"]["name"] == "stream":
            return await _stream(writer, message)
        return _write(writer, 200, json.dumps(_result(message)).encode(), "application/json")

    def _note(self, headers: dict[str, str], message: dict[str, Any]) -> None:
        nonce = message["params"]["arguments"]["nonce"]
        self.executed[nonce] += 1
        if message["params"]["name"] == "write":
            self.writes[nonce] += 1
        self.call_ids.add(headers.get("x-marketplace-call-id", ""))

    async def _write_giant(self, writer: asyncio.StreamWriter) -> None:
        if self.giant == "gzip":
            return _write(writer, 200, gzip.compress(b" " * 20_000_000), "application/json", "content-encoding: gzip")
        kind = "text/event-stream" if self.giant == "stream" else "application/json"
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(2_000):
            part = b"data: " + b"x" * 60_000 if self.giant == "length" else b": " + b"x" * 60_000 + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        return None


def _untrusted() -> ssl.SSLContext:
    """A certificate of its own making, for another name, that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere.example")])
    now = clock.now()
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=9)).not_valid_after(now - timedelta(days=1))
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + private)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _header(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.lower(), value.strip()


def _result(message: dict[str, Any]) -> dict[str, Any]:
    nonce = message.get("params", {}).get("arguments", {}).get("nonce", "")
    result = {"content": [{"type": "text", "text": nonce}], "isError": False, "resultType": "complete"}
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": result}


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str, *extra: str) -> None:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}", *extra, "", ""]
    writer.write("\r\n".join(lines).encode() + body)


async def _stream(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    """Two notes of progress, then the answer."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for step in (1, 2):
        params = {"progressToken": 1, "progress": step}
        _event(writer, {"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await writer.drain()
        await asyncio.sleep(0.01)
    _event(writer, _result(message))
    writer.write(b"0\r\n\r\n")


def _event(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    data = b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n"
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
