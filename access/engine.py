"""The policy decision: a pure function of the compiled policy, the caller, the request and the moment.

Called by the gateway for every MCP request, by the access pages to explain, and by nobody else. It never reads a clock, a
setting or a database. Order, reason strings and arithmetic follow the MCP Runtime evaluator (requirements C5). Where that
leaves a gap (C6), ours is the stricter reading unless the server's owner asks for the other one (`Compat.MCP_RUNTIME`):

- every method has a rule and needs a live grant; an unknown method is denied, an unknown or changed tool too;
- a grant that is switched off does not match;
- a session that is named has to be a live one of the caller, also where none is required;
- a grant or session ends at the moment of its expiry, not after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from operator import attrgetter

from access import conditions
from access.types import (
    APPROVAL,
    FLOW,
    READS,
    Compat,
    Decision,
    EnforceOn,
    GrantRule,
    PolicyMode,
    Principal,
    Reason,
    Request,
    ServerPolicy,
    SessionRule,
    Share,
    SideEffect,
    Step,
    ToolRule,
    Trust,
)


class MethodRule(StrEnum):
    HANDSHAKE = "handshake"  # opens or describes the connection; needs any live grant
    LIST = "list"  # names what there is; needs any live grant
    READ = "read"  # returns content; needs a live grant with side effect read and enough trust
    CALL = "call"  # runs a tool, or is about a task that it started; the tool's own rule decides


METHOD_RULES: dict[str, MethodRule] = {
    "initialize": MethodRule.HANDSHAKE,
    "ping": MethodRule.HANDSHAKE,
    "server/discover": MethodRule.HANDSHAKE,
    "logging/setLevel": MethodRule.HANDSHAKE,
    "tools/list": MethodRule.LIST,
    "resources/list": MethodRule.LIST,
    "resources/templates/list": MethodRule.LIST,
    "prompts/list": MethodRule.LIST,
    "subscriptions/listen": MethodRule.LIST,
    "resources/read": MethodRule.READ,
    "resources/subscribe": MethodRule.READ,
    "resources/unsubscribe": MethodRule.READ,
    "prompts/get": MethodRule.READ,
    "completion/complete": MethodRule.READ,
    "tools/call": MethodRule.CALL,
    "tasks/get": MethodRule.CALL,
    "tasks/result": MethodRule.CALL,
    "tasks/update": MethodRule.CALL,
    "tasks/cancel": MethodRule.CALL,
}

_WORDS = {trust: trust.word for trust in Trust}
# Methods that bring what a server holds into a session, beside calls of its tools.
_CONTENT = frozenset({"resources/read", "prompts/get", "completion/complete"})
_ORDER = attrgetter("namespace", "name", "grant_id")
_APPROVED = "A person approves the call"
FLOWS = "The session keeps apart what must not meet"
_WAIT = "Call it, have somebody approve the call, and send the same call again."
_ASK = "Ask an admin of your organisation for access to this server."

# Refusals of a request that every rule allowed.
_LIMITS = frozenset(
    {
        Reason.TOO_MANY_AT_ONCE,
        Reason.RATE_LIMITED,
        Reason.QUOTA_REACHED,
        Reason.CAP_REACHED,
        Reason.PAYMENT_DUE,
        Reason.LIMITS_UNAVAILABLE,
    }
)


# Refusals that a person may undo, when asked: with a grant, or with a session.
ASKABLE = frozenset(
    {
        Reason.MISSING_SESSION,
        Reason.SESSION_NOT_FOUND,
        Reason.SESSION_REVOKED,
        Reason.SESSION_EXPIRED,
        Reason.NO_MATCHING_GRANT,
        Reason.GRANT_EXPIRED,
        Reason.GRANT_REVOKED,
        Reason.CONDITION_NOT_MET,
        Reason.TOOL_DENIED,
        Reason.TOOL_NOT_GRANTED,
        Reason.ARGUMENTS_NOT_ALLOWED,
        Reason.SIDE_EFFECT_NOT_ALLOWED,
        Reason.TRUST_TOO_LOW,
    }
)


@dataclass(slots=True)
class _Case:
    """What is being decided, and what is known of it so far."""

    policy: ServerPolicy
    principal: Principal
    request: Request
    now: datetime
    rule: MethodRule
    tool: ToolRule
    session: SessionRule | None = None
    grant: GrantRule | None = None
    required: Trust = Trust.LOW
    admin: int = 0
    needs_approval: bool = False

    @property
    def is_lenient(self) -> bool:
        return self.policy.compat is Compat.MCP_RUNTIME


def decide(
    policy: ServerPolicy,
    grants: Iterable[GrantRule],
    sessions: Iterable[SessionRule],
    principal: Principal,
    request: Request,
    now: datetime,
) -> Decision:
    """Decide one request. The order of grants and sessions does not matter."""
    rule = METHOD_RULES.get(request.method)
    if rule is None:
        return Decision(
            False,
            Reason.METHOD_UNKNOWN,
            f"The method {request.method!r} is not one that this gateway carries.",
            "Use a method of the Model Context Protocol.",
        )
    case = _Case(policy, principal, request, now, rule, _tool_rule(policy, rule, request))
    if case.is_lenient and rule is not MethodRule.CALL and policy.enforce_on is EnforceOn.CALL_TOOL:
        return _allow(case)
    if case.is_lenient and policy.mode is PolicyMode.OBSERVE:
        return _allow(case)
    if not principal.is_known:
        return _deny(case, Reason.MISSING_IDENTITY, "The caller has no identity.", "Send an API key.")
    if policy.mode is PolicyMode.OBSERVE:
        return _refuse_unapproved(case) or _allow(case, Reason.OBSERVED, "The server's policy only observes.")
    return _take_session(case, sessions) or _refuse_unapproved(case) or _judge(case, grants)


def explain(
    policy: ServerPolicy,
    grants: Iterable[GrantRule],
    sessions: Iterable[SessionRule],
    principal: Principal,
    request: Request,
    now: datetime,
) -> Decision:
    """The same decision with its steps; kept apart so that the hot path builds no list."""
    grants = tuple(grants)
    decision = decide(policy, grants, sessions, principal, request, now)
    is_summed = decision.reason in {Reason.ALLOWED, Reason.TRUST_TOO_LOW} and decision.grant_id is not None
    found = _shares(policy, grants, principal, request, now) if is_summed else ()
    steps = trace(decision.reason)
    if FLOW in decision.obligations:
        steps = (*steps, Step(FLOWS, "skipped", "Depends on what the session has touched."))
    if APPROVAL in decision.obligations:
        steps = (*steps, Step(_APPROVED, "skipped", "Asked for with each call."))
    return replace(decision, steps=steps, shares=found if len(found) > 1 else ())


def _shares(
    policy: ServerPolicy, grants: tuple[GrantRule, ...], principal: Principal, request: Request, now: datetime
) -> tuple[Share, ...]:
    """What each grant adds to the trust of a request that was held against it: the most that any gives counts, and the
    most that any asks for (requirements C6, Q4)."""
    rule = METHOD_RULES[request.method]
    case = _Case(policy, principal, request, now, rule, _tool_rule(policy, rule, request))
    if rule in {MethodRule.HANDSHAKE, MethodRule.LIST} or _is_open_read(case):
        return ()
    is_call, name, found = rule is MethodRule.CALL, case.tool.name, []
    for each in _live(case, grants).grants:
        terms = each.conditions
        if (
            each.disabled
            or case.tool.side_effect not in each.side_effects
            or (is_call and each.tool_rules and name not in each.tool_rules)
            or (terms is not None and not (conditions.hold(terms, request, now) and conditions.fits(terms, request)))
        ):
            continue
        term = each.tool_rules.get(name) if is_call else None
        found.append(
            Share(
                each.grant_id,
                each.name,
                _WORDS[each.max_trust],
                _WORDS[term.required_trust]
                if term is not None and term.required_trust > case.tool.required_trust
                else "",
            )
        )
    return tuple(found)


def is_about(grant: GrantRule | SessionRule, principal: Principal, team: str = "") -> bool:
    """Whether every part that is set in the subject is the caller, and one is set. `team` stands in where no team is set."""
    team = grant.team or team
    if (
        (grant.user and grant.user != principal.user_id)
        or (grant.agent and grant.agent != principal.agent)
        or (team and team not in principal.team_ids)
    ):
        return False
    if isinstance(grant, SessionRule):
        return bool(grant.user or grant.agent or team)
    if grant.key and grant.key != principal.key_id:
        return False
    return bool(grant.everyone or grant.user or grant.agent or team or grant.key)


def _tool_rule(policy: ServerPolicy, rule: MethodRule, request: Request) -> ToolRule:
    if rule is MethodRule.CALL:
        return policy.tools.get(request.tool) or ToolRule(request.tool, Trust.LOW, None)
    is_enforced = rule is MethodRule.READ and policy.enforce_on is EnforceOn.ALL
    return ToolRule("", policy.required_trust if is_enforced else Trust.LOW, SideEffect.READ)


def _refuse_unapproved(case: _Case) -> Decision | None:
    """Nobody approved a tool that is not in the approved version, or what it is by its present definition, whoever owns it."""
    if case.rule is not MethodRule.CALL:
        return None
    if case.request.tool not in case.policy.tools and not case.is_lenient:
        return _deny(
            case,
            Reason.TOOL_UNKNOWN,
            f"The server has no approved tool named {case.request.tool!r}.",
            "List the server's tools and use one of their names.",
        )
    if case.tool.quarantined:
        return _deny(
            case,
            Reason.TOOL_QUARANTINED,
            f"The definition of {case.tool.name!r} changed after it was approved.",
            "Wait until the changed definition is approved; the server's owner and the operator were told.",
        )
    return None


def find_session(
    policy: ServerPolicy, sessions: Iterable[SessionRule], principal: Principal, name: str
) -> SessionRule | None:
    """The session that the caller means by a name: one that is its own, a live one first."""
    team = policy.team if policy.compat is Compat.MCP_RUNTIME else ""
    found = [
        each
        for each in sessions
        if each.name == name and each.server_id == policy.server_id and is_about(each, principal, team)
    ]
    return min(found, key=lambda each: (each.revoked_at is not None, each.namespace, each.session_id), default=None)


def _take_session(case: _Case, sessions: Iterable[SessionRule]) -> Decision | None:
    """Find the session that the request names, and refuse the request when it may not go on without it or with it."""
    name, terms = case.request.session, case.policy.session
    if case.rule is not MethodRule.CALL and case.policy.enforce_on is EnforceOn.CALL_TOOL:
        return None
    if not name:
        if not terms.required:
            return None
        return _deny(
            case,
            Reason.MISSING_SESSION,
            "The server wants every call to belong to a session.",
            f"Send the name of a session of yours in the header {terms.header}.",
        )
    session = find_session(case.policy, sessions, case.principal, name)
    reason = _defect_of(case, session)
    if reason is None:
        case.session = session
    elif terms.required or not case.is_lenient:
        case.session = session
        return _deny(case, reason, *_SESSION_WORDS[reason])
    return None


_SESSION_WORDS = {
    Reason.SESSION_NOT_FOUND: ("There is no session of that name for this caller.", "Have a session issued for it."),
    Reason.SESSION_REVOKED: ("The session was revoked.", "Have another session issued, if the caller should have one."),
    Reason.SESSION_EXPIRED: ("The session has reached its end, or was not used for too long.", "Open another session."),
}


def _defect_of(case: _Case, session: SessionRule | None) -> Reason | None:
    if session is None:
        return Reason.SESSION_NOT_FOUND
    if session.revoked_at is not None:
        return Reason.SESSION_REVOKED
    end = session.ends_at(case.policy.session, case.request.session_used_at)
    is_over = end is not None and (case.now > end if case.is_lenient else case.now >= end)
    return Reason.SESSION_EXPIRED if is_over else None


@dataclass(slots=True)
class _Live:
    """The live grants of the caller on the server, in order."""

    grants: list[GrantRule]
    denying: list[GrantRule]  # those with a rule against the tool
    is_conditional: bool


def _judge(case: _Case, grants: Iterable[GrantRule]) -> Decision:
    """What the grants of the caller say."""
    grants = tuple(grants)
    live = _live(case, grants)
    if not live.grants:
        return _without_grant(case, grants)
    for each in live.denying:
        if each.conditions is None or conditions.may_hold(each.conditions, case.request, case.now):
            return _denied(case, each)
    counting = live.grants
    if live.is_conditional:
        counting = [
            each
            for each in counting
            if each.conditions is None or conditions.hold(each.conditions, case.request, case.now)
        ]
    if not counting:
        case.grant = live.grants[0]
        return _deny(
            case,
            Reason.CONDITION_NOT_MET,
            "A grant covers this caller, but not at this hour, from this address or for this environment.",
            "Call when and from where the grant allows it, or ask an admin of your organisation for a wider one.",
        )
    return _weigh(case, counting)


def _live(case: _Case, grants: tuple[GrantRule, ...]) -> _Live:
    """One pass without a call for each grant: an organisation may have many, and this runs for each request."""
    principal, now, tool = case.principal, case.now, case.request.tool
    user, agent, key, teams = principal.user_id, principal.agent, principal.key_id, principal.team_ids
    server, keeps_disabled = case.policy.server_id.int, case.is_lenient and case.rule is MethodRule.CALL
    stand_in = case.policy.team if case.is_lenient else ""
    found = _Live([], [], is_conditional=False)
    live, is_call, in_order, last, namespace = found.grants, case.rule is MethodRule.CALL, True, "", None
    for each in grants:
        team = each.team or stand_in
        if (
            (each.user and each.user != user)
            or (each.agent and each.agent != agent)
            or (each.key and each.key != key)
            or (team and team not in teams)
            or each.revoked_at is not None
            or (each.expires_at is not None and now >= each.expires_at)
            or each.server_id.int != server
            or (each.disabled and not keeps_disabled)
            or not (each.user or each.agent or each.key or team or each.everyone)
        ):
            continue
        name = each.name
        if name <= last or each.namespace != namespace:
            in_order, namespace = not live, each.namespace
        last = name
        live.append(each)
        if each.conditions is not None:
            found.is_conditional = True
        if is_call and each.tool_rules and not each.disabled:
            term = each.tool_rules.get(tool)
            if term is not None and term.is_denied:
                found.denying.append(each)
    if not in_order:
        live.sort(key=_ORDER)
        found.denying.sort(key=_ORDER)
    return found


def _denied(case: _Case, grant: GrantRule) -> Decision:
    case.grant = grant
    return _deny(
        case,
        Reason.TOOL_DENIED,
        f"A grant of yours denies the tool {case.request.tool!r}, and that counts more than what others allow.",
        "Ask an admin of your organisation whether the tool is to be allowed to you.",
    )


def _weigh(case: _Case, grants: list[GrantRule]) -> Decision:
    """The arithmetic of trust over grants that match and count, in their order."""
    if case.rule is MethodRule.HANDSHAKE or case.rule is MethodRule.LIST or _is_open_read(case):
        case.grant = grants[0]
        return _allow(case)
    if case.rule is MethodRule.CALL:
        allowing = [
            each for each in grants if not each.disabled and (not each.tool_rules or case.tool.name in each.tool_rules)
        ]
    else:
        allowing = [each for each in grants if not each.disabled]
    if not allowing:
        case.grant = grants[0]
        return _by_default(
            case,
            Reason.TOOL_NOT_GRANTED,
            f"No grant of yours names the tool {case.request.tool!r}.",
            "Ask an admin of your organisation to add the tool to your grant.",
        )
    fitting = [each for each in allowing if each.conditions is None or conditions.fits(each.conditions, case.request)]
    case.grant = (fitting or allowing)[0]
    if not fitting:
        return _deny(
            case,
            Reason.ARGUMENTS_NOT_ALLOWED,
            f"Your grant allows {case.tool.name!r} only with other arguments.",
            "Call it with arguments that the grant allows, or ask an admin of your organisation for a wider one.",
        )
    return _hold_against_trust(case, fitting)


def _is_open_read(case: _Case) -> bool:
    return case.rule is MethodRule.READ and case.policy.enforce_on is EnforceOn.CALL_TOOL


def _hold_against_trust(case: _Case, grants: list[GrantRule]) -> Decision:
    tool, effect = case.tool, case.tool.side_effect
    required, admin, source = tool.required_trust, 0, grants[0]
    is_call = case.rule is MethodRule.CALL
    for each in grants:
        if effect not in each.side_effects:
            continue
        if each.max_trust > admin:
            admin, source = each.max_trust, each
        term = each.tool_rules.get(tool.name) if is_call and each.tool_rules else None
        if term is None:
            continue
        if term.needs_approval:
            case.needs_approval = True
        if term.required_trust > required:
            required, source = term.required_trust, each
    case.grant, case.required, case.admin = source, required, admin
    if effect is None:
        return _deny(
            case,
            Reason.TOOL_SIDE_EFFECT_UNKNOWN,
            f"It is not declared whether {tool.name!r} reads, writes or destroys.",
            "Ask the provider to declare the tool's side effect.",
        )
    if not admin:
        allowed = ", ".join(sorted({each for grant in grants for each in grant.side_effects})) or "nothing"
        what = f"{tool.name!r} is {effect}" if tool.name else "This request reads"
        return _deny(
            case,
            Reason.SIDE_EFFECT_NOT_ALLOWED,
            f"{what}; your grant allows {allowed}.",
            f"Ask an admin of your organisation for a grant that allows {effect} calls.",
        )
    consented = case.session.consented_trust if case.session is not None else admin
    if min(admin, consented) < required:
        return _too_low(case, Trust(admin), Trust(consented))
    return _allow(case)


def _too_low(case: _Case, admin: Trust, consented: Trust) -> Decision:
    needed = _WORDS[case.required]
    if consented < admin and case.required <= admin:
        return _deny(
            case,
            Reason.TRUST_TOO_LOW,
            f"Needs {needed} trust; the session was given {_WORDS[consented]}.",
            f"Open a session that consents to {needed} trust.",
        )
    return _deny(
        case,
        Reason.TRUST_TOO_LOW,
        f"Needs {needed} trust; your grant gives {_WORDS[admin]}.",
        f"Ask an admin of your organisation for a grant with {needed} trust.",
    )


def _without_grant(case: _Case, grants: tuple[GrantRule, ...]) -> Decision:
    """No live grant of the caller: which reason says best why."""
    team = case.policy.team if case.is_lenient else ""
    server_id = case.policy.server_id
    matching = [each for each in grants if each.server_id == server_id and is_about(each, case.principal, team)]
    ended = [each for each in matching if not each.disabled or each.revoked_at is not None]
    if not matching or case.policy.allows_by_default or case.is_lenient:
        return _by_default(case, Reason.NO_MATCHING_GRANT, "No grant covers this caller on this server.", _ASK)
    if not ended:
        return _deny(case, Reason.NO_MATCHING_GRANT, "Your grant on this server is switched off.", _ASK)
    last = max(ended, key=lambda each: each.grant_id)
    case.grant = last
    if last.revoked_at is not None:
        return _deny(
            case,
            Reason.GRANT_REVOKED,
            "Your grant on this server was revoked.",
            "Ask an admin of your organisation if you still need access.",
        )
    return _deny(
        case,
        Reason.GRANT_EXPIRED,
        "Your grant on this server has expired.",
        "Ask an admin of your organisation to give it again.",
    )


def _by_default(case: _Case, reason: Reason, message: str, next_step: str) -> Decision:
    """No grant speaks for the request: the server's default decides, and the reason stays."""
    if case.policy.allows_by_default:
        case.grant = None
        return _allow(case, reason, "No grant speaks for it; the server's policy allows by default.")
    return _deny(case, reason, message, next_step)


