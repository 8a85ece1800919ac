"""What an approved request becomes: a grant, and a session when one was asked for."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from access.models import AccessRequest, Grant
from access.requests.rules import Terms
from access.services import grants, sessions
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from core.errors import ConflictError
from tenants.models import Tenant, User


def give(tenant: Tenant, request: AccessRequest, terms: Terms, actor: User | None) -> Grant:
    """Give what the approvals have left of the request, for as long as they say, from this moment on.

    Raises ConflictError when the server or a tool is no longer what was asked about.
    """
    server = server_of(tenant, request)
    _check_same(request, server, terms)
    grant = grants.give(
        tenant=tenant,
        server=server,
        subject=subject_of(request),
        actor=actor,
        max_trust=terms.max_trust,
        side_effects=terms.side_effects,
        tools=terms.tools,
        expires_at=clock.now() + timedelta(hours=terms.duration_h),
        origin="request",
        request_id=request.pk,
        note=request.reason[:500],
    )
    request.grant_id = grant.pk
    if request.wants_session and not request.subject_key:
        request.session_id = _session(tenant, request, terms, server, actor)
    request.save(update_fields=["grant_id", "session_id", "updated_at"])
    return grant


def _session(tenant: Tenant, request: AccessRequest, terms: Terms, server: Server, actor: User | None) -> UUID:
    """A session beside the grant; it ends with it, or earlier when the server's policy says so."""
    session = sessions.issue(
        tenant=tenant,
        server=server,
        subject=subject_of(request),
        actor=actor,
        consented_trust=terms.max_trust,
        expires_at=clock.now() + timedelta(hours=terms.duration_h),
        origin="request",
        note=request.reason[:500],
    )
    return session.pk


def subject_of(request: AccessRequest) -> grants.Subject:
    return grants.Subject(
        user=request.subject_user,
        agent=request.subject_agent,
        team=request.subject_team,
        key=request.subject_key,
        label=request.subject_label,
    )


def server_of(tenant: Tenant, request: AccessRequest) -> Server:
    """The server, seen with the eyes of the whole organisation. Raises ConflictError when it is not there any more."""
    teams = frozenset(tenant.teams.values_list("pk", flat=True))
    server = visible_to(Viewer(tenant_id=tenant.pk, team_ids=teams)).filter(pk=request.server_id).first()
    if server is None:
        raise ConflictError(
            f"{request.server_name} is not listed for this organisation any more.",
            code="access.server_gone",
            next_step="Reject the request.",
        )
    return server


def _check_same(request: AccessRequest, server: Server, terms: Terms) -> None:
    """An approval is about tools as they were: one that was changed since then has to be asked for again."""
    offered = {tool.name: tool for tool in server.current_version.tools.all()} if server.current_version else {}
    for asked in request.tools:
        tool = offered.get(asked["name"])
        if asked["name"] not in terms.tools:
            continue
        now = (tool.required_trust, tool.side_effect, tool.definition_digest) if tool else None
        if now != (asked["required_trust"], asked["side_effect"], asked["definition"]):
            raise ConflictError(
                f"The tool {asked['name']!r} was changed after it was asked for.",
                code="access.tool_changed",
                next_step="Ask the requester to look at the tool and to save the request again.",
            )
