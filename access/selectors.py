"""Reading grants of the active organisation."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet

from access import conditions, engine, flow
from access.approvals import guards
from access.flows import outlook
from access.flows import rules as flow_rules
from access.limits import MONEY_SCALE, LimitKind, LimitRule, LimitScope, Period, to_units
from access.models import AgentSession, Grant, Limit
from access.types import (
    FLOW,
    NO_LABELS,
    READS,
    Compat,
    Decision,
    EnforceOn,
    FlowLabel,
    GrantRule,
    Labels,
    PolicyMode,
    Principal,
    Reason,
    Request,
    ServerPolicy,
    SessionRule,
    SessionTerms,
    SideEffect,
    Step,
    ToolRule,
    ToolTerm,
    Trust,
)
from catalog import names
from catalog.choices import Status
from catalog.models import Server
from catalog.policies import PolicySettings
from catalog.selectors import drifts, labels
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from tenants.choices import Scope
from tenants.models import APIKey, Tenant
from tenants.selectors.keys import acting_user_id, members_who_act

log = logging.getLogger(__name__)

# Ended grants stay in the compiled policy this long, so that a refusal can say "expired" or "revoked" and not just "none".
_REMEMBER_ENDED = timedelta(days=30)
_CALLABLE = {Status.APPROVED, Status.DEPRECATED}


def list_grants() -> QuerySet[Grant]:
    """Every grant, the newest first. Never joined with its server: a row that the policy of Postgres hides would take the grant
    with it, and a grant must stay in sight."""
    return Grant.objects.all()


def live_grants() -> QuerySet[Grant]:
    return Grant.objects.filter(_live())


def live_grants_on(server_id: UUID) -> QuerySet[Grant]:
    return Grant.objects.filter(_live(), server_id=server_id)


def grants_of(principal: Principal) -> QuerySet[Grant]:
    """Live grants whose subject is this principal: every part that is set matches."""
    if not principal.is_known:
        return Grant.objects.none()
    return Grant.objects.filter(
        _live(),
        subject_user__in=["", principal.user_id],
        subject_agent__in=["", principal.agent],
        subject_team__in=["", *principal.team_ids],
        subject_key__in=["", principal.key_id],
    )


def list_sessions() -> QuerySet[AgentSession]:
    """Every session of an agent, the newest first. Never joined with servers, as grants."""
    return AgentSession.objects.all()


def live_sessions() -> QuerySet[AgentSession]:
    """Those that neither were revoked nor reached their expiry; the policy of a server may still end one of them earlier."""
    return AgentSession.objects.filter(_live_session())


def compile_rules() -> list[GrantRule]:
    """Every grant that a gateway must know of, as the engine's values."""
    horizon = clock.now() - _REMEMBER_ENDED
    rows = Grant.objects.filter(
        Q(revoked_at=None) | Q(revoked_at__gte=horizon), Q(expires_at=None) | Q(expires_at__gte=horizon)
    ).order_by("namespace", "name", "pk")
    return [to_rule(grant) for grant in rows]


def compile_sessions() -> list[SessionRule]:
    """Every session that a gateway must know of, as the engine's values."""
    horizon = clock.now() - _REMEMBER_ENDED
    rows = AgentSession.objects.filter(
        Q(revoked_at=None) | Q(revoked_at__gte=horizon), Q(expires_at=None) | Q(expires_at__gte=horizon)
    ).order_by("namespace", "name", "pk")
    return [to_session_rule(session) for session in rows]


