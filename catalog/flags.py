"""Switches of the catalog."""

from __future__ import annotations

from tenants.flags import Flag, Kind, declare

_RULES = "catalog access rules"

declare(
    "catalog",
    "Catalog",
    Flag("marketplace_enabled", Kind.BOOL, True, "The catalog is open to people and agents.", awaits=_RULES),
    Flag(
        "enable_public_marketplace",
        Kind.BOOL,
        True,
        "Visitors without an account may browse public servers.",
        awaits=_RULES,
    ),
    Flag(
        "public_marketplace_url",
        Kind.TEXT,
        "",
        "Address of another marketplace whose public servers are listed here too.",
        awaits="repositories",
    ),
    Flag(
        "marketplace_cache_ttl",
        Kind.INT,
        3600,
        "How long catalog answers may be reused.",
        unit="seconds",
        awaits="caching of catalog answers",
    ),
    Flag(
        "security_scan_required",
        Kind.BOOL,
        True,
        "A version is offered only after a security scan passed.",
        awaits="security scans",
    ),
)
