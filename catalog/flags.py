"""Switches of the catalog."""

from __future__ import annotations

from tenants.flags import Flag, Kind, declare

_RULES = "catalog access rules"

declare(
    "catalog",
    "Catalog",
    Flag("marketplace_enabled", Kind.BOOL, True, "The catalog is open to people and agents.", awaits=_RULES),
    Flag(
        "security_scan_required",
        Kind.BOOL,
        True,
        "A version is offered only after a security scan passed.",
        awaits="security scans",
    ),
)
