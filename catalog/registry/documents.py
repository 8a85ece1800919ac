"""A version as the registry API gives it: `server.json`, the registry's own `_meta`, and beside it ours.

What stands in ours is computed from the rows at the moment of the answer, as on cards; null is "nobody knows". The address where
a server itself answers is never shown: of servers that can be called here the remote is our gateway.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from catalog.cards import gateway_of, health_of
from catalog.choices import Health, Origin, Status, UpstreamStatus
from catalog.formats import server_json
from catalog.formats.normal import CodeRepository, Entry, Icon, Input, Remote
from catalog.models import Server, ServerVersion
from catalog.registry.names import name_of
from catalog.selectors.extras import PriceTag

OURS = "com.mcp-marketplace/listing"
FORMAT = "marketplace"
_HEALTH = {"ok": Health.READY, "degraded": Health.DEGRADED, "down": Health.DOWN}
_CREDENTIAL = Input(
    name="Authorization",
    description="An API key of an organisation that was given access to the server.",
    is_required=True,
    is_secret=True,
    value="Bearer {key}",
    variables=(Input(name="key", description="API key", is_required=True, is_secret=True),),
)


def as_listed(server: Server, version: ServerVersion, *, price: PriceTag | None, now: datetime) -> dict[str, Any]:
    """One element of the list."""
    entry = entry_of(server, version)
    listed = server_json.write_listed(entry)
    listed["_meta"][OURS] = _ours(server, price=price, now=now)
    return listed


def entry_of(server: Server, version: ServerVersion) -> Entry:
    """The version in the normal form: as its source wrote it, or made of our rows."""
    entry = Entry.from_dict(version.manifest) if version.manifest else _made(server, version)
    entry = replace(entry, name=name_of(server))
    if gateway_of(server).ready and version.pk == server.current_version_id:
        entry = replace(entry, remotes=(_gateway(server),))
    return replace(
        entry,
        status=_status(server, version),
        status_message=version.status_message,
        published_at=version.released_at or version.created_at,
        updated_at=server.entry_changed_at,
        is_latest=version.is_latest or version.pk == server.current_version_id,
    )


def _made(server: Server, version: ServerVersion) -> Entry:
    page = f"{settings.PUBLIC_URL}{reverse('catalog:server', args=[server.slug])}"
    return Entry(
        name=server.slug,
        format=FORMAT,
        title=server.name,
        description=server.summary or server.name,
        version=version.version,
        website_url=server.website_url or page,
        repository=CodeRepository(server.repository_url) if server.repository_url else None,
        icons=(Icon(server.icon_url),) if server.icon_url.startswith("https://") else (),
    )


def _gateway(server: Server) -> Remote:
    return Remote("streamable-http", url=f"{settings.PUBLIC_URL}/mcp/{server.slug}", headers=(_CREDENTIAL,))


def _status(server: Server, version: ServerVersion) -> str:
    if server.status == Status.REMOVED:
        return str(UpstreamStatus.DELETED)
    if version.upstream_status != UpstreamStatus.ACTIVE:
        return version.upstream_status
    is_deprecated = server.status == Status.DEPRECATED or server.upstream_status == UpstreamStatus.DEPRECATED
    return str(UpstreamStatus.DEPRECATED if is_deprecated else UpstreamStatus.ACTIVE)


def _ours(server: Server, *, price: PriceTag | None, now: datetime) -> dict[str, Any]:
    gateway, health = gateway_of(server), health_of(server, now)
    is_governed = server.status in (Status.APPROVED, Status.DEPRECATED)
    measured = health.measured_at
    return {
        "slug": server.slug,
        "page": f"{settings.PUBLIC_URL}{reverse('catalog:server', args=[server.slug])}",
        "visibility": server.visibility,
        "publisher": {
            "name": server.publisher,
            "verified": server.is_verified,
            "namespaceProven": server.namespace_proven,
        },
        "source": _source(server),
        "trust": {
            "required": server.required_trust or None,
            "badge": server.badge if is_governed else None,
            "policyMode": server.policy_mode if is_governed else None,
        },
        "gateway": {"ready": gateway.ready, "words": gateway.words},
        "health": {
            "state": _HEALTH.get(health.state, Health.UNKNOWN),
            "checkedAt": server_json.stamp(measured) if measured else None,
        },
        "price": _price(price) if is_governed else None,
        "counts": {"tools": server.tool_count, "resources": server.resource_count, "prompts": server.prompt_count},
    }


def _source(server: Server) -> dict[str, str] | None:
    if server.origin != Origin.IMPORTED:
        return None
    return {"name": server.source_name, "kind": server.source_kind, "trust": server.source_trust}


def _price(price: PriceTag | None) -> dict[str, str] | None:
    return {"amount": f"{price.amount:f}", "currency": price.currency, "unit": price.unit} if price else None
