"""What the gateway knows: immutable entries compiled by the control plane and held in memory.

Two kinds, each with a revision that only grows, so that an older one never replaces a newer one:
`TenantEntry` (its keys and grants) and `ServerEntry` (where a server is, what its tools need, what a call costs).
Entries travel as JSON (`gateway.codec`) through Valkey and are rebuilt from Postgres when a push was missed. A
field that is added needs a default, because gateways of two releases read each other's entries during a deploy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from access.limits import LimitRule
from access.types import FlowRule, GrantRule, ServerPolicy, SessionRule, ToolGuard, ToolLabels


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
    kind: str = "key"  # key | oauth: a consent, which only access tokens stand for
    client_id: str = ""  # of the OAuth client that the consent was given to
    networks: frozenset[str] = frozenset()  # address ranges it may be used from; empty: any
    environment: str = ""  # what it is for, such as production
    form: str = "all"  # what the aggregated endpoint lists for it: all | search | chosen
    chosen_tools: frozenset[str] = frozenset()  # by their names there
    asserts: bool = False  # may say for whom it calls (`gateway.stages.identity`)


@dataclass(frozen=True, slots=True)
class CredentialEntry:
    """A credential of an organisation for one server; the secret stays sealed until a gateway first uses it."""

    credential_id: UUID
    kind: str  # header | bearer | basic | oauth
    sealed: bytes = field(repr=False)  # of `{"name", "value"}`, a header
    origin: str = ""  # where to alone it may be sent
    user_id: UUID | None = None  # None: for every key of the organisation
    expires_at: datetime | None = None
    is_ended: bool = False  # cannot be renewed: somebody has to connect again


@dataclass(frozen=True, slots=True)
class Price:
    price_version_id: UUID
    rate: Decimal  # the most that one successful tools/call costs, in major units
    currency: str
    model: str = ""  # of `billing.core.rating` as JSON, where what a call costs depends on the month's calls before it


@dataclass(frozen=True, slots=True)
class Offer:
    """A price that was agreed with the organisation, for a time, of a server or (`tool`) one of its tools."""

    tool: str
    price: Price
    starts_at: datetime
    ends_at: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)


@dataclass(frozen=True, slots=True)
class TenantEntry:
    tenant_id: UUID
    schema_name: str
    slug: str
    revision: int
    suspended: bool
    keys: Mapping[str, KeyEntry]  # by key_id
    grants: Mapping[UUID, tuple[GrantRule, ...]]  # by server id
    observed: frozenset[UUID] = (
        frozenset()
    )  # own servers whose policy needs no grant: it observes, or allows by default
    limits: tuple[LimitRule, ...] = ()  # of the organisation, and the platform's defaults
    credentials: Mapping[UUID, tuple[CredentialEntry, ...]] = field(default_factory=dict)  # by server id
    data_keys: Mapping[UUID, bytes] = field(default_factory=dict, repr=False)  # wrapped, `core.vault`
    # Ids of members by address and of teams by short name and namespace; only where a key may say for whom it calls.
    people: Mapping[str, str] = field(default_factory=dict, repr=False)
    teams: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[UUID, tuple[SessionRule, ...]] = field(default_factory=dict)  # by server id
    offers: Mapping[UUID, tuple[Offer, ...]] = field(default_factory=dict)  # by server id
    # What the organisation asks of its own calls beside grants: by server id and tool.
    guards: Mapping[UUID, Mapping[str, ToolGuard]] = field(default_factory=dict)
    flow: FlowRule | None = None  # labels that must not meet in one session; None where nothing is forbidden
    labels: Mapping[UUID, Mapping[str, ToolLabels]] = field(default_factory=dict)  # its own, by server id and tool
    unpaid_from: datetime | None = None  # tools with a price are stopped from then on, because of an unpaid invoice
    looks_at_addresses: bool = field(init=False, default=False, compare=False)  # a grant holds only from some of them

    def __post_init__(self) -> None:
        looks = any(
            each.conditions is not None and each.conditions.networks for rules in self.grants.values() for each in rules
        )
        object.__setattr__(self, "looks_at_addresses", looks)


@dataclass(frozen=True, slots=True)
class ServerEntry:
    server_id: UUID
    slug: str
    revision: int
    owner_tenant_id: UUID | None  # None: the platform's shared catalog
    owner_team_id: UUID | None
    provider_id: UUID | None
    visibility: str  # tenant | group | org | public
    callable: bool  # approved and not removed
    version_id: UUID | None
    url: str
    policy: ServerPolicy
    price: Price | None  # for the whole server
    tool_prices: Mapping[str, Price]  # tool price beats server price
    prices_until: datetime | None = (
        None  # when other prices come into force, and this entry is no basis for a call any more
    )
    allowed_teams: frozenset[UUID] = frozenset()  # of the owner, when its visibility is group
    urls: tuple[str, ...] = ()  # further addresses of the same server; calls go round them
    protocol: str = ""  # the revision in which the catalog read the approved version
    transport: str = ""  # streamable-http | sse
    limits: tuple[LimitRule, ...] = ()  # of the provider, for everybody who calls
    timeout_s: int | None = None  # until an answer must begin; None for what the gateway gives
    auth_mode: str = "none"  # none | header | oauth | mtls: what the server asks of an organisation
    upstream_auth: str = "marketplace_jwt"  # none | marketplace_jwt | marketplace_bearer
    down_at: datetime | None = None  # since when the marketplace's health checks find it down
    # By tool: where an argument lies (a JSON pointer) and the header that mirrors it (`gateway.mcp.params`).
    param_headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_labelled: bool = False  # somebody confirmed labels of its tools
    is_suggested: bool = False  # labels are suggested for tools that nobody labelled
    takes_identity: bool = False  # whether keys that may do so say for whom they call


@dataclass(frozen=True, slots=True)
class SigningEntry:
    """The platform's signing keys. Loaded, never pushed."""

    kid: str
    private: bytes = field(repr=False)
    public: Mapping[str, bytes]  # DER, by key id
