"""How long what happened is kept."""

from __future__ import annotations

from tenants.flags import Flag, Kind, Scope, declare

_MONTHS_MAX = 240

declare(
    "calls",
    "Records",
    Flag(
        "call_retention_months",
        Kind.INT,
        0,
        "How long calls are kept; 0 is for good. An organisation may keep them longer than the platform, not shorter.",
        Scope.BOTH,
        minimum=0,
        maximum=_MONTHS_MAX,
        unit="months",
    ),
    Flag(
        "billed_call_retention_months",
        Kind.INT,
        120,
        "How long months with calls that cost something are kept at least: they prove invoices.",
        minimum=13,
        maximum=_MONTHS_MAX,
        unit="months",
    ),
    Flag(
        "audit_retention_months",
        Kind.INT,
        0,
        "How long events of audit logs are kept; 0 is for good. An organisation may keep them longer, not shorter.",
        Scope.BOTH,
        minimum=0,
        maximum=_MONTHS_MAX,
        unit="months",
    ),
    Flag(
        "legal_hold",
        Kind.BOOL,
        False,
        "Nothing of the records is removed, however old.",
        Scope.BOTH,
    ),
)