def to_rule(grant: Grant) -> GrantRule:
    """As the engine's value. A grant whose conditions cannot be read allows nothing, and goes on to deny what it denies."""
    try:
        held, is_readable = conditions.parse(grant.conditions), True
    except conditions.ConditionInvalidError:
        log.error("conditions of the grant %s cannot be read", grant.pk)
        held, is_readable = None, False
    return GrantRule(
        grant_id=grant.pk,
        server_id=grant.server_id,
        name=grant.name,
        namespace=grant.namespace,
        user=grant.subject_user,
        agent=grant.subject_agent,
        team=grant.subject_team,
        key=grant.subject_key,
        everyone=grant.for_everyone,
        max_trust=Trust.parse(grant.max_trust),
        side_effects=frozenset(SideEffect(effect) for effect in grant.side_effects),
        tool_rules={
            rule["name"]: ToolTerm(
                rule.get("decision") == "deny",
                Trust.parse(rule.get("required_trust")),
                needs_approval=rule.get("approval") is True,
            )
            for rule in grant.tool_rules
            if is_readable or rule.get("decision") == "deny"
        },
        conditions=held,
        policy_version=grant.policy_version,
        disabled=grant.disabled_at is not None or not (is_readable or grant.denied_tools),
        expires_at=grant.expires_at,
        revoked_at=grant.revoked_at,
    )


def to_session_rule(session: AgentSession) -> SessionRule:
    return SessionRule(
        session_id=session.pk,
        server_id=session.server_id,
        name=session.name,
        namespace=session.namespace,
        user=session.subject_user,
        agent=session.subject_agent,
        team=session.subject_team,
        consented_trust=Trust.parse(session.consented_trust),
        issued_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        revoked_at=session.revoked_at,
        idle_timeout_s=session.idle_timeout_s or 0,
        policy_version=session.policy_version,
        credential_id=session.credential_id,
    )


def list_limits() -> QuerySet[Limit]:
    """Every limit that the organisation has set, the oldest first. Never joined with servers, as grants."""
    return Limit.objects.all()


def compile_limits() -> tuple[LimitRule, ...]:
    """What holds in the organisation: what it has set, and the platform's defaults where it has set nothing of the kind."""
    own = tuple(to_limit_rule(limit) for limit in list_limits())
    replaced = {(rule.scope, rule.kind, rule.period) for rule in own if rule.key_id is None and rule.hard}
    return (
        *(rule for rule in default_limits() if (rule.scope, rule.kind, rule.period) not in replaced),
        *own,
    )


def default_limits() -> tuple[LimitRule, ...]:
    """The platform's defaults; an amount of 0 in the settings is no limit."""
    rate, cap = settings.LIMIT_KEY_REQUESTS_PER_MINUTE, settings.LIMIT_SPEND_PER_MONTH
    rules = (
        LimitRule("default-key-rate", "Requests of each key", LimitScope.KEY, LimitKind.RATE, rate, Period.MINUTE),
        LimitRule(
            "default-spend",
            "Spending of the organisation",
            LimitScope.ORGANISATION,
            LimitKind.CAP,
            cap * MONEY_SCALE,
            Period.MONTH,
        ),
    )
    return tuple(rule for rule in rules if rule.amount)


def to_limit_rule(limit: Limit) -> LimitRule:
    kind = LimitKind(limit.kind)
    return LimitRule(
        limit_id=str(limit.pk),
        name=limit.name,
        scope=LimitScope(limit.scope),
        kind=kind,
        amount=to_units(limit.amount) if kind is LimitKind.CAP else int(limit.amount),
        period=Period(limit.period),
        hard=limit.hard,
        key_id=limit.key_id,
        server_id=limit.server_id,
        tool=limit.tool,
        currency=limit.currency,
    )


