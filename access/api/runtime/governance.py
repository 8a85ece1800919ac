"""Grants, sessions and sessions of adapters in MCP Runtime's shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from access.api.runtime import shapes
from access.api.runtime.base import Caller, RuntimeAPI, body_of, flag_of, is_name, text_of
from access.filing import rows
from access.filing.apply import credential_of
from access.formats import manifests
from access.formats.entries import GrantEntry, SessionEntry
from access.models import AgentSession, Grant, Origin
from access.services import adapter, grants, sessions
from access.services.adapter import Asking
from catalog.models import Server
from core import clock
from core.errors import InvalidError, NotFoundError, UnauthenticatedError
from tenants.choices import Scope
from tenants.selectors.keys import members_who_act

_GRANT_KEYS = ("serverRef", "subject", "maxTrust", "allowedSideEffects", "policyVersion", "disabled", "toolRules")
_SESSION_KEYS = (
    "serverRef", "subject", "consentedTrust", "policyVersion", "expiresAt", "revoked", "upstreamTokenSecretRef",
)  # fmt: skip


class Grants(RuntimeAPI):
    def get(self, request: Request) -> Response:
        caller = Caller(request)
        return _listing(request, caller, rows.live_grants(), "grants", shapes.grant)

    def post(self, request: Request) -> Response:
        """Create it, or give it anew under the same name. What the body does not say of `disabled` stays as it is."""
        caller, data = Caller(request), body_of(request)
        entry = _read(caller, data, manifests.GRANT, _GRANT_KEYS)
        assert isinstance(entry, GrantEntry)
        server = _named_server(caller, entry.server)
        if not entry.side_effects:
            raise InvalidError("at least one allowed side effect is required", field="allowedSideEffects")
        terms: dict[str, Any] = {
            "subject": caller.directory.subject(_with_team(caller, entry.subject, server)),
            "max_trust": entry.max_trust,
            "side_effects": entry.side_effects,
            "tool_rules": manifest_rules(entry),
            "policy_version": entry.policy_version or "v1",
        }
        actor = caller.credential.user
        with transaction.atomic():
            held = rows.live_grants().filter(namespace=entry.namespace, name=entry.name).first()
            terms["is_disabled"] = entry.disabled if "disabled" in data else bool(held and held.disabled_at)
            if held is not None and held.server_id == server.pk:
                row = grants.replace(
                    tenant=caller.tenant, grant_id=held.pk, actor=actor, server=server, origin=Origin.API, **terms
                )
            else:
                if held is not None:
                    grants.revoke(tenant=caller.tenant, grant_id=held.pk, actor=actor)
                row = grants.give(
                    tenant=caller.tenant,
                    server=server,
                    actor=actor,
                    name=entry.name,
                    namespace=entry.namespace,
                    origin=Origin.API,
                    **terms,
                )
        return Response({"grant": shapes.grant(row, caller)})


class OneGrant(RuntimeAPI):
    def get(self, request: Request, namespace: str, grant_name: str) -> Response:
        caller = Caller(request)
        return Response({"grant": shapes.grant(_grant(caller, namespace, grant_name), caller)})

    def delete(self, request: Request, namespace: str, grant_name: str) -> Response:
        caller = Caller(request)
        row = _grant(caller, namespace, grant_name)
        grants.revoke(tenant=caller.tenant, grant_id=row.pk, actor=caller.credential.user)
        return Response({"success": True, "name": row.name, "namespace": row.namespace})

    def patch(self, request: Request, namespace: str, grant_name: str) -> Response:
        disabled = flag_of(body_of(request), "disabled")
        if disabled is None:
            raise InvalidError("disabled is required", field="disabled")
        return _switch(request, namespace, grant_name, is_off=disabled)


class EnableGrant(RuntimeAPI):
    def post(self, request: Request, namespace: str, grant_name: str) -> Response:
        return _switch(request, namespace, grant_name, is_off=False)


class DisableGrant(RuntimeAPI):
    def post(self, request: Request, namespace: str, grant_name: str) -> Response:
        return _switch(request, namespace, grant_name, is_off=True)


class Sessions(RuntimeAPI):
    def get(self, request: Request) -> Response:
        caller = Caller(request)
        live = AgentSession.objects.filter(revoked_at=None).exclude(expires_at__lte=clock.now())
        return _listing(request, caller, live, "sessions", shapes.session)

    def post(self, request: Request) -> Response:
        """Issue it, or issue it anew under the same name."""
        caller, data = Caller(request), body_of(request)
        entry = _read(caller, data, manifests.SESSION, _SESSION_KEYS)
        assert isinstance(entry, SessionEntry)
        server, actor = _named_server(caller, entry.server), caller.credential.user
        subject = caller.directory.subject(_with_team(caller, entry.subject, server))
        with transaction.atomic():
            for held in AgentSession.objects.filter(namespace=entry.namespace, name=entry.name, revoked_at=None):
                sessions.revoke(tenant=caller.tenant, session_id=held.pk, actor=actor)
            row = sessions.issue(
                tenant=caller.tenant,
                server=server,
                subject=subject,
                actor=actor,
                name=entry.name,
                namespace=entry.namespace,
                origin=Origin.API,
                consented_trust=entry.consented_trust,
                expires_at=entry.expires_at,
                policy_version=entry.policy_version or "v1",
                credential=credential_of(entry, server),
            )
            if entry.revoked:
                row = sessions.revoke(tenant=caller.tenant, session_id=row.pk, actor=actor)
        return Response({"session": shapes.session(row, caller)})


class OneSession(RuntimeAPI):
    def get(self, request: Request, namespace: str, session_name: str) -> Response:
        caller = Caller(request)
        return Response({"session": shapes.session(_session(caller, namespace, session_name), caller)})

    def delete(self, request: Request, namespace: str, session_name: str) -> Response:
        """Ends it for good; sessions are not removed, because calls name them."""
        caller = Caller(request)
        row = _session(caller, namespace, session_name)
        sessions.revoke(tenant=caller.tenant, session_id=row.pk, actor=caller.credential.user)
        return Response({"success": True, "name": row.name, "namespace": row.namespace})

    def patch(self, request: Request, namespace: str, session_name: str) -> Response:
        revoked = flag_of(body_of(request), "revoked")
        if revoked is None:
            raise InvalidError("revoked is required", field="revoked")
        return _end(request, namespace, session_name, is_over=revoked)


class RevokeSession(RuntimeAPI):
    def post(self, request: Request, namespace: str, session_name: str) -> Response:
        return _end(request, namespace, session_name, is_over=True)


class UnrevokeSession(RuntimeAPI):
    def post(self, request: Request, namespace: str, session_name: str) -> Response:
        return _end(request, namespace, session_name, is_over=False)


class AdapterSessions(RuntimeAPI):
    """For every member, and for keys that may call: what is issued gives no more than the grants of the person do."""

    write_scope = Scope.INVOKE

    def post(self, request: Request) -> Response:
        caller, data = Caller(request), body_of(request)
        name, agent = text_of(data, "serverName"), text_of(data, "agentID")
        for field, value in (("serverName", name), ("agentID", agent)):
            if not value:
                raise InvalidError(f"{field} is required", field=field)
        user = caller.credential.user
        if user is None or user.pk not in members_who_act(caller.tenant):
            raise UnauthenticatedError(
                "principal has no subject or email", next_step="Use a key that a member of the organisation has made."
            )
        place = caller.namespace(data["namespace"]) if text_of(data, "namespace") else ""
        server, key = _named_server(caller, name), caller.credential.key
        teams = tuple(str(team_id) for team_id in caller.credential.team_ids)
        issued = adapter.open_session(
            tenant=caller.tenant,
            server=server,
            asking=Asking(user, agent, teams, str(key.pk) if key is not None else ""),
            trust=text_of(data, "requestedTrust"),
            ttl=text_of(data, "requestedTTL"),
            namespace=place,
            default_team=_default_team(caller, place, teams),
        )
        row = issued.session
        subject = manifests.write(rows.session_entry(row, caller.directory))["spec"]["subject"]
        return Response(
            {
                "name": row.name,
                "namespace": row.namespace,
                "humanID": subject.get("humanID", ""),
                "agentID": subject.get("agentID", ""),
                "teamID": subject.get("teamID", ""),
                "serverName": server.slug,
                "consentedTrust": row.consented_trust,
                "policyVersion": row.policy_version,
                "expiresAt": row.expires_at,
                "reused": issued.reused,
            }
        )


def manifest_rules(entry: GrantEntry) -> list[dict[str, str]]:
    return [
        {"name": rule.name, "decision": rule.decision, "required_trust": rule.required_trust}
        for rule in entry.tool_rules
    ]


def _read(caller: Caller, data: dict[str, Any], kind: str, known: tuple[str, ...]) -> GrantEntry | SessionEntry:
    """The body as the object that it describes. Raises InvalidError with the field, ForbiddenError for the namespace."""
    namespace = caller.namespace(text_of(data, "namespace"))
    unknown = sorted(data.keys() - {"name", "namespace", *known})
    if unknown:
        raise InvalidError(f"{unknown[0][:60]} is no field of the body", field=unknown[0][:60])
    spec = {key: data[key] for key in known if data.get(key) is not None}
    document = {
        "apiVersion": manifests.API_VERSION,
        "kind": kind,
        "metadata": {"name": data.get("name"), "namespace": namespace},
        "spec": spec,
    }
    entry, problems = manifests.read(document)
    if entry is None:
        first = problems[0]
        field = first.field.removeprefix("spec.").removeprefix("metadata.")
        raise InvalidError(f"{field} {first.reason}".strip(), code="access.body_invalid", field=field)
    assert isinstance(entry, GrantEntry | SessionEntry)
    return entry


def _named_server(caller: Caller, name: str) -> Server:
    """Raises InvalidError: a reference to a server that is not there is a mistake in the body."""
    try:
        return caller.server(name)
    except NotFoundError as error:
        raise InvalidError(
            f"unknown serverRef {name!r}", code="access.server_unknown", field="serverRef.name"
        ) from error


def _with_team(caller: Caller, subject: Any, server: Server) -> Any:
    """A subject without a team is of the server's team (requirements C3). Raises InvalidError when nothing is set."""
    team = caller.directory.team_of(server)
    if team and not subject.team:
        subject = type(subject)(human=subject.human, agent=subject.agent, team=team)
    if subject.is_empty:
        raise InvalidError("one of subject.humanID, subject.agentID, or subject.teamID is required", field="subject")
    return subject


