"""The flow rule: what an agent's session has touched must not make a way out for what it should keep. A pure function.

Text that strangers wrote can turn an agent against its owner, and an agent that also holds private data and can send something
out is all that an attacker needs. So tools carry labels (`FlowLabel`), and a rule names combinations that must not meet in one
session. A session remembers every label it touched; in which order does not matter, because what was sent can be something that
reads later (a link, a schedule), and because a call that only returns can carry its arguments out.

`judge` is the whole decision. It never reads a clock, a setting or a database. Touching more never allows more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from access.types import NO_LABELS, READS, FlowLabel, FlowMode, FlowRule, Labels, ServerPolicy, ToolLabels

WORDS: dict[FlowLabel, str] = {
    FlowLabel.UNTRUSTED_INPUT: "untrusted input",
    FlowLabel.PRIVATE_DATA: "private data",
    FlowLabel.EXTERNAL_OUTPUT: "external output",
}


class Verdict(StrEnum):
    """Beside `escalate` and `stop` the call passes, and its labels count as touched."""

    ALLOW = "allow"
    OBSERVED = "observed"  # forbidden, by a rule that only observes
    EXEMPT = "exempt"  # forbidden, for others than this agent or grant
    APPROVED = "approved"  # forbidden, and a person approved this very call
    ESCALATE = "escalate"
    STOP = "stop"

    @property
    def passes(self) -> bool:
        return self not in {Verdict.ESCALATE, Verdict.STOP}


_BY_MODE = {FlowMode.OBSERVE: Verdict.OBSERVED, FlowMode.ESCALATE: Verdict.ESCALATE, FlowMode.STOP: Verdict.STOP}


def completed(rule: FlowRule, touched: Labels, labels: Labels) -> Labels:
    """The first forbidden combination that a call with these labels has part in and that is whole with it; empty for none."""
    total = touched | labels
    return next((each for each in rule.forbidden if each <= total and each & labels), NO_LABELS)


def judge(rule: FlowRule, touched: Labels, labels: Labels, *, exempt: bool = False, approved: bool = False) -> Verdict:
    """What becomes of a call with these labels in a session that has touched those."""
    if rule.mode is FlowMode.OFF or not completed(rule, touched, labels):
        return Verdict.ALLOW
    if exempt:
        return Verdict.EXEMPT
    verdict = _BY_MODE[rule.mode]
    return Verdict.APPROVED if approved and verdict is Verdict.ESCALATE else verdict


def is_exempt(rule: FlowRule, agent: str, grant_id: UUID | None) -> bool:
    return (bool(agent) and agent in rule.exempt_agents) or (grant_id is not None and grant_id in rule.exempt_grants)


def flowing(policy: ServerPolicy, rule: FlowRule, own: Mapping[str, ToolLabels]) -> dict[str, Labels]:
    """The labels that count for an organisation's calls of a server's tools, where there are any: nothing for most servers."""
    if rule.mode is FlowMode.OFF:
        return {}
    concerned = NO_LABELS.union(*rule.forbidden)
    found = {
        name: labels_of(rule, tool.labels, tool.suggested, tool.digest, own.get(name)) & concerned
        for name, tool in policy.tools.items()
    }
    found[READS] = labels_of(rule, policy.reads, NO_LABELS, "", own.get(READS)) & concerned
    return {name: labels for name, labels in found.items() if labels}


def labels_of(
    rule: FlowRule, confirmed: Labels | None, suggested: Labels, definition: str, own: ToolLabels | None
) -> Labels:
    """Of one tool. The organisation's own word counts as long as the definition is the one that it looked at; after a change
    it only ever adds."""
    given = confirmed if confirmed is not None else suggested if rule.counts_suggested else NO_LABELS
    if own is None:
        return given
    return own.labels if own.definition == definition else own.labels | given


def words(labels: Iterable[str]) -> str:
    """Labels as people read them, in the order of the list."""
    held = set(labels)
    named = [text for label, text in WORDS.items() if label in held]
    return " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else "".join(named)


# ------------------------------------------------------------------------------------------------------------- replaying


@dataclass(frozen=True, slots=True)
class Flowed:
    """A call that took place, as a replay needs it. `session` names the session that it belonged to."""

    session: str
    at: datetime
    labels: Labels
    exempt: bool = False


def replay(rule: FlowRule, calls: Sequence[Flowed]) -> list[Verdict]:
    """What the rule would have said of calls in their order. Those that it would have let through count as touched."""
    window, held, found = timedelta(seconds=rule.window_s), dict[str, tuple[Labels, datetime]](), []
    for call in calls:
        touched, last = held.get(call.session, (NO_LABELS, call.at))
        if call.at - last >= window:
            touched = NO_LABELS
        verdict = judge(rule, touched, call.labels, exempt=call.exempt)
        found.append(verdict)
        if verdict.passes:
            held[call.session] = (touched | call.labels, call.at)
    return found