def compile_policy(server: Server) -> ServerPolicy:
    """What the engine needs to know of a server, from its approved version."""
    tools = server.current_version.tools.all() if server.current_version else []
    quarantined, confirmed = drifts.open_tools(server.pk), labels.of_server(server.pk)
    settings = PolicySettings.of(server)
    return ServerPolicy(
        server_id=server.pk,
        mode=PolicyMode(server.policy_mode),
        allows_by_default=settings.default_decision == "allow",
        enforce_on=EnforceOn(settings.enforce_on),
        compat=Compat(settings.compat),
        policy_version=settings.policy_version,
        team=str(server.owner_team_id or ""),
        session=SessionTerms(
            required=settings.session_required,
            header=settings.session_header,
            max_lifetime_s=settings.session_max_lifetime_s,
            idle_timeout_s=settings.session_idle_timeout_s,
        ),
        required_trust=Trust.parse(server.required_trust),
        tools={
            tool.name: ToolRule(
                name=tool.name,
                required_trust=Trust.parse(tool.required_trust),
                side_effect=SideEffect(tool.side_effect) if tool.side_effect else None,
                digest=tool.definition_digest,
                idempotent=_is_idempotent(tool.definition),
                quarantined=tool.name in quarantined,
                labels=_labels(confirmed[tool.name].labels) if tool.name in confirmed else None,
                suggested=NO_LABELS if tool.name in confirmed else _labels(labels.suggested(tool)),
            )
            for tool in tools
        },
        reads=_labels(confirmed[READS].labels) if READS in confirmed else None,
    )


def _labels(names: Iterable[str]) -> Labels:
    return frozenset(map(FlowLabel, names))


def policy_for(server: Server, tenant_id: UUID) -> ServerPolicy:
    """The same as it holds for calls of the active organisation, with what it asks beside its grants."""
    policy = compile_policy(server).towards(own=server.owner_tenant_id == tenant_id)
    policy, rule = policy.guarded(guards.guards_at(server.pk)), flow_rules.compile_rule()
    if rule is None:
        return policy
    return replace(policy, flows=flow.flowing(policy, rule, flow_rules.own_labels_at(server.pk)))


def _is_idempotent(definition: dict[str, Any]) -> bool:
    """What the approved definition says of repeating a call; together with an approved side effect, never by itself."""
    hints = definition.get("annotations")
    return isinstance(hints, dict) and (hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True)


def callable_servers(viewer: Viewer) -> QuerySet[Server]:
    """Servers that this viewer may know of and that a gateway would forward to."""
    rows = visible_to(viewer).filter(status__in=_CALLABLE, gateway_enabled=True).exclude(current_version=None)
    return rows.exclude(url="").exclude(current_version__protocol="")


def is_callable(server: Server) -> bool:
    """Whether a gateway would forward anything to the server at all."""
    if server.status not in _CALLABLE or not server.gateway_enabled or not server.url:
        return False
    # What only a source says of a server is no basis for a policy: the tools must have been read from the server itself.
    return server.current_version is not None and bool(server.current_version.protocol)


def list_keys(tenant: Tenant) -> QuerySet[APIKey]:
    """The organisation's keys, the newest first."""
    return APIKey.objects.filter(tenant=tenant).select_related("created_by", "team")


def explain_call(
    key: APIKey,
    server: Server,
    method: str,
    tool: str,
    *,
    session: str = "",
    address: str = "",
    environment: str = "",
    arguments: Mapping[str, Any] | None = None,
) -> Decision:
    """What a gateway would decide at this moment for a call with this key, with the steps of the decision.

    The checks before the engine are those of the gateway's stages, in their order. `arguments` that are not known are not judged.
    """
    if key.state != "active":
        return _refuse(Reason.MISSING_IDENTITY, f"The key is {key.state}.")
    if key.server_ids and server.pk not in key.server_ids:
        return _refuse(Reason.SERVER_NOT_IN_KEY, "The key is limited to other servers.")
    if not is_callable(server):
        return _refuse(Reason.SERVER_NOT_READY, "The server cannot be called at present.")
    if Scope.INVOKE not in key.scopes:
        return _refuse(Reason.SCOPE_MISSING, "The key lacks the scope invoke.")
    principal = _principal(key, members_who_act(key.tenant))
    rules = [rule for rule in compile_rules() if rule.server_id == server.pk]
    sessions = [rule for rule in compile_sessions() if rule.server_id == server.pk] if session else []
    policy = policy_for(server, key.tenant_id)
    request = Request(method, tool, session, address, environment or key.environment, arguments)
    decision = engine.explain(policy, rules, sessions, principal, request, clock.now())
    return _with_flow(decision, key, policy, principal, tool) if FLOW in decision.obligations else decision


