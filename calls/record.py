"""One governed request as a value: what the gateway hands to the writer, field for field the row of `Call`.

Plain and Django-free, because it is built on the hot path. `COLUMNS` is the one list of columns with their Postgres types;
the migration, the writer and the model are checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID


class Outcome(StrEnum):
    OK = "ok"
    TOOL_ERROR = "tool_error"  # the tool ran and said isError, or the server answered a JSON-RPC error
    UPSTREAM_ERROR = "upstream_error"  # no usable answer from the server
    TIMEOUT = "timeout"
    DENIED = "denied"
    UNKNOWN = "unknown"  # interrupted: it is not known whether the server acted; never billed


@dataclass(slots=True, eq=False)
class Alike:
    """A promise: records that carry the same object agree in the columns of ALIKE. Keeps what `calls.rows` made of them."""

    repeated: dict[int, list[bytes]] = field(default_factory=dict)


@dataclass
class CallRecord:
    # identity: UUIDv7 minted at admission, and the tenant whose schema holds the row (not a column)
    call_id: UUID
    schema_name: str
    occurred_at: datetime
    # who
    api_key_id: UUID | None = None
    user_id: UUID | None = None
    agent: str = ""
    session_id: str = ""
    client: str = ""
    # what
    interface: str = "mcp"  # mcp | invoke
    protocol: str = ""  # revision spoken, such as 2026-07-28
    method: str = ""
    server_id: UUID | None = None
    server_name: str = ""
    server_version_id: UUID | None = None
    tool: str = ""
    arguments_digest: str = ""
    # decision
    allowed: bool = False
    reason: str = ""
    grant_id: UUID | None = None
    side_effect: str = ""
    trust_required: str = ""
    trust_effective: str = ""
    trust_admin: str = ""  # what the grants gave
    trust_consented: str = ""  # what the session's person agreed to
    risk: str = ""
    agent_session_id: UUID | None = None
    policy_version: str = ""  # of the grant or policy that decided
    asserted_human: str = ""  # whom a key named as the human that it calls for, where that is no member
    policy_revision: int = 0
    # outcome
    outcome: str = Outcome.DENIED
    http_status: int = 0
    error: str = ""
    attempts: int = 0
    latency_ms: float = 0.0
    upstream_ms: float = 0.0
    request_bytes: int = 0
    response_bytes: int = 0
    # money: `price` is what this call costs, 0 when not billable; `quoted_price` the rate in force at admission
    provider_id: UUID | None = None
    billable: bool = False
    quantity: Decimal = Decimal(0)
    price_version_id: UUID | None = None
    quoted_price: Decimal | None = None
    price: Decimal = Decimal(0)
    currency: str = "USD"
    # correlation
    request_id: str = ""
    trace_id: str = ""
    # how: what authenticated the caller, how we authenticated to the server, what it spoke, and when each step ended
    credential: str = ""  # key | oauth | token
    client_id: str = ""  # of an OAuth client
    upstream_auth: str = ""
    upstream_protocol: str = ""
    timings: str = ""  # calls.timings
    approval_id: UUID | None = None  # of a person for this very call (access.CallApproval)
    # not columns: the caller's span, for our own; and what other records have in common with this one
    parent_span: str = ""
    alike: Alike | None = field(default=None, compare=False, repr=False)


def record_like(shared: dict[str, Any], own: dict[str, Any]) -> CallRecord:
    """A record of values that are its fields, all of them: half the work of the constructor, for the path of a call."""
    record = object.__new__(CallRecord)
    record.__dict__ = shared | own
    return record


COLUMNS: tuple[tuple[str, str], ...] = (
    ("call_id", "uuid"),
    ("occurred_at", "timestamptz"),
    ("api_key_id", "uuid"),
    ("user_id", "uuid"),
    ("agent", "text"),
    ("session_id", "text"),
    ("client", "text"),
    ("interface", "text"),
    ("protocol", "text"),
    ("method", "text"),
    ("server_id", "uuid"),
    ("server_name", "text"),
    ("server_version_id", "uuid"),
    ("tool", "text"),
    ("arguments_digest", "text"),
    ("allowed", "boolean"),
    ("reason", "text"),
    ("grant_id", "uuid"),
    ("side_effect", "text"),
    ("trust_required", "text"),
    ("trust_effective", "text"),
    ("policy_revision", "bigint"),
    ("outcome", "text"),
    ("http_status", "integer"),
    ("error", "text"),
    ("attempts", "integer"),
    ("latency_ms", "double precision"),
    ("upstream_ms", "double precision"),
    ("request_bytes", "bigint"),
    ("response_bytes", "bigint"),
    ("provider_id", "uuid"),
    ("billable", "boolean"),
    ("quantity", "numeric(20,6)"),
    ("price_version_id", "uuid"),
    ("quoted_price", "numeric(20,10)"),
    ("price", "numeric(20,10)"),
    ("currency", "text"),
    ("request_id", "text"),
    ("trace_id", "text"),
    ("credential", "text"),
    ("client_id", "text"),
    ("upstream_auth", "text"),
    ("upstream_protocol", "text"),
    ("timings", "text"),
    ("trust_admin", "text"),
    ("trust_consented", "text"),
    ("risk", "text"),
    ("agent_session_id", "uuid"),
    ("policy_version", "text"),
    ("asserted_human", "text"),
    ("approval_id", "uuid"),
)

# What is the same for calls of one caller to one tool, under one decision and price.
ALIKE = frozenset(
    {
        "api_key_id", "user_id", "agent", "session_id", "interface", "protocol", "method", "server_id", "server_name",
        "server_version_id", "tool", "allowed", "reason", "grant_id", "side_effect", "trust_required", "trust_effective",
        "policy_revision", "provider_id", "price_version_id", "quoted_price", "currency", "trust_admin", "trust_consented",
        "risk", "agent_session_id", "policy_version", "asserted_human", "approval_id",
    }
)  # fmt: skip

# What besides is the same for them.
SHARED = ALIKE | {"schema_name", "credential", "client_id"}
_BESIDE = {"schema_name", "parent_span", "alike"}
assert {name for name, _ in COLUMNS} == {f.name for f in fields(CallRecord)} - _BESIDE
