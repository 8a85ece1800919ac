"""Documents by which programs find servers and learn to call them: server cards, the domain's catalog, the API of plain calls.

Cards and catalog follow a proposal that is not part of the protocol yet (SEP-2127, ext-server-card), so they are labelled
experimental and nothing here relies on them. They say what anybody may see, and they decide nothing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from catalog.models import Server
from catalog.selectors.listing import find_server, visible_to
from catalog.types import PUBLIC_VIEWER
from gateway.mcp import versions
from marketplace.pages import invoke_schema

CARD_TYPE = "application/mcp-server-card+json"
CARD_SCHEMA = "https://static.modelcontextprotocol.io/schemas/v2/server-card.schema.json"
EXPERIMENTAL = "com.mcp-marketplace/experimental"
_FRESH_S = 3600
_DESCRIPTION_MAX = 100
_CATALOG_MAX = 20_000


@require_safe
def server_card(request: HttpRequest, slug: str) -> JsonResponse:
    """The card of a public server."""
    server = find_server(PUBLIC_VIEWER, slug)
    if server is None:
        raise Http404("There is no public server of that name.")
    return _published(card_of(server), CARD_TYPE)


@require_safe
def domain_catalog(request: HttpRequest) -> JsonResponse:
    """Every public server of this installation, with the address of its card."""
    rows = visible_to(PUBLIC_VIEWER).order_by("slug").values_list("slug", "name")[:_CATALOG_MAX]
    entries = [
        {
            "identifier": f"urn:air:{_host()}:{slug}",
            "displayName": name,
            "type": CARD_TYPE,
            "url": f"{settings.PUBLIC_URL}{reverse('server-card', args=[slug])}",
        }
        for slug, name in rows
    ]
    return _published({"specVersion": "draft", "entries": entries, "_meta": {EXPERIMENTAL: True}}, "application/json")


@require_safe
def invoke_openapi(request: HttpRequest) -> JsonResponse:
    """The description of `POST /v1/invoke`."""
    return _published(invoke_schema.document(settings.PUBLIC_URL), "application/json")


def card_of(server: Server) -> dict[str, Any]:
    """Who the server is and how to reach it here; what it can do is for the protocol's own lists to say."""
    version = server.current_version
    card: dict[str, Any] = {
        "$schema": CARD_SCHEMA,
        "name": f"{_namespace()}/{server.slug}",
        "version": version.version if version and version.version else "0",
        "description": _short(server.summary or server.name),
        "title": server.name[:_DESCRIPTION_MAX],
        "websiteUrl": f"{settings.PUBLIC_URL}{reverse('catalog:server', args=[server.slug])}",
        "remotes": [
            {
                "type": "streamable-http",
                "url": f"{settings.PUBLIC_URL}/mcp/{server.slug}",
                "headers": [_credential()],
                "supportedProtocolVersions": [versions.FIRST_MODERN.decode(), *sorted(versions.LEGACY, reverse=True)],
            }
        ],
        "_meta": {EXPERIMENTAL: True},
    }
    return card


def _credential() -> dict[str, Any]:
    return {
        "name": "Authorization",
        "description": "An API key of an organisation that was given access to the server.",
        "isRequired": True,
        "isSecret": True,
        "value": "Bearer {key}",
        "variables": {"key": {"description": "API key", "isRequired": True, "isSecret": True}},
    }


def _host() -> str:
    return urlsplit(settings.PUBLIC_URL).hostname or "localhost"


def _namespace() -> str:
    """The host, the largest part first, as names of cards have it."""
    return ".".join(reversed(_host().split(".")))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _DESCRIPTION_MAX else f"{text[: _DESCRIPTION_MAX - 1].rstrip()}…"


def _published(data: dict[str, Any], content_type: str) -> JsonResponse:
    response = JsonResponse(data, content_type=content_type)
    response["Cache-Control"] = f"public, max-age={_FRESH_S}"
    response["Access-Control-Allow-Origin"] = "*"
    return response