def _with_flow(decision: Decision, key: APIKey, policy: ServerPolicy, principal: Principal, tool: str) -> Decision:
    """The decision with what the key's session has touched, where the tool is labelled."""
    rule = flow_rules.compile_rule()
    if rule is None:
        return decision
    answer = outlook.of_call(
        tenant_id=key.tenant_id,
        rule=rule,
        policy=policy,
        principal=principal,
        key_id=key.pk,
        tool=tool,
        grant=decision.grant_id,
    )
    if answer is None:
        return decision
    said = outlook.words(answer, policy.flows[tool])
    outcome = "passed" if answer.verdict.passes else "failed"
    steps = tuple(Step(step.rule, outcome, said) if step.rule == engine.FLOWS else step for step in decision.steps)
    return replace(decision, steps=steps, message=f"{decision.message} {said}")


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool that a key may call, under its name at the aggregated endpoint."""

    name: str
    server: str
    definition_bytes: int
    own_name: str


def tools_of_key(key: APIKey, servers: QuerySet[Server]) -> list[ListedTool]:
    """What the aggregated endpoint would list for a key at this moment in the form all, by server and in its order."""
    return tools_of_keys([key], servers)[key.pk]


def tools_of_keys(keys: Sequence[APIKey], servers: QuerySet[Server]) -> dict[UUID, list[ListedTool]]:
    """The same for several keys of one organisation at once: servers, grants and tools are read one time for all of them."""
    found: dict[UUID, list[ListedTool]] = {key.pk: [] for key in keys}
    live = [key for key in keys if key.state == "active" and Scope.INVOKE in key.scopes]
    if not live:
        return found
    members = members_who_act(live[0].tenant)
    acting = {key.pk: _principal(key, members) for key in live}
    rules = [rule for rule in compile_rules() if any(engine.is_about(rule, each) for each in acting.values())]
    touched = {rule.server_id for rule in rules}
    tenant_id, now = live[0].tenant_id, clock.now()
    rows = servers.filter(Q(pk__in=touched) | Q(owner_tenant_id=tenant_id) & open_without_grant())
    for server in rows.select_related("current_version").prefetch_related("current_version__tools").order_by("slug"):
        policy = compile_policy(server).towards(own=server.owner_tenant_id == tenant_id)
        grants = [rule for rule in rules if rule.server_id == server.pk]
        tools = [
            ListedTool(names.expose(server.slug, tool.name), server.name, len(json.dumps(tool.definition)), tool.name)
            for tool in (server.current_version.tools.all() if server.current_version else ())
        ]
        for key in live:
            if not key.server_ids or server.pk in key.server_ids:
                found[key.pk] += [
                    tool
                    for tool in tools
                    if engine.decide(
                        policy, grants, (), acting[key.pk], Request("tools/call", tool.own_name), now
                    ).allowed
                ]
    return found


def _principal(key: APIKey, members: set[UUID]) -> Principal:
    return Principal(
        key_id=str(key.pk),
        user_id=str(acting_user_id(key, members) or ""),
        agent=key.agent,
        team_ids=frozenset({str(key.team_id)}) if key.team_id else frozenset(),
    )


def _refuse(reason: Reason, message: str) -> Decision:
    return Decision(False, reason, message, steps=engine.trace(reason))


def open_without_grant() -> Q:
    """Servers that let agents of their owner call without a grant: those that only observe, or allow by default."""
    return Q(policy_mode=PolicyMode.OBSERVE) | Q(policy_settings__default_decision="allow")


def _live() -> Q:
    return Q(disabled_at=None) & _live_session()


def _live_session() -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=clock.now()))
