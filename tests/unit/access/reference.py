"""A second, slow statement of the policy, written from the text of requirements C5 and C6 and not from the engine.

A request is a row of questions asked in a fixed order; the first question without a good answer names the reason. `lenient`
policies are read as MCP Runtime reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from access.types import (
    Compat,
    EnforceOn,
    GrantRule,
    PolicyMode,
    Principal,
    Reason,
    Request,
    ServerPolicy,
    SessionRule,
    SideEffect,
    Trust,
)

CONNECT = {"initialize", "ping", "server/discover", "logging/setLevel"}
LIST = {"tools/list", "resources/list", "resources/templates/list", "prompts/list", "subscriptions/listen"}
CALL = {"tools/call", "tasks/get", "tasks/result", "tasks/update", "tasks/cancel"}
READ = {"resources/read", "resources/subscribe", "resources/unsubscribe", "prompts/get", "completion/complete"}


@dataclass
class Answer:
    """What a decision has to say; None where the text says nothing about it."""

    allowed: bool
    reason: Reason
    admin: Trust | None = None
    consented: Trust | None = None
    effective: Trust | None = None
    required: Trust | None = None


def is_live(grant: GrantRule, now: datetime) -> bool:
    return grant.revoked_at is None and not (grant.expires_at is not None and grant.expires_at <= now)


def is_about(row: GrantRule | SessionRule, policy: ServerPolicy, caller: Principal) -> bool:
    """Every field of the subject that is not empty equals the caller's, and one is not empty (or it is for everyone)."""
    team = row.team or (policy.team if policy.compat is Compat.MCP_RUNTIME else "")
    wanted = {"user": row.user, "agent": row.agent, "team": team, "key": getattr(row, "key", "")}
    has = {
        "user": {caller.user_id},
        "agent": {caller.agent},
        "team": set(caller.team_ids),
        "key": {caller.key_id},
    }
    named = {kind: value for kind, value in wanted.items() if value != ""}
    fits = all(value in has[kind] for kind, value in named.items())
    return row.server_id == policy.server_id and fits and (bool(named) or getattr(row, "everyone", False))


def expected(
    policy: ServerPolicy,
    grants: list[GrantRule],
    sessions: list[SessionRule],
    caller: Principal,
    request: Request,
    now: datetime,
) -> Answer:
    lenient = policy.compat is Compat.MCP_RUNTIME
    calls_only = policy.enforce_on is EnforceOn.CALL_TOOL
    method, tool = request.method, request.tool
    if method not in CONNECT | LIST | READ | CALL:
        return Answer(False, Reason.METHOD_UNKNOWN)
    if lenient and ((calls_only and method not in CALL) or policy.mode is PolicyMode.OBSERVE):
        return Answer(True, Reason.ALLOWED)
    if not (caller.key_id or caller.user_id or caller.agent or any(caller.team_ids)):
        return Answer(False, Reason.MISSING_IDENTITY)
    if policy.mode is PolicyMode.OBSERVE:
        wrong = _wrong_with_tool(policy, method, tool)
        return Answer(False, wrong) if wrong else Answer(True, Reason.OBSERVED)
    session = None
    if method in CALL or not calls_only:
        session, wrong = _session(policy, sessions, caller, request, now)
        if wrong:
            return Answer(False, wrong)
    wrong = _wrong_with_tool(policy, method, tool)
    if wrong:
        return Answer(False, wrong)
    return _grants(policy, grants, session, caller, request, now)


def _wrong_with_tool(policy: ServerPolicy, method: str, tool: str) -> Reason | None:
    if method not in CALL:
        return None
    if tool not in policy.tools:
        return None if policy.compat is Compat.MCP_RUNTIME else Reason.TOOL_UNKNOWN
    return Reason.TOOL_QUARANTINED if policy.tools[tool].quarantined else None


