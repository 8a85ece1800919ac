"""Switches of access."""

from __future__ import annotations

from tenants.flags import Flag, Kind, Scope, declare

declare(
    "access",
    "Access",
    Flag(
        "enterprise_policies_enabled",
        Kind.BOOL,
        False,
        "Organisation-wide policies apply on top of grants.",
        Scope.BOTH,
        awaits="organisation policies",
    ),
    Flag(
        "access_request_lifetime_days",
        Kind.INT,
        14,
        "How long a request for access waits before it ends without a decision.",
        Scope.BOTH,
        minimum=1,
        maximum=90,
        unit="days",
    ),
    Flag(
        "group_based_permissions",
        Kind.BOOL,
        False,
        "Groups of an identity provider give roles and team memberships.",
        Scope.BOTH,
    ),
)
