"""Rows in the shapes of MCP Runtime's answers, with what ours say beyond them."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from access.api.runtime.base import Caller
from access.filing import rows
from access.formats import manifests
from access.models import AgentSession, Grant
from access.selectors import is_callable
from access.types import SideEffect, ToolRule, Trust
from catalog.cards import health_of
from catalog.choices import Status
from catalog.models import Server, Tool
from catalog.selectors import drifts
from core import clock
from tenants.models import Membership, Team


def grant(row: Grant, caller: Caller) -> dict[str, Any]:
    spec = manifests.write(rows.grant_entry(row, caller.directory))["spec"]
    return {
        "name": row.name,
        "namespace": row.namespace,
        "serverRef": spec["serverRef"],
        "subject": spec["subject"],
        "maxTrust": row.max_trust,
        "allowedSideEffects": spec.get("allowedSideEffects", []),
        "toolRules": spec.get("toolRules", []),
        "policyVersion": row.policy_version,
        "disabled": row.disabled_at is not None,
        "age": _moment(row.created_at),
        "id": str(row.pk),
        **{key: spec[key] for key in ("conditions", "expiresAt") if key in spec},
    }


def session(row: AgentSession, caller: Caller) -> dict[str, Any]:
    spec = manifests.write(rows.session_entry(row, caller.directory))["spec"]
    return {
        "name": row.name,
        "namespace": row.namespace,
        "serverRef": spec["serverRef"],
        "subject": spec["subject"],
        "consentedTrust": row.consented_trust,
        "policyVersion": row.policy_version,
        "revoked": row.revoked_at is not None,
        "age": _moment(row.created_at),
        "id": str(row.pk),
        **{key: spec[key] for key in ("expiresAt", "idleTimeout") if key in spec},
    }


def server(row: Server, caller: Caller, *, with_tools: bool = True) -> dict[str, Any]:
    health = health_of(row, clock.now())
    version = row.current_version
    endpoint = f"{settings.PUBLIC_URL}/mcp/{row.slug}"
    found = {
        "name": row.slug,
        "namespace": caller.namespace_of(row),
        "uid": str(row.pk),
        "team_id": str(row.owner_team_id or "") if row.owner_tenant_id == caller.tenant.pk else "",
        "displayName": row.name,
        "description": row.summary,
        "ready": health.state in {"ok", "degraded"},
        "status": row.status,
        **_conditions(row),
        "labels": {},
        "age": _moment(row.created_at),
        "endpoint": endpoint,
        "authMode": row.auth_mode,
        "generation": row.revision,
        "access_json": {"mcpServers": {row.slug: {"type": "http", "url": endpoint}}},
    }
    if with_tools:
        tools = version.tools.order_by("position") if version else ()
        found["tools"] = [
            {
                "name": tool.name,
                "description": tool.description,
                "requiredTrust": tool.required_trust,
                "sideEffect": tool.side_effect,
                "riskLevel": risk(tool),
            }
            for tool in tools
        ]
    return found


def tool(row: Tool, of: Server, caller: Caller, changed: set[str]) -> dict[str, Any]:
    """`drift_status`: a tool whose server describes it otherwise than was approved is `drifted` and closed here."""
    endpoint = f"{settings.PUBLIC_URL}/mcp/{of.slug}"
    return {
        "tool_name": row.name,
        "description": row.description,
        "server_name": of.slug,
        "namespace": caller.namespace_of(of),
        "team_id": str(of.owner_team_id or "") if of.owner_tenant_id == caller.tenant.pk else "",
        "endpoint_url": endpoint,
        "declared": bool(row.side_effect),
        "live": bool(of.current_version and of.current_version.protocol),
        "drift_status": "drifted" if row.name in changed else "declared" if row.side_effect else "ungoverned",
        "required_trust": row.required_trust,
        "side_effect": row.side_effect,
        "risk_level": risk(row),
        "connect_config": {"mcpServers": {of.slug: {"type": "http", "url": endpoint}}},
    }


def _conditions(row: Server) -> dict[str, Any]:
    """How far it is on its way: whether it is approved, whether calls pass a gateway, and by which policy they are judged."""
    is_approved = row.status in {Status.APPROVED, Status.DEPRECATED}
    opens = is_callable(row)
    closed = "" if row.gateway_enabled else "It is closed to calls."
    message = "An operator has not approved it yet." if not is_approved else closed
    return {
        "phase": "Ready" if opens else "Pending" if not is_approved else "Degraded",
        "message": message,
        "gatewayReady": opens,
        "policyReady": row.current_version_id is not None,
    }


def open_drifts(of: Server) -> set[str]:
    return set(drifts.open_tools(of.pk))


def risk(row: Tool) -> str:
    effect = SideEffect(row.side_effect) if row.side_effect else None
    return ToolRule(row.name, Trust.parse(row.required_trust), effect).risk_level


def team(row: Team) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "slug": row.slug,
        "name": row.name,
        "namespace": row.namespace,
        "created_at": _moment(row.created_at),
    }


def member(row: Team, membership: Membership) -> dict[str, Any]:
    return {
        "team_id": str(row.pk),
        "team_slug": row.slug,
        "team_name": row.name,
        "team_namespace": row.namespace,
        "user_id": str(membership.user_id),
        "email": membership.user.email,
        "role": membership.role,
        "created_at": _moment(membership.created_at),
    }


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
