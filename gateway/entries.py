"""What the gateway knows: immutable entries compiled by the control plane and held in memory.

Two kinds, each with a revision that only grows, so that an older one never replaces a newer one:
`TenantEntry` (its keys and grants) and `ServerEntry` (where a server is, what its tools need, what a call costs).
Entries travel as JSON through Valkey and are rebuilt from Postgres when a push was missed. This module is the wire format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from access.types import GrantRule, PolicyMode, ServerPolicy, SideEffect, SubjectKind, ToolRule, Trust


@dataclass(frozen=True, slots=True)
class KeyEntry:
    key_id: str  # the lookup part of the key text
    api_key_id: UUID
    secret_digest: bytes
    scopes: frozenset[str]
    server_ids: frozenset[UUID]  # empty: every server
    user_id: UUID | None  # who created it: the human on whose behalf it acts
    agent: str
    team_id: UUID | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class TenantEntry:
    tenant_id: UUID
    schema_name: str
    slug: str
    revision: int
    suspended: bool
    keys: Mapping[str, KeyEntry]  # by key_id
    grants: Mapping[UUID, tuple[GrantRule, ...]]  # by server id


@dataclass(frozen=True, slots=True)
class Price:
    price_version_id: UUID
    rate: Decimal  # major units per successful tools/call
    currency: str


@dataclass(frozen=True, slots=True)
class ServerEntry:
    server_id: UUID
    slug: str
    revision: int
    owner_tenant_id: UUID
    owner_team_id: UUID | None
    provider_id: UUID
    visibility: str  # tenant | org | public
    callable: bool  # approved and not removed
    version_id: UUID | None
    url: str
    policy: ServerPolicy
    price: Price | None  # for the whole server
    tool_prices: Mapping[str, Price]  # tool price beats server price
    prices_until: datetime | None = (
        None  # when other prices come into force, and this entry is no basis for a call any more
    )


def tenant_to_json(entry: TenantEntry) -> dict[str, Any]:
    return {
        "tenant_id": str(entry.tenant_id),
        "schema_name": entry.schema_name,
        "slug": entry.slug,
        "revision": entry.revision,
        "suspended": entry.suspended,
        "keys": [
            {
                "key_id": key.key_id,
                "api_key_id": str(key.api_key_id),
                "secret_digest": key.secret_digest.hex(),
                "scopes": sorted(key.scopes),
                "server_ids": sorted(map(str, key.server_ids)),
                "user_id": _text(key.user_id),
                "agent": key.agent,
                "team_id": _text(key.team_id),
                "expires_at": _iso(key.expires_at),
            }
            for key in entry.keys.values()
        ],
        "grants": [_grant_to_json(grant) for grants in entry.grants.values() for grant in grants],
    }


def tenant_from_json(body: Mapping[str, Any]) -> TenantEntry:
    grants: dict[UUID, list[GrantRule]] = {}
    for item in body["grants"]:
        grant = _grant_from_json(item)
        grants.setdefault(grant.server_id, []).append(grant)
    return TenantEntry(
        tenant_id=UUID(body["tenant_id"]),
        schema_name=body["schema_name"],
        slug=body["slug"],
        revision=body["revision"],
        suspended=body["suspended"],
        keys={
            item["key_id"]: KeyEntry(
                key_id=item["key_id"],
                api_key_id=UUID(item["api_key_id"]),
                secret_digest=bytes.fromhex(item["secret_digest"]),
                scopes=frozenset(item["scopes"]),
                server_ids=frozenset(map(UUID, item["server_ids"])),
                user_id=_uuid(item["user_id"]),
                agent=item["agent"],
                team_id=_uuid(item["team_id"]),
                expires_at=_moment(item["expires_at"]),
            )
            for item in body["keys"]
        },
        grants={server_id: tuple(rules) for server_id, rules in grants.items()},
    )


def server_to_json(entry: ServerEntry) -> dict[str, Any]:
    return {
        "server_id": str(entry.server_id),
        "slug": entry.slug,
        "revision": entry.revision,
        "owner_tenant_id": str(entry.owner_tenant_id),
        "owner_team_id": _text(entry.owner_team_id),
        "provider_id": str(entry.provider_id),
        "visibility": entry.visibility,
        "callable": entry.callable,
        "version_id": _text(entry.version_id),
        "url": entry.url,
        "mode": entry.policy.mode,
        "required_trust": entry.policy.required_trust.word,
        "tools": [
            {"name": tool.name, "required_trust": tool.required_trust.word, "side_effect": tool.side_effect}
            for tool in entry.policy.tools.values()
        ],
        "price": _price_to_json(entry.price),
        "tool_prices": {name: _price_to_json(price) for name, price in entry.tool_prices.items()},
        "prices_until": _iso(entry.prices_until),
    }


def server_from_json(body: Mapping[str, Any]) -> ServerEntry:
    server_id = UUID(body["server_id"])
    return ServerEntry(
        server_id=server_id,
        slug=body["slug"],
        revision=body["revision"],
        owner_tenant_id=UUID(body["owner_tenant_id"]),
        owner_team_id=_uuid(body["owner_team_id"]),
        provider_id=UUID(body["provider_id"]),
        visibility=body["visibility"],
        callable=body["callable"],
        version_id=_uuid(body["version_id"]),
        url=body["url"],
        policy=ServerPolicy(
            server_id=server_id,
            mode=PolicyMode(body["mode"]),
            required_trust=Trust.parse(body["required_trust"]),
            tools={
                item["name"]: ToolRule(
                    name=item["name"],
                    required_trust=Trust.parse(item["required_trust"]),
                    side_effect=SideEffect(item["side_effect"]) if item["side_effect"] else None,
                )
                for item in body["tools"]
            },
        ),
        price=_price_from_json(body["price"]),
        tool_prices={
            name: price for name, item in body["tool_prices"].items() if (price := _price_from_json(item)) is not None
        },
        prices_until=_moment(body["prices_until"]),
    )


def _grant_to_json(grant: GrantRule) -> dict[str, Any]:
    return {
        "grant_id": str(grant.grant_id),
        "server_id": str(grant.server_id),
        "subject_kind": grant.subject_kind,
        "subject": grant.subject,
        "max_trust": grant.max_trust.word,
        "side_effects": sorted(grant.side_effects),
        "tools": sorted(grant.tools),
        "expires_at": _iso(grant.expires_at),
        "revoked_at": _iso(grant.revoked_at),
    }


def _grant_from_json(body: Mapping[str, Any]) -> GrantRule:
    return GrantRule(
        grant_id=UUID(body["grant_id"]),
        server_id=UUID(body["server_id"]),
        subject_kind=SubjectKind(body["subject_kind"]),
        subject=body["subject"],
        max_trust=Trust.parse(body["max_trust"]),
        side_effects=frozenset(map(SideEffect, body["side_effects"])),
        tools=frozenset(body["tools"]),
        expires_at=_moment(body["expires_at"]),
        revoked_at=_moment(body["revoked_at"]),
    )


def _price_to_json(price: Price | None) -> dict[str, str] | None:
    if price is None:
        return None
    return {"id": str(price.price_version_id), "rate": str(price.rate), "currency": price.currency}


def _price_from_json(body: Mapping[str, str] | None) -> Price | None:
    return Price(UUID(body["id"]), Decimal(body["rate"]), body["currency"]) if body else None


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None


def _uuid(value: str | None) -> UUID | None:
    return UUID(value) if value else None


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
