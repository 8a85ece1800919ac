"""Up to four servers side by side, line by line, with what differs marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from catalog.cards import Card
from catalog.models import Server
from catalog.selectors import detail
from catalog.selectors.listing import find_server
from catalog.selectors.search import load
from catalog.web.home import cards
from catalog.web.viewers import scene_of
from tenants.requests import MarketRequest

SERVERS_MAX = 4
TOOLS_MAX = 200


@dataclass(frozen=True, slots=True)
class Column:
    server: Server
    card: Card
    remove_url: str


def build(request: MarketRequest) -> dict[str, Any]:
    """The servers that the address names in `s`; names that mean nothing to this viewer are passed over."""
    scene = scene_of(request)
    named = list(dict.fromkeys(request.GET.getlist("s")))
    found = [find_server(scene.viewer, slug) for slug in named[: 2 * SERVERS_MAX] if _is_name(slug)]
    servers = load(scene.viewer, [server.pk for server in found if server is not None][:SERVERS_MAX])
    slugs = [server.slug for server in servers]
    columns = [
        Column(server, card, _url(slug for slug in slugs if slug != server.slug))
        for server, card in zip(servers, cards(request, scene, servers), strict=True)
    ]
    return {
        "columns": columns,
        "lines": [_line(label, [say(column) for column in columns]) for label, say in _LINES] if columns else [],
        "tools": _tools(columns),
        "room": SERVERS_MAX - len(columns),
        "slugs": slugs,
        "left_out": max(len(named) - len(columns), 0),
    }


def _is_name(slug: str) -> bool:
    return 0 < len(slug) <= 40 and "\x00" not in slug


def _url(slugs: Iterable[str]) -> str:
    pairs = [("s", slug) for slug in slugs]
    return f"{reverse('catalog:compare')}?{urlencode(pairs)}" if pairs else reverse("catalog:compare")


def _line(label: str, values: list[str]) -> dict[str, Any]:
    return {"label": label, "values": values, "differs": len(set(values)) > 1}


def _tools(columns: list[Column]) -> list[dict[str, Any]]:
    """Every tool by name, with what it does at each server; those that most servers have come first."""
    offered = [{tool.name: tool for tool in detail.list_tools(column.server)[:TOOLS_MAX]} for column in columns]
    names = sorted(
        {name for tools in offered for name in tools}, key=lambda name: (-sum(name in tools for tools in offered), name)
    )
    return [{"name": name, "tools": [tools.get(name) for tools in offered]} for name in names[:TOOLS_MAX]]


def _count(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}".replace(",", "\u202f")


_LINES: tuple[tuple[str, Callable[[Column], str]], ...] = (
    ("Publisher", lambda column: column.card.provider or "unknown"),
    ("Source", lambda column: column.card.source),
    ("Category", lambda column: column.card.category or "Other"),
    ("Gateway", lambda column: column.card.gateway.words),
    ("Policy", lambda column: column.card.policy.words),
    ("Sign-in to the server", lambda column: column.card.auth or "unknown"),
    ("Transport", lambda column: column.server.get_transport_display()),
    ("Version", lambda column: column.card.version or "unknown"),
    ("Tools", lambda column: _count(column.server.tool_count)),
    ("Resources", lambda column: _count(column.server.resource_count)),
    ("Prompts", lambda column: _count(column.server.prompt_count)),
    ("Packages", lambda column: ", ".join(column.server.package_types) or "none"),
    ("License", lambda column: column.server.license or "unknown"),
    ("Calls in 30 days", lambda column: _count(column.server.calls_30d)),
    ("Downloads", lambda column: _count(column.server.downloads)),
)
