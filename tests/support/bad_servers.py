"""Servers that do what servers should not: on real sockets, byte by byte, with TLS where a test gives a certificate."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import clock

ADDRESS = "127.0.0.1"
Talk = Callable[[socket.socket, dict[str, Any], threading.Event], None]


@dataclass(frozen=True)
class BadServer:
    url: str
    port: int

    @property
    def allow(self) -> frozenset[tuple[str, int]]:
        return frozenset({(ADDRESS, self.port)})


def http(status: str, body: bytes, kind: str = "application/json", **headers: str) -> bytes:
    named = {"content-type": kind, "content-length": str(len(body)), "connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def says(status: str, body: bytes, kind: str = "application/json", **headers: str) -> Talk:
    """Gives every request the same answer."""
    return lambda peer, message, over: peer.sendall(http(status, body, kind, **headers))


def hang(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
    """Takes the request and never answers."""
    over.wait(60)


def drip(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
    """Sends a byte at a time for ever, so that no single wait is long."""
    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not over.wait(0.05):
        peer.sendall(b" ")


def chatter(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
    """A stream of events that never comes to the answer."""
    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
    while not over.wait(0.05):
        peer.sendall(b'data: {"jsonrpc": "2.0", "method": "notifications/message"}\n\n')


def reset(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
    """Breaks the connection off instead of closing it."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def leave(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
    """Closes without a word."""


def garble(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
    """Speaks another protocol."""
    peer.sendall(b"220 mail.example ESMTP\r\n" * 10)


def flood(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
    """An answer that does not end."""
    peer.sendall(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"a": "')
    while not over.is_set():
        peer.sendall(b"x" * 65536)


def good(tools: list[dict[str, Any]]) -> Talk:
    """A proper server of 2026-07-28."""

    def talk(peer: socket.socket, message: dict[str, Any], over: threading.Event) -> None:
        results = {"server/discover": {"capabilities": {"tools": {}}}, "tools/list": {"tools": tools}}
        body = {"jsonrpc": "2.0", "id": message.get("id"), "result": results.get(message.get("method", ""), {})}
        peer.sendall(http("200 OK", json.dumps(body).encode()))

    return talk


@contextlib.contextmanager
def serving(talk: Talk, certificate: Path | None = None) -> Iterator[BadServer]:
    """A server that reads one request of each connection and then talks."""
    over = threading.Event()
    secure = None
    if certificate is not None:
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(certificate)

    def answer(plain: socket.socket) -> None:
        # Whoever asks gives up at some moment; that is what the tests are about.
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            peer = stack.enter_context(plain)
            if secure is not None:
                peer = stack.enter_context(secure.wrap_socket(plain, server_side=True))
            peer.settimeout(30)
            talk(peer, _message(peer), over)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server((ADDRESS, 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield BadServer(f"{'https' if secure else 'http'}://{ADDRESS}:{port}/mcp", port)
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _message(peer: socket.socket) -> dict[str, Any]:
    data = b""
    while b"\r\n\r\n" not in data:
        part = peer.recv(65536)
        if not part:
            return {}
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += peer.recv(65536)
    return json.loads(body) if body else {}


class Authority:
    """An authority of a test's own, and certificates for the loopback address that it signs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        self._own = (
            self._builder(self._name, self._key, timedelta(days=-400), timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / "authority.pem"
        self.path.write_bytes(self._own.public_bytes(serialization.Encoding.PEM))

    @property
    def trusting(self) -> ssl.SSLContext:
        """What a client uses that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.path))

    def certificate(self, name: str, *, begins: timedelta, ends: timedelta) -> Path:
        """A file with key and certificate; its times are counted from here."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ADDRESS)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = (
            self._builder(subject, key, begins, ends)
            .add_extension(alternative, critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
        return path

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begins: timedelta, ends: timedelta
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(clock.now() + begins)
            .not_valid_after(clock.now() + ends)
        )
