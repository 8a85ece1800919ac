"""The reasons of decisions in words, for people: what it is called in a list, why it fell so, what to do.

The engine's own message names the caller's case at the moment of the call; these words stand beside a stored reason later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from access import engine, supposing
from access.types import Reason


@dataclass(frozen=True, slots=True)
class Words:
    """`why` may name {tool}, {effect}, {required} and {effective}. `remedy` says who can change it: access, key, or nobody."""

    short: str
    why: str
    next_step: str = ""
    remedy: str = ""


_PLACES = {name: place for place, (name, _, _) in enumerate(engine.CHECKS)}
_OBSERVED_AT = _PLACES["definition"]  # the last check before grants
# Checks by their place in the engine's list: those that only a call of a tool meets, and what a grant says about a call.
_OF_TOOLS = frozenset(_PLACES[name] for name in ("tool", "definition", "denied", "named", "arguments"))
_OF_TERMS = frozenset(_PLACES[name] for name in ("effect", "trust"))
# Checks of what most grants do not have; shown where they decided.
_SELDOM = frozenset(_PLACES[name] for name in ("session", "denied", "conditions", "arguments"))
_TERMLESS = frozenset({engine.MethodRule.HANDSHAKE, engine.MethodRule.LIST})
_ASK = "Give the caller access to this server."

WORDS: dict[Reason, Words] = {
    Reason.ALLOWED: Words("Allowed by a grant", "A live grant covers this caller and what it asked for."),
    Reason.OBSERVED: Words(
        "Allowed, observed only", "The server's policy only observes: calls are recorded and none is refused."
    ),
    Reason.MISSING_IDENTITY: Words(
        "No identity", "The caller could not be told apart from strangers.", "Send a valid API key.", "key"
    ),
    Reason.NO_MATCHING_GRANT: Words("No grant", "No grant covers this caller on this server.", _ASK, "access"),
    Reason.MISSING_SESSION: Words(
        "No session",
        "The server wants every call to belong to a session of an agent, and the caller named none.",
        "Have a session issued, and send its name with every call.",
    ),
    Reason.SESSION_NOT_FOUND: Words(
        "Unknown session",
        "The caller named a session that is not one of its own at this server.",
        "Have a session issued for the caller, or send no session where none is needed.",
    ),
    Reason.SESSION_REVOKED: Words(
        "Session revoked",
        "The session that the caller named had been revoked.",
        "Have another session issued if the caller should have one.",
    ),
    Reason.SESSION_EXPIRED: Words(
        "Session ended",
        "The session that the caller named had reached its end, or was not used for too long.",
        "Open another session.",
    ),
    Reason.CONDITION_NOT_MET: Words(
        "Conditions not met",
        "The caller's grant holds at other hours, from other addresses or for other environments.",
        "Call when and from where the grant allows it, or give a wider one.",
        "access",
    ),
    Reason.TOOL_DENIED: Words(
        "Tool denied",
        "A grant of the caller denies “{tool}”, and that counts more than what others allow.",
        "Change the grant that denies the tool, if the caller should use it.",
        "access",
    ),
    Reason.ARGUMENTS_NOT_ALLOWED: Words(
        "Arguments not allowed",
        "The caller's grant allows “{tool}” only with other arguments.",
        "Call it with arguments that the grant allows, or give a wider one.",
        "access",
    ),
    Reason.GRANT_EXPIRED: Words(
        "Grant expired", "The caller's grant had reached its end.", "Give access again, with a later end.", "access"
    ),
    Reason.GRANT_REVOKED: Words(
        "Grant revoked",
        "The caller's grant had been revoked.",
        "Give access again if the caller should have it.",
        "access",
    ),
    Reason.TOOL_UNKNOWN: Words(
        "Unknown tool",
        "The approved version of the server has no tool named “{tool}”.",
        "List the server's tools and use one of their names.",
    ),
    Reason.TOOL_QUARANTINED: Words(
        "Tool in quarantine",
        "The definition of “{tool}” changed after it was approved, and nobody has approved the change.",
        "Wait for the approval, or ask the server's owner to restore the approved definition.",
    ),
    Reason.TOOL_NOT_GRANTED: Words(
        "Tool not granted",
        "The caller's grants name other tools, not “{tool}”.",
        "Give a grant that names the tool.",
        "access",
    ),
    Reason.TOOL_SIDE_EFFECT_UNKNOWN: Words(
        "Side effect unknown",
        "It is not declared whether “{tool}” reads, writes or destroys.",
        "Ask the provider to declare the tool's side effect.",
    ),
    Reason.SIDE_EFFECT_NOT_ALLOWED: Words(
        "Side effect not allowed",
        "“{tool}” is {effect}, and no grant of the caller allows that.",
        "Give a grant that allows {effect} calls.",
        "access",
    ),
    Reason.TRUST_TOO_LOW: Words(
        "Trust too low",
        "Needs {required} trust; grant and session give {effective}.",
        "Give a grant with {required} trust, and consent to it where a session is used.",
        "access",
    ),
    Reason.METHOD_UNKNOWN: Words(
        "Unknown method", "The gateway carries no method of that name.", "Use a method of the Model Context Protocol."
    ),
    Reason.SCOPE_MISSING: Words(
        "Key may not call", "The key lacks the scope “invoke”.", "Use a key with the scope invoke.", "key"
    ),
    Reason.SERVER_UNKNOWN: Words(
        "Unknown server",
        "There is no server of that name that this organisation may see.",
        "Check the name, or search the catalog.",
    ),
    Reason.SERVER_NOT_IN_KEY: Words(
        "Server not in key", "The key is limited to other servers.", "Create a key that covers this server.", "key"
    ),
    Reason.SERVER_NOT_READY: Words(
        "Server not open",
        "The server is not approved, or its gateway access is switched off.",
        "See the server's page for its state.",
    ),
    Reason.REQUEST_INVALID: Words(
        "Request not valid",
        "The request was malformed, or its headers and its body disagreed.",
        "Correct the request and send it again.",
    ),
    Reason.POLICY_UNAVAILABLE: Words(
        "Policy unavailable",
        "Access rules could not be read, and nothing is allowed without them.",
        "Repeat the call in a few seconds.",
    ),
    Reason.TOO_MANY_AT_ONCE: Words(
        "Too many at once",
        "The organisation had as many calls or streams under way as one process carries for it.",
        "Send fewer at once, or wait for some to end.",
    ),
    Reason.RATE_LIMITED: Words(
        "Too fast", "A rate limit was used up.", "Wait as long as the refusal says, or raise the limit."
    ),
    Reason.QUOTA_REACHED: Words(
        "Quota used up", "The calls of a day or a month were used up.", "Wait for the next period, or raise the quota."
    ),
    Reason.CAP_REACHED: Words(
        "Spending cap reached",
        "The price of the call was more than a spending cap still allowed.",
        "Wait for the next period, or raise the cap.",
    ),
    Reason.PAYMENT_DUE: Words(
        "Invoice not paid",
        "The tool has a price, and an invoice of this organisation was not paid in time.",
        "Pay the invoice under Billing; free tools go on meanwhile.",
    ),
    Reason.LIMITS_UNAVAILABLE: Words(
        "Spending not known",
        "What was already spent under a hard cap could not be looked up.",
        "Repeat the call in a few seconds.",
    ),
    Reason.RECORD_UNAVAILABLE: Words(
        "Record unavailable",
        "The call could not have been recorded, and nothing is sent to a server that is not on record.",
        "Repeat the call in a few seconds; tell the operator when it lasts.",
    ),
    Reason.CREDENTIAL_MISSING: Words(
        "No credential for the server",
        "The server asks for a credential of its own, and this organisation has stored none.",
        "Add a connection to the server under Access.",
    ),
    Reason.ACCOUNT_NOT_CONNECTED: Words(
        "Account not connected",
        "The server asks for a person's account, and the key's owner has connected none.",
        "Connect the account under Access, Connections.",
    ),
    Reason.APPROVAL_REQUIRED: Words(
        "Waits for a person",
        "A person approves each call of “{tool}”, and nobody had approved this one yet.",
        "Approve the call under Access, Approvals; then the same call passes once.",
    ),
    Reason.APPROVAL_REJECTED: Words(
        "Rejected by a person",
        "A person looked at this call of “{tool}” and rejected it.",
        "See under Access, Approvals, why; call with other arguments.",
    ),
    Reason.FLOW_FORBIDDEN: Words(
        "Would mix what must not meet",
        "With “{tool}” the session would have touched a combination of labels that the organisation's flow rule forbids.",
        "Begin another session, or see under Access, Flow, what it has touched.",
        "access",
    ),
    Reason.FLOW_OBSERVED: Words(
        "Mixed what must not meet, observed only",
        "With “{tool}” the session touched a combination that the flow rule forbids; the rule only observes.",
        "See under Access, Flow, what it has touched.",
    ),
}
_OTHER = Words(
    "Refused", "The gateway refused the request before asking the policy.", "See the error for what to change."
)


def words_for(reason: str, *, tool: str = "", effect: str = "", required: str = "", effective: str = "") -> Words:
    """The words of a stored reason, filled in for one call."""
    words = WORDS.get(Reason(reason), _OTHER) if reason in set(Reason) else _OTHER
    facts = {
        "tool": tool or "the request",
        "effect": effect or "of an unknown kind",
        "required": required or "more",
        "effective": effective or "less",
    }
    return Words(words.short, words.why.format(**facts), words.next_step.format(**facts), words.remedy)


_UNKNOWN = {supposing.ADDRESS: "where the call comes from", supposing.ARGUMENTS: "its arguments"}


def words_for_unknown(kinds: Iterable[str]) -> str:
    """On what a decision hangs that nobody knows yet: “depends on where the call comes from and on its arguments”."""
    told = [f"on {_UNKNOWN[kind]}" for kind in kinds if kind in _UNKNOWN]
    return f"depends {' and '.join(told)}" if told else ""


def trace_rows(reason: str, why: str, method: str = "tools/call") -> list[dict[str, Any]]:
    """The steps behind a stored reason for components/_trace.html, with the deciding one marked; none for an unknown reason.

    Checks that a request with this method never meets are left out.
    """
    if reason not in set(Reason):
        return []
    steps = engine.trace(reason)
    # A policy that only observes decides before any grant is looked at.
    last = _OBSERVED_AT if reason == Reason.OBSERVED else len(steps) - 1
    skipped = _skipped_for(method) | _SELDOM
    failed = next((index for index, step in enumerate(steps) if step.outcome == "failed"), None)
    deciding = failed if failed is not None else max(index for index in range(last + 1) if index not in skipped)
    return [
        {
            "label": step.rule,
            "state": step.outcome if index <= deciding else "skipped",
            "detail": why if index == deciding else "",
            "deciding": index == deciding,
        }
        for index, step in enumerate(steps)
        if index == deciding or index not in skipped
    ]


def _skipped_for(method: str) -> frozenset[int]:
    rule = engine.METHOD_RULES.get(method)
    if rule is engine.MethodRule.CALL or rule is None:
        return frozenset()
    return _OF_TOOLS | _OF_TERMS if rule in _TERMLESS else _OF_TOOLS
