"""What the flow rule would say: of a call that nobody makes, and of calls that were made. Inside the organisation's schema."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from access import flow
from access.flow import Flowed, Verdict
from access.flows import state
from access.flows.types import FlowAnswer, FlowAsk
from access.types import READS, FlowRule, FlowScope, Labels, Principal, Reason, ServerPolicy
from calls.models import Call
from core import clock

CALLS_MAX = 50_000
_SHOWN = 20
_CONTENT = ("resources/read", "prompts/get", "completion/complete")
# Calls that the rule itself held back count as made: another rule might let them pass.
_HELD = (Reason.FLOW_FORBIDDEN.value, Reason.APPROVAL_REQUIRED.value)
_NOBODY = UUID(int=0)
HOLDING = frozenset({Verdict.STOP, Verdict.ESCALATE, Verdict.OBSERVED})


def of_call(
    *,
    tenant_id: UUID,
    rule: FlowRule,
    policy: ServerPolicy,
    principal: Principal,
    key_id: UUID,
    tool: str,
    grant: UUID | None,
) -> FlowAnswer | None:
    """What would become of a call of the key at this moment, outside any named session; None for what is not labelled."""
    labels = policy.flows.get(tool)
    if not labels:
        return None
    return state.take(
        FlowAsk(
            tenant_id=tenant_id,
            call_id=_NOBODY,
            api_key_id=key_id,
            on_behalf="",
            agent=principal.agent,
            agent_session_id=None,
            protocol_session="",
            server_slug="",
            tool=tool,
            labels=labels,
            rule=rule,
            exempt=flow.is_exempt(rule, principal.agent, grant),
            peeks=True,
        )
    )


def words(answer: FlowAnswer, labels: Labels) -> str:
    """One sentence for people."""
    touched = flow.words(answer.touched) or "nothing that is labelled"
    told = f"The key's session has touched {touched}; the call is {flow.words(labels)}"
    return {
        Verdict.STOP: f"{told}. The flow rule stops it.",
        Verdict.ESCALATE: f"{told}. A person would be asked.",
        Verdict.OBSERVED: f"{told}. The flow rule would only mark it.",
        Verdict.EXEMPT: f"{told}. The flow rule makes an exception for it.",
    }.get(answer.verdict, f"{told}. That may meet.")


@dataclass(frozen=True, slots=True)
class Held:
    """A way of calling that a rule would have held back."""

    server: str
    tool: str
    caller: str
    calls: int
    example: UUID


@dataclass(frozen=True, slots=True)
class Preview:
    days: int
    calls: int  # labelled ones that were looked at
    held: int
    is_cut: bool
    rows: list[Held]


def preview(rule: FlowRule | None, labels: Mapping[UUID, Mapping[str, Labels]], *, days: int) -> Preview:
    """What a rule would have said of the calls of some days, with the labels of this moment, by server and tool."""
    since = clock.now() - timedelta(days=days)
    rows = Call.objects.filter(
        occurred_at__gte=since, server_id__in=list(labels), method__in=("tools/call", *_CONTENT)
    ).order_by("call_id")
    return weigh(rule, labels, rows[: CALLS_MAX + 1].iterator(), days=days)


def weigh(
    rule: FlowRule | None, labels: Mapping[UUID, Mapping[str, Labels]], calls: Iterable[Call], *, days: int
) -> Preview:
    """The same of rows in their order."""
    kept: list[tuple[Call, Flowed]] = []
    for call in calls:
        found = _labels_of(call, labels)
        if found and rule is not None and (call.allowed or call.reason in _HELD):
            exempt = flow.is_exempt(rule, call.agent, call.grant_id)
            kept.append((call, Flowed(_session(rule, call), call.occurred_at, found, exempt)))
    verdicts = flow.replay(rule, [each for _, each in kept]) if rule is not None else []
    held = [call for (call, _), verdict in zip(kept, verdicts, strict=True) if verdict in HOLDING]
    return Preview(days, len(kept), len(held), len(kept) > CALLS_MAX, _grouped(held))


def _labels_of(call: Call, labels: Mapping[UUID, Mapping[str, Labels]]) -> Labels | None:
    flows = labels.get(call.server_id) if call.server_id is not None else None
    return flows.get(call.tool if call.method == "tools/call" else READS) if flows else None


def _grouped(held: Iterable[Call]) -> list[Held]:
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], UUID] = {}
    for call in held:
        way = (call.server_name, call.tool or call.method, call.agent or "a key without an agent")
        counts[way] += 1
        examples.setdefault(way, call.call_id)
    return [Held(*way, calls, examples[way]) for way, calls in counts.most_common(_SHOWN)]


def _session(rule: FlowRule, call: Call) -> str:
    """As gateways tell sessions apart, by what the row of a call keeps."""
    named = ""
    if rule.scope is FlowScope.SESSION:
        named = str(call.agent_session_id or "") or call.session_id
    parts = (named, str(call.api_key_id), call.agent, call.asserted_human, str(call.user_id or ""))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
