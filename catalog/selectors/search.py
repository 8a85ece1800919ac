"""Searching the catalog: words, facets with counts, and the governance that a card needs, computed by the database.

Every function starts from `visible_to`, so that what is counted is what may be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import reduce
from operator import or_
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from catalog import facets
from catalog.cards import CALLABLE, HEALTH_FRESH
from catalog.choices import Health
from catalog.facets import Query
from catalog.models import Server, Tool
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock


@dataclass(frozen=True, slots=True)
class Scene:
    """Who searches, and what their organisation may use."""

    viewer: Viewer
    usable: AbstractSet[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Totals:
    servers: int
    tools: int
    providers: int


def search(scene: Scene, query: Query) -> QuerySet[Server]:
    """Servers that match, in the order asked for, with what a card shows of them."""
    rows = _matching(scene, query)
    if query.order == "updated":
        return with_governance(rows).order_by(F("current_version__created_at").desc(nulls_last=True), "name", "pk")
    if query.order == "relevance":
        return with_governance(rows).order_by(_closeness(query.text), "name", "pk")
    return with_governance(rows).order_by("name", "pk")


def count_choices(scene: Scene, query: Query, facet: facets.Facet) -> dict[str, int]:
    """How many servers each choice of a facet would show, with all other facets as they are."""
    rows = _matching(scene, query, but=facet.name)
    return rows.aggregate(
        **{value: Count("pk", filter=_condition(scene, facet.name, value)) for value, _ in facet.choices}
    )


def totals(viewer: Viewer) -> Totals:
    found = visible_to(viewer).aggregate(
        servers=Count("pk"), tools=Sum("current_version__tool_count"), providers=Count("provider", distinct=True)
    )
    return Totals(found["servers"], found["tools"] or 0, found["providers"])


def list_usable(scene: Scene, most: int) -> QuerySet[Server]:
    """Listed servers that the organisation has a live right on."""
    rows = visible_to(scene.viewer).filter(pk__in=scene.usable, status__in=CALLABLE)
    return with_governance(rows).order_by("name", "pk")[:most]


def with_governance(rows: QuerySet[Server]) -> QuerySet[Server]:
    """Add `side_effects` (what its tools may do) and `undeclared_count` (tools of which that is not declared)."""
    tools = Tool.objects.filter(version=OuterRef("current_version")).order_by()
    undeclared = tools.filter(side_effect="").values("version").annotate(number=Count("pk")).values("number")
    return rows.annotate(
        side_effects=ArraySubquery(tools.exclude(side_effect="").values("side_effect").distinct()),
        undeclared_count=Coalesce(Subquery(undeclared), 0),
    )


def _matching(scene: Scene, query: Query, but: str = "") -> QuerySet[Server]:
    rows = visible_to(scene.viewer)
    if query.words:
        tag_text = Func(F("tags"), Value(" "), function="array_to_string", output_field=CharField())
        rows = rows.annotate(tag_text=tag_text)
    for word in query.words:
        rows = rows.filter(_word(word))
    for name, values in query.chosen.items():
        if name != but:
            rows = rows.filter(_any(_condition(scene, name, value) for value in values))
    return rows


def _any(conditions: Iterable[Q]) -> Q:
    return reduce(or_, conditions)


def _word(word: str) -> Q:
    """Every word of a search must be found somewhere; a tool counts by its name."""
    named = Tool.objects.filter(version=OuterRef("current_version"), name__icontains=word)
    columns = ("name", "slug", "summary", "description", "provider__name", "tag_text")
    return _any([*(Q(**{f"{column}__icontains": word}) for column in columns), Q(Exists(named))])


def _closeness(text: str) -> Case:
    """Names before tags before texts."""
    first = text.split(maxsplit=1)[0] if text else ""
    return Case(
        When(Q(name__iexact=text) | Q(slug__iexact=text), then=Value(0)),
        When(Q(name__istartswith=first) | Q(slug__istartswith=first), then=Value(1)),
        When(name__icontains=first, then=Value(2)),
        When(tag_text__icontains=first, then=Value(3)),
        default=Value(4),
    )


_COLUMNS = {
    "category": "category",
    "trust": "required_trust",
    "auth": "auth_mode",
    "policy": "policy_mode",
    "transport": "transport",
}


def _condition(scene: Scene, facet: str, value: str) -> Q:
    if facet in _COLUMNS:
        return Q(**{_COLUMNS[facet]: value})
    if facet == "health":
        fresh = Q(health_checked_at__gte=clock.now() - HEALTH_FRESH)
        return ~fresh | Q(health=Health.UNKNOWN) if value == Health.UNKNOWN else fresh & Q(health=value)
    if facet == "access":
        usable = Q(pk__in=scene.usable)
        return usable if value == "usable" else ~usable
    if facet == "owner":
        ours = Q(owner_tenant_id=scene.viewer.tenant_id)
        return ours if value == "ours" else ~ours
    ready = Q(status__in=CALLABLE, gateway_enabled=True, url__gt="", current_version__protocol__gt="")
    return ready if value == "ready" else ~ready
