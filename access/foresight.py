"""What would be decided, for callers and calls that are not there. The one place outside the gateway that asks the engine so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from access import engine, selectors, supposing
from access.models import Grant
from access.types import Compat, Decision, GrantRule, Principal, Reason, Request, ServerPolicy, SessionRule
from catalog.models import Server
from core import clock
from tenants.choices import Scope
from tenants.models import APIKey, Membership, Team, Tenant
from tenants.selectors.keys import acting_user_id, members_who_act


def person(user_id: object) -> Principal:
    """A person who acts by themself, without a key."""
    return Principal(user_id=str(user_id))


def would(
    principal: Principal,
    tenant: Tenant,
    server: Server,
    method: str,
    tool: str,
    *,
    address: str = "",
    arguments: Mapping[str, Any] | None = None,
) -> Decision:
    """What a gateway would decide at this moment, with the steps. Arguments that are not known are not judged."""
    if not selectors.is_callable(server):
        reason = Reason.SERVER_NOT_READY
        return Decision(False, reason, "The server cannot be called at present.", steps=engine.trace(reason))
    rules = [rule for rule in selectors.compile_rules() if rule.server_id == server.pk]
    sessions = [rule for rule in selectors.compile_sessions() if rule.server_id == server.pk]
    request = Request(method, tool, address=address, arguments=arguments)
    return engine.explain(policy_of(server, tenant), rules, sessions, principal, request, clock.now())


def policy_of(server: Server, tenant: Tenant) -> ServerPolicy:
    """The server's policy as it holds for callers of this organisation."""
    return selectors.policy_for(server, tenant.pk)


def decided(
    policy: ServerPolicy,
    rules: Sequence[GrantRule],
    sessions: Sequence[SessionRule],
    principal: Principal,
    request: Request,
) -> Decision:
    return engine.decide(policy, rules, sessions, principal, request, clock.now())


# What keeps a call out whatever its address and arguments are, before any grant is looked at.
_BEFORE_GRANTS = frozenset(
    {Reason.MISSING_IDENTITY, Reason.SERVER_NOT_IN_KEY, Reason.SERVER_NOT_READY, Reason.SCOPE_MISSING}
)


def hangs_on(
    principal: Principal, tenant: Tenant, server: Server, request: Request, decision: Decision
) -> tuple[str, ...]:
    """What would have to be known of a call for its decision to be certain (`supposing.ADDRESS`, `ARGUMENTS`)."""
    if decision.reason in _BEFORE_GRANTS:
        return ()
    rules = [rule for rule in selectors.compile_rules() if rule.server_id == server.pk]
    return _hangs_on(policy_of(server, tenant), rules, principal, request)


def _hangs_on(
    policy: ServerPolicy, rules: Sequence[GrantRule], principal: Principal, request: Request
) -> tuple[str, ...]:
    team = policy.team if policy.compat is Compat.MCP_RUNTIME else ""
    unknown = supposing.questions(rules, principal, request, team)
    verdicts = set()
    for case in supposing.cases(unknown):
        settled, asked = supposing.settle(rules, request, case)
        verdicts.add(decided(policy, settled, (), principal, asked).allowed)
    is_certain = len(verdicts) == 1 and len(unknown) <= supposing.QUESTIONS_MAX
    return () if is_certain else tuple(sorted({question.kind for question in unknown}))


# ------------------------------------------------------------------------------------------------------- who, and what

