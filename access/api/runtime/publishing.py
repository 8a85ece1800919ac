"""Publishing by MCP Runtime's API: its body, read by the reader of its manifests, given to the catalog's own service."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from access.api.runtime.base import Caller, flag_of, text_of
from audit import services as audit
from catalog.choices import Category
from catalog.formats import mcp_server_manifest
from catalog.formats.mcp_runtime import SCOPES
from catalog.models import Server
from catalog.services import publishing
from catalog.services.publishing import Wanted
from core.errors import ForbiddenError, InvalidError
from tenants.models import Team

_KNOWN = frozenset({"name", "namespace", "scope", "update", "labels", "spec"})


def publish(caller: Caller, data: dict[str, Any]) -> Server:
    """Raises InvalidError with the field of the body, ForbiddenError for a namespace or scope that is not theirs."""
    if unknown := sorted(data.keys() - _KNOWN):
        raise InvalidError(f"{unknown[0][:60]} is no field of the body", field=unknown[0][:60])
    namespace = caller.namespace(text_of(data, "namespace"))
    _check_scope(caller, text_of(data, "scope").lower(), namespace)
    spec = data.get("spec")
    if not isinstance(spec, dict):
        raise InvalidError("spec is required", field="spec")
    document = {
        "apiVersion": mcp_server_manifest.API_VERSION,
        "kind": mcp_server_manifest.KIND,
        "metadata": {"name": data.get("name"), "namespace": namespace},
        "spec": spec,
    }
    entry, problems = mcp_server_manifest.read(document)
    if entry is None or problems:
        first = problems[0]
        name = first.field.removeprefix("metadata.")
        raise InvalidError(f"{name} {first.reason}".strip(), code="access.body_invalid", field=name)
    wanted = Wanted(
        organisation=caller.tenant,
        entry=entry,
        address=_address(spec),
        team=_team(caller, namespace, spec),
        category=Category.DEVELOPMENT,
        is_update=flag_of(data, "update") is True,
        spec=entry.extra["spec"],
    )
    return publishing.publish(wanted=wanted, actor=_party(caller))


def withdraw(caller: Caller, server: Server) -> Server:
    return publishing.withdraw(server=server, organisation=caller.tenant, actor=_party(caller))


def policy_of(caller: Caller) -> dict[str, Any]:
    """What is left of the organisation's limit; nothing is pushed here, so there is no cooldown."""
    count, limit = publishing.active_of(caller.tenant).count(), settings.PUBLISH_SERVERS_MAX
    return {
        "active_server_limit": limit,
        "count": count,
        "can_publish": caller.is_admin and count < limit,
        "push_cooldown_seconds": 0,
    }


def _check_scope(caller: Caller, scope: str, namespace: str) -> None:
    if scope and scope not in SCOPES:
        raise InvalidError(f"scope {scope[:60]!r} is invalid (use tenant, org, or public)", field="scope")
    is_own = namespace == caller.tenant.slug or namespace.startswith("mcp-team-")
    if scope == "public" or not is_own:
        raise ForbiddenError(
            "forbidden namespace",
            code="access.namespace_forbidden",
            next_step="Publish it to your organisation; an operator opens it to everybody.",
        )


def _address(spec: dict[str, Any]) -> str:
    """Where it answers. Images are not run here."""
    gateway = spec.get("gateway")
    address = gateway.get("upstreamURL") if isinstance(gateway, dict) else None
    if not isinstance(address, str) or not address.strip():
        raise InvalidError(
            "This marketplace runs no images.",
            code="catalog.publish_no_address",
            next_step="Run the server yourself and say in spec.gateway.upstreamURL where it answers.",
            field="spec.gateway.upstreamURL",
        )
    return address.strip()


def _team(caller: Caller, namespace: str, spec: dict[str, Any]) -> Team | None:
    """The team of the namespace. Raises InvalidError for a spec.teamID of another one."""
    team = next((each for each in caller.teams if each.namespace == namespace), None)
    said = spec.get("teamID")
    if said and said not in ({team.slug, str(team.pk), team.namespace} if team else set()):
        raise InvalidError("teamID must be the team of the namespace", field="spec.teamID")
    return team


def _party(caller: Caller) -> audit.Party:
    user = caller.credential.user
    return audit.Party("user", str(user.pk), user.email) if user else audit.SYSTEM