def _default_team(caller: Caller, namespace: str, teams: tuple[str, ...]) -> str:
    for team in caller.teams:
        if team.namespace == namespace and str(team.pk) in teams:
            return str(team.pk)
    return teams[0] if len(teams) == 1 else ""


def _listing(request: Request, caller: Caller, found: Any, word: str, shape: Callable[[Any, Caller], Any]) -> Response:
    """Rows of the namespace that is asked for, or of all, in the order of their names."""
    listed = _seen(caller, found.order_by("namespace", "name"), request.query_params.get("namespace", ""))
    caller.directory.learn_slugs(row.server_id for row in listed)
    return Response({word: [shape(row, caller) for row in listed]})


def _seen(caller: Caller, found: Any, namespace: str) -> list[Any]:
    """Rows of servers that they may see. Raises ForbiddenError for a namespace that is not theirs."""
    if namespace.strip():
        found = found.filter(namespace=caller.namespace(namespace))
    visible = caller.visible_ids()
    return [row for row in found if visible is None or row.server_id in visible]


def _grant(caller: Caller, namespace: str, name: str) -> Grant:
    listed = _seen(caller, rows.live_grants().filter(name=name if is_name(name) else ""), namespace)
    if not listed:
        raise NotFoundError("grant not found", next_step="List the grants and use one of their names.")
    row: Grant = listed[0]
    return row