def _allow(case: _Case, reason: Reason = Reason.ALLOWED, message: str = "Allowed.") -> Decision:
    return _decision(case, True, reason, message, "")


def _deny(case: _Case, reason: Reason, message: str, next_step: str) -> Decision:
    return _decision(case, False, reason, message, next_step)


def _decision(case: _Case, allowed: bool, reason: Reason, message: str, next_step: str) -> Decision:
    tool, grant, session = case.tool, case.grant, case.session
    is_pending = allowed and (case.needs_approval or tool.needs_approval) and case.request.method == "tools/call"
    if is_pending:
        message, next_step = f"{message} A person approves each call of {tool.name!r}.", _WAIT
    admin = case.admin or (grant.max_trust if grant is not None else 0)
    consented = min(admin, session.consented_trust) if session is not None and admin else admin
    is_about_tool = reason is not Reason.TOOL_UNKNOWN and reason is not Reason.MISSING_IDENTITY
    required = max(case.required, tool.required_trust)
    return Decision(
        allowed,
        reason,
        message,
        next_step,
        grant_id=grant.grant_id if grant is not None else None,
        side_effect=(tool.side_effect or "") if is_about_tool else "",
        trust_required=_WORDS[required] if is_about_tool else "",
        trust_effective=_WORDS[Trust(consented)] if admin else "",
        session_id=session.session_id if session is not None else None,
        trust_admin=_WORDS[Trust(admin)] if admin else "",
        trust_consented=_WORDS[session.consented_trust if session is not None else Trust(admin)] if admin else "",
        risk=tool.risk_level if tool.name and is_about_tool else "",
        policy_version=(grant.policy_version if grant is not None else "")
        or (session.policy_version if session is not None and grant is None else "")
        or case.policy.policy_version,
        obligations=_obligations(case, is_pending=is_pending) if allowed else (),
    )


