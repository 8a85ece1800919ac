"""Connections to servers over TLS: the connection has one deadline, what is agreed on it another."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import clock
from gateway.upstream.http1 import Pool, UpstreamBrokenError

ADDRESS = "127.0.0.1"
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the loopback address, signed by itself, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ADDRESS)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def listening(certificate: Path, silence_s: float) -> Iterator[int]:
    """A server for one connection that lets the handshake wait for so many seconds."""
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offered.load_cert_chain(certificate)
    enough = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as plain:
            enough.wait(silence_s)
            with offered.wrap_socket(plain, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(b"HTTP/1.1 204 X\r\n\r\n")

    with socket.create_server((ADDRESS, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            enough.set()
            thread.join()


def status_of(certificate: Path, *, silence_s: float, connect_s: float, tls_s: float, name: str = ADDRESS) -> int:
    """The status of the answer that comes over a connection with these deadlines."""

    async def ask(port: int) -> int:
        trusted = ssl.create_default_context(cafile=str(certificate))
        pool = Pool(ADDRESS, port, tls=trusted, name=name, connect_s=connect_s, tls_s=tls_s, limit=1)
        try:
            return (await (await pool.connect()).send(REQUEST)).status
        finally:
            pool.close()

    # The loop that gateways run on.
    with listening(certificate, silence_s) as port, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(ask(port))


def test_a_handshake_may_take_longer_than_a_connection(certificate: Path) -> None:
    assert status_of(certificate, silence_s=0.6, connect_s=0.3, tls_s=30) == 204


def test_a_handshake_that_takes_too_long_is_no_connection(certificate: Path) -> None:
    with pytest.raises(UpstreamBrokenError) as broken:
        status_of(certificate, silence_s=30, connect_s=30, tls_s=0.2)
    assert broken.value.sent is False


def test_a_certificate_for_another_name_is_no_connection(certificate: Path) -> None:
    with pytest.raises(UpstreamBrokenError, match="SSLCertVerificationError") as broken:
        status_of(certificate, silence_s=0, connect_s=5, tls_s=5, name="elsewhere.example")
    assert broken.value.sent is False
