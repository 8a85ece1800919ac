"""What a card, a server page and the API say of a server's governance: computed from its rows, never stored as a claim.

Pure: rows and the moment in, words out. An old health measurement is "unknown", not the colour that it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from catalog.choices import AuthMode, Badge, Health, PackageType, PolicyMode, Status, UpstreamStatus, Visibility

if TYPE_CHECKING:
    from catalog.models import Server
    from catalog.selectors.extras import PriceTag

AUTH_WORDS = {
    AuthMode.NONE: "No sign-in",
    AuthMode.HEADER: "Header credential",
    AuthMode.OAUTH: "OAuth",
    AuthMode.MTLS: "mTLS",
}
# Three missed checks: an older measurement says nothing about the present.
HEALTH_FRESH = timedelta(seconds=3 * settings.HEALTH_INTERVAL_S)
CLOSED_WORDS = {
    Status.LISTED: "known from a source, not approved here",
    Status.DRAFT: "a draft",
    Status.SUBMITTED: "waits for approval",
    Status.REMOVED: "removed",
}
CALLABLE = (Status.APPROVED, Status.DEPRECATED)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a part of the path to the server stands, and what is missing when it does not."""

    ready: bool
    words: str


@dataclass(frozen=True, slots=True)
class HealthReading:
    """`state` as pages draw it: ok, degraded, down, unknown."""

    state: str
    measured_at: datetime | None
    detail: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What this viewer may do with servers: nobody, a member, or somebody who may give access."""

    signed_in: bool = False
    organisation: bool = False
    may_give: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    label: str
    url: str
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """The parameters of components/_server_card.html."""

    name: str
    slug: str
    url: str
    description: str
    provider: str
    team: str
    category: str
    approval: str
    status: str
    status_at: datetime | None
    trust: str
    auth: str
    tool_count: int | None
    side_effects: Sequence[str]
    gateway: Readiness
    policy: Readiness
    version: str
    deployed_at: datetime | None
    visibility: str
    price: PriceTag | None
    action: Action
    source: str = ""
    source_trust: str = ""
    verified: bool = False
    featured: bool = False
    calls_30d: int = 0
    downloads: int | None = None
    compatibility: str = ""
    price_known: bool = True
    icon: str = ""


def build_card(
    server: Server, *, url: str, now: datetime, price: PriceTag | None, standing: Standing, usable: bool
) -> Card:
    """A card of a row that carries `selectors.search.with_governance`. `url` is the page of the server."""
    health = health_of(server, now)
    gateway = gateway_of(server)
    version = server.current_version
    return Card(
        name=server.name,
        slug=server.slug,
        url=url,
        description=server.summary,
        provider=server.publisher,
        team=server.owner_team.name if server.owner_team else "",
        category=server.get_category_display(),
        approval=approval_of(server),
        status=health.state,
        status_at=health.measured_at,
        trust=server.required_trust,
        auth=AUTH_WORDS[AuthMode(server.auth_mode)] if server.auth_mode else "",
        tool_count=server.tool_count,
        side_effects=sort_effects(server.side_effects),  # type: ignore[attr-defined]  # annotated
        gateway=gateway,
        policy=policy_of(server, server.undeclared_count),  # type: ignore[attr-defined]  # annotated
        version=version.version if version else "",
        deployed_at=version.created_at if version else None,
        visibility="" if server.visibility == Visibility.PUBLIC else server.get_visibility_display(),
        price=price,
        action=card_action(url, gateway, standing, usable=usable),
        source=server.source_name or "Published here",
        source_trust=server.get_source_trust_display() if server.source_trust else "",
        verified=server.is_verified or server.namespace_proven or is_verified_provider(server),
        featured=server.is_featured,
        calls_30d=server.calls_30d,
        downloads=server.downloads,
        compatibility=compatibility_of(server),
        price_known=server.status != Status.LISTED,
        icon=f"{url}icon/{server.icon_digest}/" if server.icon_digest else "",
    )


def is_verified_provider(server: Server) -> bool:
    return server.provider is not None and server.provider.verified_at is not None


def compatibility_of(server: Server) -> str:
    """How a client reaches it: its transport, else the packages that it comes as."""
    if server.url:
        return server.get_transport_display()
    kinds = [PackageType(kind).label for kind in server.package_types if kind in PackageType.values]
    return ", ".join(kinds)


def card_action(url: str, gateway: Readiness, standing: Standing, *, usable: bool) -> Action:
    """The one next step on a card: what this viewer can do with this server."""
    if not gateway.ready or not standing.organisation:
        return Action("Open", url)
    if usable:
        return Action("Use it", f"{url}?tab=install", primary=True)
    return Action("Give access" if standing.may_give else "Request access", f"{url}?tab=access")


def health_of(server: Server, now: datetime) -> HealthReading:
    measured = server.health_checked_at
    if measured is None or now - measured > HEALTH_FRESH:
        return HealthReading("unknown", measured, "")
    state = {Health.READY: "ok", Health.DEGRADED: "degraded", Health.DOWN: "down"}.get(Health(server.health), "unknown")
    return HealthReading(state, measured, server.health_detail)


def gateway_of(server: Server) -> Readiness:
    """Whether the gateway carries calls to the server: the same condition under which it would."""
    if server.status not in CALLABLE:
        return Readiness(False, f"Gateway closed: {CLOSED_WORDS[Status(server.status)]}")
    if not server.gateway_enabled:
        return Readiness(False, "Gateway turned off")
    if server.current_version is None:
        return Readiness(False, "Gateway closed: no version")
    if not (server.url and server.current_version.protocol):
        return Readiness(False, "Gateway closed: never read from the server")
    return Readiness(True, "Gateway ready")


def policy_of(server: Server, undeclared_count: int) -> Readiness:
    """Whether the policy can decide every tool: a tool whose side effect is not declared is always refused."""
    if server.status == Status.LISTED:
        return Readiness(False, "No policy decides here")
    mode = "Observing policy" if server.policy_mode == PolicyMode.OBSERVE else "Allow-list policy"
    if server.current_version is None:
        return Readiness(False, f"{mode}, nothing to decide on")
    if undeclared_count:
        return Readiness(False, f"{mode}, {undeclared_count} tool{'' if undeclared_count == 1 else 's'} undeclared")
    return Readiness(True, mode)


def approval_of(server: Server) -> str:
    """The badge in the words of components/_approval.html. Only what was approved carries the operator's badge."""
    if server.status == Status.LISTED:
        return "deprecated" if server.upstream_status == UpstreamStatus.DEPRECATED else "listed"
    if server.status in {Status.DRAFT, Status.SUBMITTED}:
        return "pending"
    if server.status == Status.DEPRECATED:
        return "deprecated"
    return "observe" if server.badge == Badge.OBSERVE_ONLY else server.badge


def sort_effects(effects: Sequence[str]) -> list[str]:
    order = {"read": 0, "write": 1, "destructive": 2}
    return sorted(set(effects), key=lambda effect: order.get(effect, 9))