def _obligations(case: _Case, *, is_pending: bool) -> tuple[str, ...]:
    """What has to happen beside an allowed request. Most have nothing, and share one empty tuple."""
    found = (APPROVAL,) if is_pending else ()
    if not case.policy.flows:
        return found
    method = case.request.method
    name = case.request.tool if method == "tools/call" else READS if method in _CONTENT else None
    return (FLOW, *found) if name is not None and name in case.policy.flows else found


# What is checked, in order: a name, the words, and the reasons that a failure gives.
CHECKS: tuple[tuple[str, str, frozenset[Reason]], ...] = (
    (
        "credential",
        "The credential is valid and carries the scope",
        frozenset({Reason.MISSING_IDENTITY, Reason.SCOPE_MISSING}),
    ),
    (
        "server",
        "The server is known to the organisation and open to this key",
        frozenset({Reason.SERVER_UNKNOWN, Reason.SERVER_NOT_IN_KEY, Reason.SERVER_NOT_READY}),
    ),
    ("request", "The request is well formed and its headers agree with its body", frozenset({Reason.REQUEST_INVALID})),
    ("method", "The method is known", frozenset({Reason.METHOD_UNKNOWN})),
    (
        "session",
        "The session, where one is named or needed, is a live one of the caller",
        frozenset({Reason.MISSING_SESSION, Reason.SESSION_NOT_FOUND, Reason.SESSION_REVOKED, Reason.SESSION_EXPIRED}),
    ),
    ("tool", "The tool is known", frozenset({Reason.TOOL_UNKNOWN})),
    ("definition", "The tool's definition is the approved one", frozenset({Reason.TOOL_QUARANTINED})),
    (
        "grant",
        "A live grant covers the caller",
        frozenset({Reason.NO_MATCHING_GRANT, Reason.GRANT_EXPIRED, Reason.GRANT_REVOKED}),
    ),
    ("denied", "No grant denies the tool", frozenset({Reason.TOOL_DENIED})),
    ("conditions", "The grant's conditions hold", frozenset({Reason.CONDITION_NOT_MET})),
    ("named", "The grant names the tool", frozenset({Reason.TOOL_NOT_GRANTED})),
    ("arguments", "The grant allows the arguments", frozenset({Reason.ARGUMENTS_NOT_ALLOWED})),
    (
        "effect",
        "The grant allows the tool's side effect",
        frozenset({Reason.TOOL_SIDE_EFFECT_UNKNOWN, Reason.SIDE_EFFECT_NOT_ALLOWED}),
    ),
    ("trust", "Grant and session give enough trust", frozenset({Reason.TRUST_TOO_LOW})),
)
# What a policy that only observes looks at.
_OBSERVED = frozenset({"credential", "server", "request", "method", "tool", "definition"})

