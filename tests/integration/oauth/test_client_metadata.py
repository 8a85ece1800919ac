"""Clients that describe themselves at an address of their choice: what of it is believed, and where we never connect (S03)."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from allauth.idp.oidc.internal import cimd
from allauth.idp.oidc.models import Client
from django.core.exceptions import ValidationError

from core.egress import EgressRefusedError
from core.errors import MarketplaceError
from tenants.oauth import clients, documents

ID = "https://client.example/oauth.json"
GOOD: dict[str, Any] = {
    "client_id": ID,
    "client_name": "Good client",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
}


def read(document: Any) -> Client:
    return clients.validated(cimd.validate_metadata(ID, cimd.validate_client_id(ID), document), document)


@pytest.fixture
def hostile(settings) -> Iterator[Callable[[bytes], str]]:
    """`hostile(answer)` gives the address of a server that answers so, and then drips for ever."""
    sockets: list[socket.socket] = []

    def serve(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        settings.EGRESS_ALLOW = [f"127.0.0.1:{listener.getsockname()[1]}"]

        def run() -> None:
            connection, _ = listener.accept()
            sockets.append(connection)
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/oauth.json"

    yield serve
    for each in sockets:
        each.close()


def http_answer(body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        "connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class TestDocument:
    def test_a_good_one_is_a_public_client_with_our_scopes_at_most(self, db):
        client = read(GOOD | {"scope": "admin openid invoke"})
        assert (client.pk, client.type, client.name) == (ID, Client.Type.PUBLIC, "Good client")
        assert client.get_scopes() == ["invoke", "catalog:read"]
        assert client.get_grant_types() == ["authorization_code", "refresh_token"]
        assert client.skip_consent is False

    @pytest.mark.parametrize(
        "document",
        [
            [],
            "text",
            GOOD | {"client_id": "https://client.example/other.json"},
            GOOD | {"client_id": None},
            GOOD | {"redirect_uris": []},
            GOOD | {"redirect_uris": "http://127.0.0.1/"},
            GOOD | {"redirect_uris": ["javascript:alert(1)"]},
            GOOD | {"redirect_uris": ["http://evil.example/"]},
            GOOD | {"redirect_uris": ["https://good.example/", "data:text/html,x"]},
            GOOD | {"redirect_uris": [1]},
            GOOD | {"client_secret": "public"},
            GOOD | {"token_endpoint_auth_method": "client_secret_basic"},
            GOOD | {"client_name": ["x"]},
            GOOD | {"client_name": "Trusted\u202eevil"},
            GOOD | {"grant_types": ["client_credentials"]},
            GOOD | {"response_types": ["token"]},
            GOOD | {"application_type": "web"},
        ],
    )
    def test_a_bad_one_is_none(self, document):
        with pytest.raises(ValidationError):
            read(document)

    @pytest.mark.parametrize(
        "client_id",
        [
            "http://client.example/oauth.json",
            "https://client.example",
            "https://client.example/",
            "https://client.example/../oauth.json",
            "https://client.example/oauth.json#x",
            "https://client.example/oauth.json?x=1",
            "https://user@client.example/oauth.json",
            "https://CLIENT.example/oauth.json",
            "https://client.example/" + "x" * 200,
        ],
    )
    def test_an_id_has_one_spelling(self, client_id):
        with pytest.raises(ValidationError):
            cimd.validate_client_id(client_id)


class TestFetching:
    def test_a_description_is_kept_as_its_headers_say_within_bounds(self, hostile):
        body = json.dumps(GOOD).encode()
        for header, kept in (
            ("cache-control: max-age=7200", 7200),
            ("cache-control: max-age=1", 60),
            ("cache-control: max-age=99999999", 86400),
            ("cache-control: no-store", 60),
            ("x-none: 1", 3600),
        ):
            assert documents.fetch(hostile(http_answer(body, header))) == (GOOD, kept)

    @pytest.mark.parametrize(
        "answer",
        [
            http_answer(b"{}", status="404 Not Found"),
            http_answer(b"", "location: http://127.0.0.1:1/", status="302 Found"),
            http_answer(b"{}", kind="text/html"),
            http_answer(b"{"),
            http_answer(b"\xff\xfe"),
            http_answer(b"[" * 9000),
            http_answer(b" " * (documents.MAX_BYTES + 1)),
            http_answer(b"{}", "content-encoding: gzip"),
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{}",
            b"nonsense",
        ],
    )
    def test_a_hostile_answer_is_an_error_and_no_more(self, hostile, answer):
        with pytest.raises((ValidationError, MarketplaceError, httpx.HTTPError, ValueError)):
            documents.fetch(hostile(answer))

    def test_a_server_that_never_finishes_is_given_up(self, db, hostile, monkeypatch):
        """Its headers drip, so that no single read takes long."""
        monkeypatch.setattr(documents, "DEADLINE_S", 0.2)
        gone = threading.Event()
        monkeypatch.setattr(documents, "fetch", lambda url: gone.wait(30))
        began = time.monotonic()
        try:
            assert clients.find("https://slow.example/oauth.json", may_fetch=True) is None
        finally:
            gone.set()
        assert time.monotonic() - began < 20

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"])
    def test_no_private_address_is_asked(self, db, host):
        with socket.create_server(("127.0.0.1", 0)) as canary:
            canary.settimeout(0.2)
            client_id = f"https://{host}:{canary.getsockname()[1]}/oauth.json"
            with pytest.raises(EgressRefusedError):
                documents.fetch(client_id)
            assert clients.find(client_id, may_fetch=True) is None
            with pytest.raises(TimeoutError):
                canary.accept()

    def test_what_is_known_and_fresh_is_not_fetched_and_what_failed_is_not_asked_again_at_once(self, db, monkeypatch):
        asked: list[str] = []

        def fetch(url: str) -> tuple[Any, int]:
            asked.append(url)
            return GOOD, 60

        monkeypatch.setattr(documents, "fetch", fetch)
        assert clients.find(ID) is None  # the token endpoint never fetches
        assert clients.find(ID, may_fetch=True).name == "Good client"
        assert clients.find(ID, may_fetch=True).name == "Good client"
        assert asked == [ID]
        other = "https://client.example/other.json"  # its document names another
        assert clients.find(other, may_fetch=True) is None
        assert clients.find(other, may_fetch=True) is None
        assert asked == [ID, other]