EACH_MAX = 500
SERVERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody or something that may call. `kind`: user | key | agent | team; agents and teams as such, whoever they are."""

    kind: str
    id: str
    label: str
    principal: Principal
    key: APIKey | None = None

    def asking(self, tool: str) -> Request:
        """A call of a tool, as this caller makes it."""
        return Request("tools/call", tool, environment=self.key.environment if self.key else "")


@dataclass(frozen=True, slots=True)
class Reach:
    """What would be decided for a caller."""

    caller: Caller
    decision: Decision
    grant: Grant | None = None
    hangs_on: tuple[str, ...] = ()  # what is not known of the call, where the decision depends on it


@dataclass(frozen=True, slots=True)
class Reached:
    """What would be decided for a tool."""

    server: Server
    tool: str
    decision: Decision
    grant: Grant | None = None
    hangs_on: tuple[str, ...] = ()


def callers(tenant: Tenant) -> list[Caller]:
    """Everybody and everything of an organisation that could call: keys, people, and agents and teams by themselves."""
    members = members_who_act(tenant)
    keys = [key for key in selectors.list_keys(tenant).filter(revoked_at=None)[:EACH_MAX] if key.state == "active"]
    found = [
        Caller("key", str(key.pk), key.name, principal_of(key, members), key)
        for key in keys
        if Scope.INVOKE in key.scopes
    ]
    people = (
        Membership.objects.filter(tenant=tenant, user__is_active=True).select_related("user").order_by("user__email")
    )
    found += [Caller("user", str(row.user_id), row.user.email, person(row.user_id)) for row in people[:EACH_MAX]]
    agents = {key.agent for key in keys if key.agent}
    agents |= set(Grant.objects.exclude(subject_agent="").values_list("subject_agent", flat=True)[:EACH_MAX])
    found += [Caller("agent", name, name, Principal(agent=name)) for name in sorted(agents)[:EACH_MAX]]
    teams = Team.objects.filter(tenant=tenant).order_by("name")[:EACH_MAX]
    found += [Caller("team", str(team.pk), team.name, Principal(team_ids=frozenset({str(team.pk)}))) for team in teams]
    return found


def principal_of(key: APIKey, members: set[UUID]) -> Principal:
    return Principal(
        key_id=str(key.pk),
        user_id=str(acting_user_id(key, members) or ""),
        agent=key.agent,
        team_ids=frozenset({str(key.team_id)}) if key.team_id else frozenset(),
    )


def who_can(tenant: Tenant, server: Server, tool: str) -> list[Reach]:
    """Each caller with what would be decided for a call of the tool at this moment, those who may first."""
    rules = [rule for rule in selectors.compile_rules() if rule.server_id == server.pk]
    policy = policy_of(server, tenant)
    found: list[tuple[Caller, Decision, tuple[str, ...]]] = []
    for caller in callers(tenant):
        if caller.key is not None and caller.key.server_ids and server.pk not in caller.key.server_ids:
            reason = Reason.SERVER_NOT_IN_KEY
            found.append((caller, Decision(False, reason, "The key is limited to other servers."), ()))
        else:
            asked = caller.asking(tool)
            decision = decided(policy, rules, (), caller.principal, asked)
            found.append((caller, decision, _hangs_on(policy, rules, caller.principal, asked)))
    grants = _grants(decision for _, decision, _ in found)
    reaches = [Reach(caller, decision, grants.get(decision.grant_id), open_) for caller, decision, open_ in found]
    return sorted(reaches, key=lambda reach: (not reach.decision.allowed or bool(reach.hangs_on), not reach.hangs_on))


def what_can(tenant: Tenant, caller: Caller, servers: QuerySet[Server]) -> list[Reached]:
    """Each tool of the servers that a caller has to do with, with what would be decided."""
    rules = selectors.compile_rules()
    touched = {rule.server_id for rule in rules if engine.is_about(rule, caller.principal)}
    rows = servers.filter(Q(pk__in=touched) | (Q(owner_tenant_id=tenant.pk) & selectors.open_without_grant()))
    if caller.key is not None and caller.key.server_ids:
        rows = rows.filter(pk__in=caller.key.server_ids)
    found = list(_each_tool(tenant, caller, rules, rows.prefetch_related("current_version__tools").order_by("name")))
    grants = _grants(each.decision for each in found)
    return [replace(each, grant=grants.get(each.decision.grant_id)) for each in found]


def _each_tool(
    tenant: Tenant, caller: Caller, rules: Sequence[GrantRule], servers: QuerySet[Server]
) -> Iterator[Reached]:
    for server in servers[:SERVERS_MAX]:
        policy = policy_of(server, tenant)
        mine = [rule for rule in rules if rule.server_id == server.pk]
        for tool in policy.tools:
            asked = caller.asking(tool)
            decision = decided(policy, mine, (), caller.principal, asked)
            yield Reached(server, tool, decision, hangs_on=_hangs_on(policy, mine, caller.principal, asked))


def _grants(decisions: Iterable[Decision]) -> dict[UUID | None, Grant]:
    ids = {decision.grant_id for decision in decisions if decision.grant_id is not None}
    return {grant.pk: grant for grant in selectors.list_grants().filter(pk__in=ids)}
