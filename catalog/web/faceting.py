"""Facets, active filters, sorts and pages as links, for every list that `catalog.facets` can narrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from django.core.paginator import Page

from catalog.facets import Choices, Facet, Query
from catalog.selectors.search import Choice


class Counted(Protocol):
    """What a search found, with the counts of its facets."""

    def choices(self, facet: Facet) -> Sequence[Choice]: ...


def groups(found: Counted, query: Query, wanted: Iterable[Facet]) -> list[dict[str, Any]]:
    """Facets that can narrow the list: one with a single choice left cannot, unless that choice is what narrows it."""
    built = [_group(found, query, facet) for facet in wanted]
    return [group for group in built if len(group["options"]) > 1 or group["clear_url"]]


def active(query: Query, wanted: Iterable[Facet]) -> list[dict[str, Any]]:
    """What narrows the list at the moment, each to be taken away on its own."""
    return [
        {
            "label": f"{facet.label}: {facet.label_of(value)}",
            "url": query.toggled(facet.name, value).url,
            "active": True,
            "removable": True,
        }
        for facet in wanted
        for value in query.chosen.get(facet.name, ())
    ]


def sorts(query: Query, offered: Choices) -> list[dict[str, Any]]:
    return [
        {"label": label, "url": query.sorted_by(value).url, "active": query.order == value}
        for value, label in offered
        if query.text or value != "relevance"
    ]


def neighbours(query: Query, page: Page[Any]) -> dict[str, str]:
    """The addresses of the pages before and after."""
    return {
        "previous_url": _page_url(query, page.previous_page_number()) if page.has_previous() else "",
        "next_url": _page_url(query, page.next_page_number()) if page.has_next() else "",
    }


def _group(found: Counted, query: Query, facet: Facet) -> dict[str, Any]:
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


def _page_url(query: Query, number: int) -> str:
    joint = "&" if query.pairs() else ""
    return f"{query.url}{joint}page={number}"
