"""How the servers behind the gateway do this second: for operators all of them, for an organisation its own and those it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from access import selectors as access
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from catalog.web.viewers import viewer_of
from gateway.services import live
from gateway.services.live import Picture, ServerLive
from tenants.choices import Right
from tenants.requests import MarketRequest, OrganisationRequest
from tenants.services.rights import require

BREAKER_WORDS = {
    "closed": "Closed: calls pass",
    "half_open": "Half open: one call tries",
    "open": "Open: calls are refused at once",
}
# The page asks again every two seconds; the worst come first.
LINES_MAX = 100
_ORDER = {"down": 0, "degraded": 1, "ok": 2, "unknown": 3}


@dataclass(frozen=True, slots=True)
class Line:
    """One server of the table. Numbers of calls are the owner's and the operators' business."""

    server: Server
    live: ServerLive | None
    counts: bool
    owner: str = ""  # named to operators, for whom several servers may have one short name

    @property
    def state(self) -> str:
        return self.live.state if self.live is not None else "unknown"

    @property
    def breaker(self) -> str:
        return BREAKER_WORDS[self.live.breaker] if self.live is not None else ""

    @property
    def trouble(self) -> str:
        """Where and for how long an open breaker refuses, and between how many addresses calls are shared."""
        if self.live is None:
            return ""
        parts = []
        if self.live.opened_in:
            if self.live.seen_by > 1:
                parts.append(f"in {self.live.opened_in} of {self.live.seen_by} processes")
            wait = round(self.live.retry_s)
            parts.append(f"next try in {wait} s" if wait else "the next call tries")
        if self.live.endpoints > 1:
            parts.append(f"{self.live.endpoints} addresses")
        return ", ".join(parts)


@require_safe
def operations_live(request: MarketRequest) -> HttpResponse:
    """Every server that was called lately, and every gateway process."""
    picture = live.read()
    servers = list(visible_to(Viewer(platform=True)).filter(pk__in=list(picture.servers) if picture else []))
    lines = [
        Line(
            server,
            picture.servers.get(server.pk) if picture else None,
            counts=True,
            owner=server.owner_tenant.name if server.owner_tenant else "",
        )
        for server in servers
    ]
    return _page(request, "operations/live.html", picture, lines, reverse("operations-live"))


@require_safe
def organisation_live(request: OrganisationRequest, org: str) -> HttpResponse:
    """The organisation's own servers, and those that it has access to."""
    require(request.membership, Right.VIEW_CALLS)
    tenant = request.organisation
    used = set(access.live_grants().values_list("server_id", flat=True))
    rows = visible_to(viewer_of(request)).filter(Q(pk__in=used) | Q(owner_tenant=tenant))
    picture = live.read()
    lines = [
        Line(
            server,
            picture.servers.get(server.pk) if picture else None,
            counts=server.owner_tenant_id == tenant.pk,
        )
        for server in rows
    ]
    return _page(request, "calls/live.html", picture, lines, reverse("org:live", args=[org]))


def _page(
    request: MarketRequest, template: str, picture: Picture | None, lines: list[Line], again: str
) -> HttpResponse:
    lines.sort(key=lambda line: (_ORDER[line.state], line.server.name))
    context: dict[str, Any] = {
        "picture": picture,
        "lines": lines[:LINES_MAX],
        "more": max(len(lines) - LINES_MAX, 0),
        "again": again,
        "counts": any(line.counts for line in lines),
        "unwell": sum(line.state in {"down", "degraded"} for line in lines),
    }
    if request.headers.get("HX-Request"):
        template = "operations/_live.html"
    return render(request, template, context)
