"""A second, slow statement of the policy, written from its rules and not from the engine, to hold the engine against.

A request is a row of questions asked in a fixed order; the first question without a good answer names the reason.
"""

from __future__ import annotations

from datetime import datetime

from access.types import GrantRule, PolicyMode, Principal, Reason, ServerPolicy, SideEffect, Trust

CONNECT = {"initialize", "ping", "server/discover", "logging/setLevel"}
LIST = {"tools/list", "resources/list", "resources/templates/list", "prompts/list", "subscriptions/listen"}
CALL = {"tools/call", "tasks/get", "tasks/result", "tasks/update", "tasks/cancel"}
READ = {"resources/read", "resources/subscribe", "resources/unsubscribe", "prompts/get", "completion/complete"}


def is_live(grant: GrantRule, now: datetime) -> bool:
    return grant.revoked_at is None and not (grant.expires_at is not None and grant.expires_at <= now)


def is_about(grant: GrantRule, policy: ServerPolicy, caller: Principal) -> bool:
    holds = {
        "key": grant.subject == caller.key_id,
        "user": grant.subject == caller.user_id,
        "agent": grant.subject == caller.agent,
        "team": grant.subject in caller.team_ids,
    }
    return grant.server_id == policy.server_id and grant.subject != "" and holds[str(grant.subject_kind)]


def expected(
    policy: ServerPolicy, grants: list[GrantRule], caller: Principal, method: str, tool: str, now: datetime
) -> tuple[bool, Reason]:
    if method not in CONNECT | LIST | READ | CALL:
        return False, Reason.METHOD_UNKNOWN
    if not (caller.key_id or caller.user_id or caller.agent or any(caller.team_ids)):
        return False, Reason.MISSING_IDENTITY
    if method in CALL and (tool not in policy.tools or policy.tools[tool].quarantined):
        return False, Reason.TOOL_QUARANTINED if tool in policy.tools else Reason.TOOL_UNKNOWN
    if policy.mode == PolicyMode.OBSERVE:
        return True, Reason.OBSERVED
    mine = [grant for grant in grants if is_about(grant, policy, caller)]
    live = [grant for grant in mine if is_live(grant, now)]
    if not live:
        return False, _ended(mine)
    if method in CONNECT | LIST:
        return True, Reason.ALLOWED
    if method in READ:
        return _fits(live, SideEffect.READ, policy.required_trust)
    named = [grant for grant in live if grant.tools == frozenset() or tool in grant.tools]
    if not named:
        return False, Reason.TOOL_NOT_GRANTED
    if policy.tools[tool].side_effect is None:
        return False, Reason.TOOL_SIDE_EFFECT_UNKNOWN
    return _fits(named, policy.tools[tool].side_effect, policy.tools[tool].required_trust)


def _ended(mine: list[GrantRule]) -> Reason:
    if not mine:
        return Reason.NO_MATCHING_GRANT
    newest = max(mine, key=lambda grant: grant.grant_id)
    return Reason.GRANT_REVOKED if newest.revoked_at is not None else Reason.GRANT_EXPIRED


def _fits(grants: list[GrantRule], effect: SideEffect | None, trust: Trust) -> tuple[bool, Reason]:
    allowing = [grant for grant in grants if effect in grant.side_effects]
    if not allowing:
        return False, Reason.SIDE_EFFECT_NOT_ALLOWED
    if any(grant.max_trust >= trust for grant in allowing):
        return True, Reason.ALLOWED
    return False, Reason.TRUST_TOO_LOW
