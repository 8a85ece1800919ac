"""Reading prices: those that hold for everybody, and what was agreed with one organisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import F, Min, Q, QuerySet

from billing.models import PriceVersion
from core import clock


def in_force(at: datetime) -> Q:
    return Q(effective_from__lte=at) & (Q(effective_to=None) | Q(effective_to__gt=at))


def current_prices(server_ids: Iterable[UUID], at: datetime | None = None) -> dict[UUID, dict[str, PriceVersion]]:
    """Prices for everybody in force (by default, now) by server and tool name; the empty name is that of the whole server."""
    found: dict[UUID, dict[str, PriceVersion]] = {}
    rows = PriceVersion.objects.filter(in_force(at or clock.now()), server_id__in=list(server_ids), tenant=None)
    for price in rows:
        found.setdefault(price.server_id, {})[price.tool] = price
    return found


def agreed_prices(
    tenant_id: UUID, server_ids: Iterable[UUID], at: datetime | None = None
) -> dict[UUID, dict[str, PriceVersion]]:
    """What one organisation agreed, in force at a moment, by server and tool. For that organisation alone."""
    found: dict[UUID, dict[str, PriceVersion]] = {}
    rows = PriceVersion.objects.filter(in_force(at or clock.now()), server_id__in=list(server_ids), tenant_id=tenant_id)
    for price in rows:
        found.setdefault(price.server_id, {})[price.tool] = price
    return found


def agreed_with(tenant_id: UUID, after: datetime) -> QuerySet[PriceVersion]:
    """What one organisation agreed that holds at a moment or later."""
    return (
        PriceVersion.objects.filter(Q(effective_to=None) | Q(effective_to__gt=after), tenant_id=tenant_id)
        .exclude(effective_to=F("effective_from"))
        .order_by("server_id", "tool", "effective_from")
    )


def choose(agreed: Mapping[str, PriceVersion], public: Mapping[str, PriceVersion], tool: str) -> PriceVersion | None:
    """Which price holds for a tool: whatever was agreed before what everybody pays, the tool's before the server's."""
    return agreed.get(tool) or agreed.get("") or public.get(tool) or public.get("")


def for_call(*, tenant_id: UUID, server_id: UUID, tool: str, at: datetime | None = None) -> PriceVersion | None:
    """The price of a call by this organisation; None: free.

    The caller has asked whether the server is the organisation's own: those are free, whatever they cost others.
    """
    agreed = agreed_prices(tenant_id, [server_id], at).get(server_id, {})
    return choose(agreed, current_prices([server_id], at).get(server_id, {}), tool)


def next_changes(server_ids: Iterable[UUID], after: datetime) -> dict[UUID, datetime]:
    """When the prices of servers for everybody change next; servers without a change to come are missing."""
    live = PriceVersion.objects.filter(server_id__in=list(server_ids), tenant=None).exclude(
        effective_to=F("effective_from")
    )
    moments: dict[UUID, datetime] = {}
    for field in ("effective_from", "effective_to"):
        rows = live.filter(**{f"{field}__gt": after}).order_by()
        for server_id, moment in rows.values_list("server_id").annotate(moment=Min(field)):
            moments[server_id] = min(moment, moments.get(server_id, moment))
    return moments


def history(server_id: UUID) -> QuerySet[PriceVersion]:
    """Every price for everybody that a server had, has or will have, the latest first."""
    return (
        PriceVersion.objects.filter(server_id=server_id, tenant=None)
        .exclude(effective_to=F("effective_from"))
        .order_by("tool", "-effective_from")
    )


def shown_to(tenant_id: UUID, server_ids: Iterable[UUID]) -> QuerySet[PriceVersion]:
    """What holds now or later, for everybody and for one organisation."""
    return (
        PriceVersion.objects.filter(Q(tenant=None) | Q(tenant_id=tenant_id), server_id__in=list(server_ids))
        .filter(Q(effective_to=None) | Q(effective_to__gt=clock.now()))
        .exclude(effective_to=F("effective_from"))
        .select_related("server")
        .order_by("server__slug", "tool", "effective_from")
    )