def _session(
    policy: ServerPolicy, sessions: list[SessionRule], caller: Principal, request: Request, now: datetime
) -> tuple[SessionRule | None, Reason | None]:
    lenient, required = policy.compat is Compat.MCP_RUNTIME, policy.session.required
    if request.session == "":
        return None, Reason.MISSING_SESSION if required else None
    mine = [each for each in sessions if each.name == request.session and is_about(each, policy, caller)]
    mine.sort(key=lambda each: (each.revoked_at is not None, each.namespace, each.session_id))
    if not mine:
        wrong, found = Reason.SESSION_NOT_FOUND, None
    else:
        found = mine[0]
        if found.revoked_at is not None:
            wrong = Reason.SESSION_REVOKED
        elif _is_over(found, policy, request, now):
            wrong = Reason.SESSION_EXPIRED
        else:
            return found, None
    if required or not lenient:
        return None, wrong
    return None, None


def _is_over(session: SessionRule, policy: ServerPolicy, request: Request, now: datetime) -> bool:
    ends = [session.expires_at]
    if session.issued_at:
        ends.append(session.issued_at + timedelta(seconds=policy.session.max_lifetime_s))
    seen = [each for each in [session.issued_at, session.last_used_at, request.session_used_at] if each]
    idle = policy.session.idle_timeout_s
    if session.idle_timeout_s and session.idle_timeout_s < idle:
        idle = session.idle_timeout_s
    if seen:
        ends.append(max(seen) + timedelta(seconds=idle))
    lenient = policy.compat is Compat.MCP_RUNTIME
    return any(end is not None and (end < now if lenient else end <= now) for end in ends)


def _grants(
    policy: ServerPolicy,
    grants: list[GrantRule],
    session: SessionRule | None,
    caller: Principal,
    request: Request,
    now: datetime,
) -> Answer:
    lenient = policy.compat is Compat.MCP_RUNTIME
    mine = [grant for grant in grants if is_about(grant, policy, caller)]
    live = [grant for grant in mine if is_live(grant, now)]
    enabled = [grant for grant in live if not grant.disabled]
    # Quirk Q2: one that is switched off still matches a tool call.
    matching = live if lenient and request.method in CALL else enabled
    if not matching:
        if policy.allows_by_default:
            return Answer(True, Reason.NO_MATCHING_GRANT)
        return Answer(False, Reason.NO_MATCHING_GRANT if lenient else _ended(mine))
    if request.method in CONNECT | LIST or (request.method in READ and policy.enforce_on is EnforceOn.CALL_TOOL):
        return Answer(True, Reason.ALLOWED)
    if request.method in READ:
        return _trust(enabled, SideEffect.READ, policy.required_trust, "", session)
    for grant in enabled:
        if request.tool in grant.tool_rules and grant.tool_rules[request.tool].is_denied:
            return Answer(False, Reason.TOOL_DENIED)
    allowing = [grant for grant in enabled if not grant.tool_rules or request.tool in grant.tool_rules]
    if not allowing:
        return Answer(policy.allows_by_default, Reason.TOOL_NOT_GRANTED)
    known = policy.tools.get(request.tool)
    if known is None or known.side_effect is None:
        return Answer(False, Reason.TOOL_SIDE_EFFECT_UNKNOWN)
    return _trust(allowing, known.side_effect, known.required_trust, request.tool, session)


def _ended(mine: list[GrantRule]) -> Reason:
    ended = [grant for grant in mine if grant.revoked_at is not None or not grant.disabled]
    if not ended:
        return Reason.NO_MATCHING_GRANT
    newest = max(ended, key=lambda grant: grant.grant_id)
    return Reason.GRANT_REVOKED if newest.revoked_at is not None else Reason.GRANT_EXPIRED


def _trust(
    grants: list[GrantRule], effect: SideEffect, required: Trust, tool: str, session: SessionRule | None
) -> Answer:
    """Over all grants with the side effect: the most trust of any, the most that any rule asks, and never more than consented."""
    with_effect = [grant for grant in grants if effect in grant.side_effects]
    if not with_effect:
        return Answer(False, Reason.SIDE_EFFECT_NOT_ALLOWED)
    admin = max(grant.max_trust for grant in with_effect)
    asked = [grant.tool_rules[tool].required_trust for grant in with_effect if tool and tool in grant.tool_rules]
    required = max([required, *asked])
    consented = session.consented_trust if session is not None else admin
    effective = min(admin, consented)
    reason = Reason.ALLOWED if effective >= required else Reason.TRUST_TOO_LOW
    return Answer(effective >= required, reason, admin, consented, effective, required)
