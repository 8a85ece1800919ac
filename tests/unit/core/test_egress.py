"""The egress guard: every spelling of a private address, on a listener that counts who got through."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from core import egress
from core import http as guarded

SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.000.000.001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "00000000000000000000177.1",
    "127.0.0.2",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "lOcAlHoSt.",
    "0",
    "0.0.0.0",
    "0x0",
    "000",
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "①②⑦.0.0.1",
    "ⓛocalhost",
    "%31%32%37.0.0.1",
    "127.0.0.1%00",
    "127.0.0.1%20",
    "127.0.0.1\t",
    "127.0.0.1 ",
    "127.0.0.1\\@example.com",
    "example.com@127.0.0.1",
    "user:pass@127.0.0.1",
    "127.0.0.1#@example.com",
    "127.0.0.1?@example.com",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1%25lo]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[fec0::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "192.0.0.192",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
]


@pytest.fixture(scope="module")
def canary() -> Iterator[tuple[int, list[object]]]:
    """A listener on 127.0.0.1 that IPv6 spellings of it reach too, and who connected to it."""
    caught: list[object] = []
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::ffff:127.0.0.1", 0))
    sock.listen()

    def accept() -> None:
        while True:
            try:
                conn, peer = sock.accept()
            except OSError:
                return
            caught.append(peer)
            conn.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield sock.getsockname()[1], caught
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()
    thread.join(5)


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_a_private_address_gets_through(
    host: str, canary: tuple[int, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, caught = canary
    # The ports rule would stop all of these before the address is looked at.
    monkeypatch.setattr(egress, "PORTS", frozenset({port}))
    egress.parse_url.cache_clear()
    url = f"http://{host}:{port}/" if host[-1] not in "#?" and "@example.com" not in host else f"http://{host}"
    with guarded.client(timeout=2) as client, pytest.raises((egress.EgressRefusedError, httpx.InvalidURL)):
        client.get(url)
    with pytest.raises(egress.EgressRefusedError):
        egress.resolve(egress.parse_url(url), frozenset())
    assert caught == []
    egress.parse_url.cache_clear()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//example.com/",
        "example.com",
        "",
        "http://",
        "http:///path",
        "https://example.com:22/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\r\nx: y",
        "https://example.com/ä",
        "https://-example.com/",
        "https://" + "a" * 300 + ".example/",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(egress.EgressRefusedError):
        egress.parse_url(url)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://Example.COM", "https://example.com/"),
        ("https://example.com:443/mcp?x=1", "https://example.com/mcp?x=1"),
        ("http://example.com.:80/", "http://example.com/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://[2606:4700:0:0::1111]/", "https://[2606:4700::1111]/"),
        ("http://8.8.8.8:8080/", "http://8.8.8.8:8080/"),
    ],
)
def test_an_address_has_one_spelling(url: str, canonical: str) -> None:
    assert egress.parse_url(url).url == canonical


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_open(address: str) -> None:
    assert not egress.is_denied(ipaddress.ip_address(address))


def test_one_denied_answer_refuses_them_all() -> None:
    endpoint = egress.parse_url("https://mixed.example/")
    with pytest.raises(egress.EgressRefusedError) as caught:
        egress.check(endpoint, ["8.8.8.8", "127.0.0.1"], frozenset())
    assert "mixed.example" not in str(caught.value.as_problem())
    assert egress.check(endpoint, ["8.8.8.8", "8.8.8.8", "1.1.1.1"], frozenset()) == ("8.8.8.8", "1.1.1.1")


def test_no_answer_is_an_unresolved_name() -> None:
    with pytest.raises(egress.NameUnresolvedError):
        egress.check(egress.parse_url("https://empty.example/"), [], frozenset())
    with pytest.raises(egress.NameUnresolvedError):
        asyncio.run(egress.resolve_async(egress.parse_url("https://no-such-name.invalid/"), frozenset()))


def test_the_operator_may_open_one_host_and_port() -> None:
    allow = egress.parse_allow_list(["127.0.0.1:9001", "[::1]:9002", "Intern.Example:8443"])
    assert egress.resolve(egress.parse_url("http://127.0.0.1:9001/mcp", allow), allow) == ("127.0.0.1",)
    assert egress.resolve(egress.parse_url("http://[0::1]:9002/", allow), allow) == ("::1",)
    for url in ("http://127.0.0.1:9002/", "http://127.0.0.2:9001/", "http://localhost:9001/"):
        with pytest.raises(egress.EgressRefusedError):
            egress.resolve(egress.parse_url(url, allow), allow)


@pytest.mark.parametrize("item", ["127.0.0.1", "host:", ":80", "host:0", "host:70000", "host:http", "0x7f.1:80"])
def test_a_misspelt_entry_of_the_allow_list_stops_the_start(item: str) -> None:
    with pytest.raises(ValueError, match="not"):
        egress.parse_allow_list([item])


class _Server:
    """A one-shot HTTP server on loopback."""

    def __init__(self, reply: bytes) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.sock.getsockname()[1]
        self.request = b""
        self._reply = reply
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> _Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)
        self.sock.close()

    def _serve(self) -> None:
        conn, _ = self.sock.accept()
        with conn:
            self.request = conn.recv(65536)
            conn.sendall(self._reply)


def test_a_client_reaches_an_opened_host_and_follows_no_redirect() -> None:
    reply = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    with _Server(reply) as server:
        allow = frozenset({("127.0.0.1", server.port)})
        with guarded.client(allow) as client:
            response = client.get(f"http://127.0.0.1:{server.port}/a?b=c")
    assert response.status_code == 302
    assert server.request.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}".encode() in server.request.lower()


def test_a_reply_over_the_limit_is_cut() -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000
    with _Server(reply) as server:
        allow = frozenset({("127.0.0.1", server.port)})

        async def fetch() -> None:
            async with guarded.async_client(allow, max_reply_bytes=1000) as client:
                await client.get(f"http://127.0.0.1:{server.port}/")

        with pytest.raises(guarded.ReplyTooLargeError):
            asyncio.run(fetch())


def test_a_compressed_reply_that_nobody_asked_for_is_refused() -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"
    with _Server(reply) as server:
        allow = frozenset({("127.0.0.1", server.port)})
        with guarded.client(allow) as client, pytest.raises(egress.UpstreamError):
            client.get(f"http://127.0.0.1:{server.port}/")
    assert b"accept-encoding: identity" in server.request.lower()


def test_an_async_client_is_guarded_too() -> None:
    async def fetch() -> None:
        async with guarded.async_client() as client:
            await client.get("http://localhost:8080/")

    with pytest.raises(egress.EgressRefusedError):
        asyncio.run(fetch())
