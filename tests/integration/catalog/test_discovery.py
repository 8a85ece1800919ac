"""Server cards and the domain's catalog show public servers to anybody, and nothing else."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tenants.context import platform_scope
from tests.support.cast import make_server

CATALOG = "/.well-known/mcp/catalog.json"


@pytest.fixture
def public(cast):
    with platform_scope():
        make_server(cast.acme, "hidden", "Hidden", visibility="org")
        return make_server(cast.acme, "open-weather", "Open weather", visibility="public")


def test_a_public_server_has_a_card(client, public, settings):
    response = client.get("/mcp/open-weather/server-card")

    card = response.json()
    assert response.headers["Content-Type"] == "application/mcp-server-card+json"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", card["name"])
    assert 1 <= len(card["description"]) <= 100
    assert card["remotes"][0]["url"] == f"{settings.PUBLIC_URL}/mcp/open-weather"
    assert card["remotes"][0]["supportedProtocolVersions"][0] == "2026-07-28"
    assert card["_meta"] == {"com.mcp-marketplace/experimental": True}
    # Neither where the server itself answers nor what it can do.
    assert public.url not in response.content.decode()
    assert "tools" not in card


def test_the_catalog_lists_public_servers_with_their_cards(client, cast, public, settings):
    response = client.get(CATALOG)

    entries = {entry["displayName"]: entry for entry in response.json()["entries"]}
    assert entries["Open weather"]["url"] == f"{settings.PUBLIC_URL}/mcp/open-weather/server-card"
    assert entries["Open weather"]["identifier"].startswith("urn:air:")
    assert entries["Open weather"]["identifier"].endswith(":open-weather")
    assert "Hidden" not in entries
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("slug", ["hidden", "nobody"])
def test_a_server_that_is_not_public_has_no_card_for_anybody(client, cast, public, signed_in, slug):
    assert client.get(f"/mcp/{slug}/server-card").status_code == 404
    assert signed_in(cast.alice).get(f"/mcp/{slug}/server-card").status_code == 404


def test_plain_calls_are_described_where_the_api_says(client, db):
    other = client.get("/api/v1/openapi.json").json()
    document = client.get(urlsplit(other["externalDocs"]["url"]).path).json()

    assert document["openapi"].startswith("3.1")
    assert list(document["paths"]) == ["/v1/invoke"]
