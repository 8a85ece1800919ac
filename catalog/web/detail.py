"""What the page of a server shows, one tab at a time: a tab's queries run only when it is open."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.urls import reverse

from catalog import examples
from catalog.cards import Action, Card, Standing, build_card, health_of
from catalog.choices import Badge, SideEffect
from catalog.models import Server, Tool
from catalog.selectors import detail, drifts, extras, similar, usable
from catalog.selectors.extras import ServerPrices
from catalog.services import adopting, claiming
from catalog.web import about, activity, install, versions
from catalog.web.viewers import scene_of, standing_of, viewer_of
from core import clock
from tenants.choices import Right
from tenants.requests import MarketRequest
from tenants.services.rights import who_can

TOOLS_PAGE_SIZE = 50
FIND_CHARS_MAX = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """The server of a page, and who looks at it."""

    request: MarketRequest
    server: Server
    card: Card
    prices: ServerPrices
    standing: Standing
    usable: bool

    def may(self, right: Right) -> bool:
        return self.request.membership is not None and self.request.membership.can(right)


def build(request: MarketRequest, slug: str) -> dict[str, Any]:
    """The context of the page. Raises NotFoundError for a server that this viewer may not know of."""
    subject = _subject(request, slug)
    tabs = [tab for tab in _TABS if tab.open_to(subject)]
    wanted = request.GET.get("tab", "")
    tab = next((each for each in tabs if each.name == wanted), tabs[0])
    return {
        "server": subject.server,
        "card": subject.card,
        "health": health_of(subject.server, clock.now()),
        "usable": subject.usable,
        "governable": adopting.is_governable(subject.server),
        "action": page_action(subject, tab.name),
        "claim_url": _claim_url(subject),
        "settings_url": _settings_url(subject),
        "tab": tab.name,
        "tab_template": f"catalog/_tab_{tab.name}.html",
        "tabs": [_tab_link(subject, each, open_tab=tab.name) for each in tabs],
        **tab.build(subject),
    }


def _subject(request: MarketRequest, slug: str) -> Subject:
    scene, standing = scene_of(request), standing_of(request)
    server = detail.get_server(scene.viewer, slug)
    prices = extras.prices([server.pk], scene.viewer).get(server.pk, extras.FREE)
    is_usable = server.pk in scene.usable
    card = build_card(
        server,
        url=reverse("catalog:server", args=[server.slug]),
        now=clock.now(),
        price=prices.shown,
        standing=standing,
        usable=is_usable,
    )
    return Subject(request, server, card, prices, standing, is_usable)


def page_action(subject: Subject, tab: str) -> Action | None:
    """The one primary action of the page, for this person's rights. None when nothing can be done with the server yet, or when
    the open tab is where the action leads."""
    card = subject.card
    if not subject.standing.signed_in:
        return Action("Sign in to use it", f"{reverse('account_login')}?{urlencode({'next': card.url})}", primary=True)
    if not subject.standing.organisation:
        return Action("Create an organisation", reverse("organisation-create"), primary=True)
    if not card.gateway.ready:
        return None
    if subject.usable and tab != "install":
        return Action("Use it", f"{card.url}?tab=install", primary=True)
    if subject.may(Right.MANAGE_KEYS):
        return Action("Create a key", _org_url(subject, "org:key-create"), primary=True)
    if subject.usable:
        return None
    return Action("Request access", _org_url(subject, "org:access-request"), primary=True)


def _settings_url(subject: Subject) -> str:
    """Where its own organisation changes how it is served; empty for everybody else."""
    organisation = subject.request.organisation
    if organisation is None or subject.server.owner_tenant_id != organisation.pk or not subject.may(Right.PUBLISH):
        return ""
    return reverse("org:server-settings", args=[organisation.slug, subject.server.slug])


def _claim_url(subject: Subject) -> str:
    """Where somebody who publishes says that a listing is theirs; empty once it is known whose it is."""
    server = subject.server
    if not subject.may(Right.PUBLISH) or server.owner_tenant_id is not None or not claiming.is_claimable(server):
        return ""
    return _org_url(subject, "org:claim-create")


def _overview(subject: Subject) -> dict[str, Any]:
    near = similar.servers_like(viewer_of(subject.request), subject.server)
    return {
        **about.build(subject.server),
        "similar": [{"server": each, "health": health_of(each, clock.now())} for each in near],
    }


def _tools(subject: Subject) -> dict[str, Any]:
    text = subject.request.GET.get("find", "").replace("\x00", "").strip()[:FIND_CHARS_MAX]
    page = Paginator(detail.list_tools(subject.server, text), TOOLS_PAGE_SIZE).get_page(
        subject.request.GET.get("page", "1")
    )
    closed = drifts.open_tools(subject.server.pk)
    return {
        "find": text,
        "page": page,
        "tools": [
            {
                "tool": tool,
                "quarantined": tool.name in closed,
                "price": subject.prices.of_tool(tool.name),
                "input_schema": tool.definition.get("inputSchema"),
                "output_schema": tool.definition.get("outputSchema"),
                "example": _example(subject.server, tool),
            }
            for tool in page.object_list
        ],
    }


def _example(server: Server, tool: Tool) -> str:
    """The body of a call, as the gateway's plain interface and every client's own form of it take it."""
    arguments = examples.of_schema(tool.definition.get("inputSchema"))
    return json.dumps({"server": server.slug, "tool": tool.name, "arguments": arguments}, indent=2, ensure_ascii=False)


def _install(subject: Subject) -> dict[str, Any]:
    tool = detail.list_tools(subject.server).filter(side_effect=SideEffect.READ).first()
    given = {name: subject.request.GET.get(name, "") for name in ("way", "client")}
    return {
        **install.build(subject.server, subject.card, given, tool.name if tool else ""),
        "may_make_keys": subject.may(Right.MANAGE_KEYS),
    }


def _access(subject: Subject) -> dict[str, Any]:
    organisation, membership = subject.request.organisation, subject.request.membership
    may_give = subject.may(Right.MANAGE_ACCESS)
    return {
        "needs": [
            {"effect": effect, "trust": trust, "number": number}
            for effect, trust, number in detail.count_needs(subject.server)
        ],
        "organisation": organisation,
        "holders": usable.holders(organisation, subject.server.pk),
        "grant_url": _org_url(subject, "org:grant-create") if may_give else "",
        "helpers": who_can(membership, Right.MANAGE_ACCESS) if membership is not None and not may_give else "",
        "request_url": _org_url(subject, "org:access-request") if membership is not None else "",
        "restricted": subject.server.badge == Badge.RESTRICTED,
    }


def _security(subject: Subject) -> dict[str, Any]:
    return {
        "version": subject.server.current_version,
        "tools": detail.list_tools(subject.server)[:TOOLS_PAGE_SIZE],
    }


def _versions(subject: Subject) -> dict[str, Any]:
    given = {name: subject.request.GET.get(name, "") for name in ("from", "to")}
    return versions.build(subject.server, given)


def _usage(subject: Subject) -> dict[str, Any]:
    organisation = subject.request.organisation
    assert organisation is not None  # the tab exists only for members
    given = {"period": subject.request.GET.get("period", "")}
    return activity.usage_tab(organisation, subject.server, subject.card.url, given)


def _audit(subject: Subject) -> dict[str, Any]:
    organisation = subject.request.organisation
    assert organisation is not None  # as above
    calls_seen, events_seen = subject.may(Right.VIEW_CALLS), subject.may(Right.VIEW_AUDIT)
    return activity.audit_tab(organisation, subject.server, calls_seen=calls_seen, events_seen=events_seen)


@dataclass(frozen=True, slots=True)
class Tab:
    """`rights` are those of which the viewer needs one; none means that everybody sees it."""

    name: str
    label: str
    build: Callable[[Subject], dict[str, Any]]
    rights: tuple[Right, ...] = ()

    def open_to(self, subject: Subject) -> bool:
        return not self.rights or any(subject.may(right) for right in self.rights)


_TABS = (
    Tab("overview", "Overview", _overview),
    Tab("tools", "Tools", _tools),
    Tab("install", "Install", _install),
    Tab("access", "Access", _access),
    Tab("security", "Security", _security),
    Tab("versions", "Versions", _versions),
    Tab("usage", "Usage", _usage, (Right.VIEW_CALLS,)),
    Tab("audit", "Audit", _audit, (Right.VIEW_CALLS, Right.VIEW_AUDIT)),
)


def _tab_link(subject: Subject, tab: Tab, *, open_tab: str) -> dict[str, Any]:
    first = tab.name == _TABS[0].name
    return {
        "label": tab.label,
        "url": subject.card.url if first else f"{subject.card.url}?tab={tab.name}",
        "active": tab.name == open_tab,
        "count": subject.card.tool_count if tab.name == "tools" else None,
    }


def _org_url(subject: Subject, name: str) -> str:
    assert subject.request.organisation is not None  # asked only where a right was found
    query = urlencode({"server": subject.server.slug})
    return f"{reverse(name, args=[subject.request.organisation.slug])}?{query}"
