"""The policy decision: a pure function of the compiled policy, the caller, the request and the moment.

Called by the gateway for every MCP request, by the access pages to explain, and by nobody else. It never reads a clock, a
setting or a database. Whatever is not allowed by a live grant is denied; every method has a rule, an unknown method is denied.
Order and reason strings follow the MCP Runtime evaluator (requirements C5), with two stricter choices: an unknown tool is
denied by name, and requests other than tool calls need a live grant too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from access.types import (
    Decision,
    GrantRule,
    PolicyMode,
    Principal,
    Reason,
    ServerPolicy,
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


# Refusals of a request that every rule allowed.
_LIMITS = frozenset(
    {
        Reason.TOO_MANY_AT_ONCE,
        Reason.RATE_LIMITED,
        Reason.QUOTA_REACHED,
        Reason.CAP_REACHED,
        Reason.LIMITS_UNAVAILABLE,
    }
)


def decide(
    policy: ServerPolicy,
    grants: Iterable[GrantRule],
    principal: Principal,
    method: str,
    tool: str,
    now: datetime,
) -> Decision:
    """Decide one request. `tool` is the one that is called or started the task, and empty for other methods."""
    rule = METHOD_RULES.get(method)
    if rule is None:
        return _deny(
            Reason.METHOD_UNKNOWN,
            f"The method {method!r} is not one that this gateway carries.",
            "Use a method of the Model Context Protocol.",
        )
    subjects = principal.subjects()
    if not subjects:
        return _deny(Reason.MISSING_IDENTITY, "The caller has no identity.", "Send an API key.")
    tool_rule = policy.tools.get(tool) if rule is MethodRule.CALL else _method_rule(rule, policy)
    if tool_rule is None:
        return _deny(
            Reason.TOOL_UNKNOWN,
            f"The server has no approved tool named {tool!r}.",
            "List the server's tools and use one of their names.",
        )
    if tool_rule.quarantined:
        # Before the mode is looked at: nobody approved what the tool is by its present definition, whoever owns it.
        return _deny(
            Reason.TOOL_QUARANTINED,
            f"The definition of {tool!r} changed after it was approved.",
            "Wait until the changed definition is approved; the server's owner and the operator were told.",
            tool_rule,
        )
    if policy.mode is PolicyMode.OBSERVE:
        return Decision(
            True,
            Reason.OBSERVED,
            "The server's policy only observes.",
            side_effect=tool_rule.side_effect or "",
            trust_required=tool_rule.required_trust.word,
        )
    matching = [g for g in grants if g.server_id == policy.server_id and (g.subject_kind, g.subject) in subjects]
    live = [g for g in matching if g.revoked_at is None and (g.expires_at is None or now < g.expires_at)]
    if not live:
        return _no_live_grant(matching)
    return _judge(rule, tool_rule, live)


def explain(
    policy: ServerPolicy, grants: Iterable[GrantRule], principal: Principal, method: str, tool: str, now: datetime
) -> Decision:
    """The same decision with its steps; kept apart so that the hot path builds no list."""
    decision = decide(policy, grants, principal, method, tool, now)
    return Decision(
        **{name: getattr(decision, name) for name in Decision.__dataclass_fields__ if name != "steps"},
        steps=trace(decision.reason),
    )


# What is checked, in order, with the reasons that a failure of each check gives.
_CHECKS: tuple[tuple[str, frozenset[Reason]], ...] = (
    ("The credential is valid and carries the scope", frozenset({Reason.MISSING_IDENTITY, Reason.SCOPE_MISSING})),
    (
        "The server is known to the organisation and open to this key",
        frozenset({Reason.SERVER_UNKNOWN, Reason.SERVER_NOT_IN_KEY, Reason.SERVER_NOT_READY}),
    ),
    ("The request is well formed and its headers agree with its body", frozenset({Reason.REQUEST_INVALID})),
    ("The method and the tool are known", frozenset({Reason.METHOD_UNKNOWN, Reason.TOOL_UNKNOWN})),
    ("The tool's definition is the approved one", frozenset({Reason.TOOL_QUARANTINED})),
    (
        "A live grant covers the caller",
        frozenset({Reason.NO_MATCHING_GRANT, Reason.GRANT_EXPIRED, Reason.GRANT_REVOKED}),
    ),
    ("The grant names the tool", frozenset({Reason.TOOL_NOT_GRANTED})),
    (
        "The grant allows the tool's side effect",
        frozenset({Reason.TOOL_SIDE_EFFECT_UNKNOWN, Reason.SIDE_EFFECT_NOT_ALLOWED}),
    ),
    ("The grant gives enough trust", frozenset({Reason.TRUST_TOO_LOW})),
)

# What the gateway finds missing after the policy has agreed.
_AS_WHOM = frozenset({Reason.CREDENTIAL_MISSING, Reason.ACCOUNT_NOT_CONNECTED})


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
    for rule, reasons in _CHECKS:
        failed = reason in reasons
        steps.append(
            Step(rule, "failed" if failed else "skipped" if decided else "passed", str(reason) if failed else "")
        )
        decided = decided or failed or (reason == Reason.OBSERVED and Reason.TOOL_QUARANTINED in reasons)
    if reason in _LIMITS:
        steps.append(Step("The limits leave room", "failed", str(reason)))
    if reason == Reason.RECORD_UNAVAILABLE:
        steps.append(Step("The call can be recorded", "failed", str(reason)))
    if reason in _AS_WHOM:
        steps.append(Step("The server has the credential that it asks for", "failed", str(reason)))
    return tuple(steps)


def _method_rule(rule: MethodRule, policy: ServerPolicy) -> ToolRule:
    trust = policy.required_trust if rule is MethodRule.READ else Trust.LOW
    return ToolRule("", trust, SideEffect.READ)


def _judge(rule: MethodRule, tool: ToolRule, live: list[GrantRule]) -> Decision:
    """Choose among live grants: a grant must name the tool, allow its side effect and give enough trust."""
    if rule in {MethodRule.HANDSHAKE, MethodRule.LIST}:
        return _allow(live[0], tool)
    naming = [g for g in live if not g.tools or tool.name in g.tools] if rule is MethodRule.CALL else live
    if not naming:
        return _deny(
            Reason.TOOL_NOT_GRANTED,
            f"No grant of yours names the tool {tool.name!r}.",
            "Ask an admin of your organisation to add the tool to your grant.",
            tool,
            live[0],
        )
    if tool.side_effect is None:
        return _deny(
            Reason.TOOL_SIDE_EFFECT_UNKNOWN,
            f"It is not declared whether {tool.name!r} reads, writes or destroys.",
            "Ask the provider to declare the tool's side effect.",
            tool,
            naming[0],
        )
    fitting = [g for g in naming if tool.side_effect in g.side_effects]
    what = f"{tool.name!r} is {tool.side_effect}" if tool.name else "This request reads"
    if not fitting:
        allowed = ", ".join(sorted({effect for g in naming for effect in g.side_effects})) or "nothing"
        return _deny(
            Reason.SIDE_EFFECT_NOT_ALLOWED,
            f"{what}; your grant allows {allowed}.",
            f"Ask an admin of your organisation for a grant that allows {tool.side_effect} calls.",
            tool,
            naming[0],
        )
    best = max(fitting, key=lambda g: g.max_trust)
    if best.max_trust < tool.required_trust:
        return _deny(
            Reason.TRUST_TOO_LOW,
            f"Needs {tool.required_trust.word} trust; your grant gives {best.max_trust.word}.",
            f"Ask an admin of your organisation for a grant with {tool.required_trust.word} trust.",
            tool,
            best,
        )
    return _allow(best, tool)


def _no_live_grant(matching: list[GrantRule]) -> Decision:
    if not matching:
        return _deny(
            Reason.NO_MATCHING_GRANT,
            "No grant covers this caller on this server.",
            "Ask an admin of your organisation for access to this server.",
        )
    last = max(matching, key=lambda g: g.grant_id)
    if last.revoked_at is not None:
        return _deny(
            Reason.GRANT_REVOKED,
            "Your grant was revoked.",
            "Ask an admin of your organisation for access again.",
            grant=last,
        )
    return _deny(
        Reason.GRANT_EXPIRED,
        f"Your grant expired on {last.expires_at:%Y-%m-%d %H:%M} UTC.",
        "Ask an admin of your organisation to renew it.",
        grant=last,
    )


def _allow(grant: GrantRule, tool: ToolRule) -> Decision:
    return Decision(
        True,
        Reason.ALLOWED,
        "Allowed.",
        grant_id=grant.grant_id,
        side_effect=tool.side_effect or "",
        trust_required=tool.required_trust.word,
        trust_effective=grant.max_trust.word,
    )


def _deny(
    reason: Reason, message: str, next_step: str, tool: ToolRule | None = None, grant: GrantRule | None = None
) -> Decision:
    return Decision(
        False,
        reason,
        message,
        next_step,
        grant_id=grant.grant_id if grant else None,
        side_effect=(tool.side_effect or "") if tool else "",
        trust_required=tool.required_trust.word if tool else "",
        trust_effective=grant.max_trust.word if grant else "",
    )
