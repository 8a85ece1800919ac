"""What the home page shows, put together from the selectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.paginator import Paginator
from django.urls import reverse

from catalog import facets
from catalog.cards import Card, build_card
from catalog.facets import Facet, Query
from catalog.models import Server
from catalog.selectors import extras, search, usage
from catalog.selectors.search import Found, Scene
from catalog.web.viewers import scene_of, standing_of
from core import clock
from tenants.choices import Right
from tenants.requests import MarketRequest

PAGE_SIZE = 20
YOURS_MAX = 3


def build(request: MarketRequest) -> dict[str, Any]:
    query = facets.parse(dict(request.GET.lists()), personal=request.organisation is not None)
    scene = scene_of(request)
    found = search.search(scene, query)
    page = Paginator(found, PAGE_SIZE).get_page(query.page)
    yours = [] if query.narrowed or page.number > 1 else list(search.list_usable(scene, YOURS_MAX))
    return {
        "query": query,
        "page": page,
        "cards": cards(request, scene, page.object_list),
        "yours": cards(request, scene, yours),
        "yours_count": len(scene.usable),
        "chips": _categories(found, query),
        "facets": _facets(request, found, query),
        "active": _active(query),
        "clear_url": Query(text=query.text, sort=query.sort).url,
        "sorts": _sorts(query),
        "previous_url": _page_url(query, page.previous_page_number()) if page.has_previous() else "",
        "next_url": _page_url(query, page.next_page_number()) if page.has_next() else "",
        "totals": search.totals(scene.viewer),
        "calls_today": _calls_today(request),
    }


def cards(request: MarketRequest, scene: Scene, servers: Iterable[Server]) -> list[Card]:
    rows = list(servers)
    prices, standing, now = extras.prices(row.pk for row in rows), standing_of(request), clock.now()
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


def _facets(request: MarketRequest, found: Found, query: Query) -> list[dict[str, Any]]:
    """Facets that can narrow the list: one with a single choice left cannot, unless that choice is what narrows it."""
    meant = [facet for facet in facets.FACETS if request.organisation is not None or not facet.personal]
    groups = [_facet(found, query, facet) for facet in meant]
    return [group for group in groups if len(group["options"]) > 1 or group["clear_url"]]


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


def _facet(found: Found, query: Query, facet: Facet) -> dict[str, Any]:
    """Choices that would show nothing are left out, unless they are chosen."""
    choices = found.choices(facet)
    chosen = any(choice.chosen for choice in choices)
    options = [
        {
            "label": choice.label,
            "url": query.toggled(facet.name, choice.value).url,
            "count": choice.count,
            "active": choice.chosen,
        }
        for choice in choices
    ]
    return {
        "name": facet.label,
        "options": options,
        "clear_url": query.only(facet.name, "").url if chosen else "",
        "closed": facet.folded and not chosen,
    }


def _active(query: Query) -> list[dict[str, Any]]:
    """What narrows the list at the moment, each to be taken away on its own."""
    return [
        {
            "label": f"{facet.label}: {facet.label_of(value)}",
            "url": query.toggled(facet.name, value).url,
            "active": True,
            "removable": True,
        }
        for facet in facets.FACETS
        for value in query.chosen.get(facet.name, ())
    ]


def _sorts(query: Query) -> list[dict[str, Any]]:
    return [
        {"label": label, "url": query.sorted_by(value).url, "active": query.order == value}
        for value, label in facets.SORTS
        if query.text or value != "relevance"
    ]


def _page_url(query: Query, number: int) -> str:
    joint = "&" if query.pairs() else ""
    return f"{query.url}{joint}page={number}"


def _calls_today(request: MarketRequest) -> int | None:
    """None when it is nobody's business here: the tile is left out."""
    if request.organisation is None or request.membership is None or not request.membership.can(Right.VIEW_CALLS):
        return None
    return usage.count_calls_today(request.organisation)
