"""What the home page shows, put together from the selectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.paginator import Paginator
from django.urls import reverse

from catalog import facets
from catalog.cards import Card, build_card
from catalog.facets import Query
from catalog.models import Server
from catalog.selectors import extras, search, usage
from catalog.selectors.search import Found, Scene
from catalog.selectors.shelves import list_shelves
from catalog.services import searches
from catalog.web import faceting
from catalog.web.viewers import scene_of, standing_of
from core import clock
from tenants.choices import Right
from tenants.requests import MarketRequest

PAGE_SIZE = 20
YOURS_MAX = 3
SHELF_MAX = 4


def build(request: MarketRequest) -> dict[str, Any]:
    query = facets.parse(dict(request.GET.lists()), personal=request.organisation is not None)
    scene = scene_of(request)
    found = search.search(scene, query)
    page = Paginator(found, PAGE_SIZE).get_page(query.page)
    yours = [] if query.narrowed or page.number > 1 else list(search.list_usable(scene, YOURS_MAX))
    wanted = [facet for facet in facets.FACETS if request.organisation is not None or not facet.personal]
    return {
        "query": query,
        "page": page,
        "cards": cards(request, scene, page.object_list),
        "yours": cards(request, scene, yours),
        "yours_count": len(scene.usable),
        "chips": _categories(found, query),
        "facets": faceting.groups(found, query, wanted),
        "active": faceting.active(query, facets.FACETS),
        "clear_url": Query(text=query.text, sort=query.sort).url,
        "sorts": faceting.sorts(query, facets.SORTS),
        **faceting.neighbours(query, page),
        "totals": search.totals(scene.viewer),
        "calls_today": _calls_today(request),
        "shelves": _shelves(scene) if not query.narrowed and page.number == 1 and not query.sort else [],
        **_saved(request, query),
    }


def cards(request: MarketRequest, scene: Scene, servers: Iterable[Server]) -> list[Card]:
    rows = list(servers)
    prices, standing, now = extras.prices((row.pk for row in rows), scene.viewer), standing_of(request), clock.now()
    return [
        build_card(
            row,
            url=reverse("catalog:server", args=[row.slug]),
            now=now,
            price=prices.get(row.pk, extras.FREE).shown,
            standing=standing,
            usable=row.pk in scene.usable,
        )
        for row in rows
    ]


def _categories(found: Found, query: Query) -> list[dict[str, Any]]:
    counts = found.counts(facets.CATEGORY)
    chosen = query.chosen.get("category", ())
    everything = {"label": "All", "url": query.only("category", "").url, "active": not chosen, "count": None}
    return [
        everything,
        *(
            {
                "label": label,
                "url": query.only("category", "" if value in chosen else value).url,
                "active": value in chosen,
                "count": counts[value],
            }
            for value, label in facets.CATEGORY.choices
        ),
    ]


def _shelves(scene: Scene) -> list[dict[str, Any]]:
    return [
        {
            "label": shelf.label,
            "url": shelf.query.url if shelf.query is not None else "",
            "servers": [
                {
                    "name": server.name,
                    "url": reverse("catalog:server", args=[server.slug]),
                    "publisher": server.publisher,
                    "calls": server.calls_30d if shelf.name in {"called", "trending"} else None,
                    "updated_at": server.content_updated_at if shelf.name == "updated" else None,
                }
                for server in shelf.servers
            ],
        }
        for shelf in list_shelves(scene, SHELF_MAX)
    ]


def _saved(request: MarketRequest, query: Query) -> dict[str, Any]:
    """The searches that this person keeps in this organisation, and whether the present one can be kept."""
    if request.organisation is None or request.membership is None:
        return {"saved": [], "may_save": False}
    kept = searches.list_searches(request.organisation, request.membership.user)
    return {
        "saved": [
            {"id": each.pk, "name": each.name, "url": each.query, "active": each.query == query.url} for each in kept
        ],
        "may_save": bool(query.pairs()) and all(each.query != query.url for each in kept),
    }


def _calls_today(request: MarketRequest) -> int | None:
    """None when it is nobody's business here: the tile is left out."""
    if request.organisation is None or request.membership is None or not request.membership.can(Right.VIEW_CALLS):
        return None
    return usage.count_calls_today(request.organisation)