def _session(caller: Caller, namespace: str, name: str) -> AgentSession:
    """The live one of that name, else the one that was revoked last."""
    found = AgentSession.objects.filter(name=name if is_name(name) else "").order_by("-revoked_at", "-created_at")
    listed = _seen(caller, found, namespace)
    if not listed:
        raise NotFoundError("session not found", next_step="List the sessions and use one of their names.")
    row: AgentSession = next((each for each in listed if each.revoked_at is None), listed[0])
    return row


def _switch(request: Request, namespace: str, name: str, *, is_off: bool) -> Response:
    caller = Caller(request)
    row = _grant(caller, namespace, name)
    change = grants.disable if is_off else grants.enable
    row = change(tenant=caller.tenant, grant_id=row.pk, actor=caller.credential.user)
    told = {"success": True, "name": row.name, "namespace": row.namespace, "disabled": is_off}
    return Response(told | {"grant": shapes.grant(row, caller)})


def _end(request: Request, namespace: str, name: str, *, is_over: bool) -> Response:
    caller = Caller(request)
    row = _session(caller, namespace, name)
    change = sessions.revoke if is_over else sessions.unrevoke
    row = change(tenant=caller.tenant, session_id=row.pk, actor=caller.credential.user)
    told = {"success": True, "name": row.name, "namespace": row.namespace, "revoked": is_over}
    return Response(told | {"session": shapes.session(row, caller)})