# What the gateway finds missing after the policy has agreed.
_AS_WHOM = frozenset({Reason.CREDENTIAL_MISSING, Reason.ACCOUNT_NOT_CONNECTED})
_BY_PEOPLE = frozenset({Reason.APPROVAL_REQUIRED, Reason.APPROVAL_REJECTED})
_BY_FLOWS = frozenset({Reason.FLOW_FORBIDDEN, Reason.FLOW_OBSERVED})


def trace(reason: Reason | str) -> tuple[Step, ...]:
    """The checks behind a stored reason: those before the deciding one passed, those after it did not run.

    A policy that only observes asks nothing of grants. Of a reason that is not known, no check is claimed to have passed.
    """
    if reason == Reason.POLICY_UNAVAILABLE:
        return (
            Step("The policy could be read", "failed", "The request was refused because nothing could be decided."),
        )
    steps: list[Step] = []
    decided = reason not in set(Reason)
    for name, rule, reasons in CHECKS:
        failed = reason in reasons
        is_run = not decided and (reason != Reason.OBSERVED or name in _OBSERVED)
        steps.append(
            Step(rule, "failed" if failed else "passed" if is_run else "skipped", str(reason) if failed else "")
        )
        decided = decided or failed
    if reason in _LIMITS:
        steps.append(Step("The limits leave room", "failed", str(reason)))
    if reason == Reason.RECORD_UNAVAILABLE:
        steps.append(Step("The call can be recorded", "failed", str(reason)))
    if reason in _AS_WHOM:
        steps.append(Step("The server has the credential that it asks for", "failed", str(reason)))
    if reason in _BY_FLOWS:
        steps.append(Step(FLOWS, "failed" if reason == Reason.FLOW_FORBIDDEN else "passed", str(reason)))
    if reason in _BY_PEOPLE:
        steps.append(Step(_APPROVED, "failed", str(reason)))
    return tuple(steps)
