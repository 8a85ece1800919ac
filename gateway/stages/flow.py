"""Closed: a call whose labels would make a forbidden combination in its session does not pass, nor one that nobody can judge.

The judgement is taken when everything else is there for the call to be sent, and has the session touch the call's labels in the
same step: of two calls at once the second is judged by what the first left. It is asked of Postgres for labelled tools alone.
What a session is known to have touched already is believed for a second, as a grant is.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace
from uuid import UUID

from access import flow
from access.flow import Verdict
from access.flows.types import FlowAnswer, FlowAsk
from access.types import NO_LABELS, READS, FlowMode, Labels, Reason
from gateway.context import CallContext
from gateway.mcp.errors import RefusedError
from gateway.ports import Loader
from gateway.stages.authorise import flows_at
from gateway.store import EntryStore, PolicyUnavailableError

_KNOWN_S, _KNOWN_MAX = 1.0, 20_000


class Flows:
    def __init__(self, store: EntryStore, loader: Loader) -> None:
        self._store, self._loader = store, loader
        # By organisation and session: labels that it has touched for certain, and until when that is believed.
        self._known: OrderedDict[tuple[UUID, str], tuple[Labels, float]] = OrderedDict()

    async def take(self, call: CallContext, *, peeks: bool = False, approved: bool = False) -> FlowAnswer:
        """Judge the call; when it passes, its session has touched its labels. Raises PolicyUnavailableError."""
        ask = _ask(call, peeks=peeks, approved=approved)
        name = (ask.tenant_id, ask.scope())
        touched, until = self._known.get(name, (NO_LABELS, 0.0))
        if ask.labels <= touched and time.monotonic() < until:
            verdict = flow.judge(ask.rule, touched, ask.labels, exempt=ask.exempt)
            if verdict.passes:
                return FlowAnswer(verdict, touched)
        try:
            answer = await self._store.call(self._loader.take_flow, ask)
        except Exception as exc:
            if ask.rule.mode is FlowMode.OBSERVE:
                return FlowAnswer(Verdict.ALLOW, NO_LABELS)
            raise PolicyUnavailableError from exc
        if answer.verdict.passes and not peeks:
            self._note(name, answer.touched | ask.labels)
        return answer

    def _note(self, name: tuple[UUID, str], touched: Labels) -> None:
        self._known[name] = (touched, time.monotonic() + _KNOWN_S)
        self._known.move_to_end(name)
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)


def accept(call: CallContext, answer: FlowAnswer) -> None:
    """Go on with a call that passes, with a mark where it passes all the same. Raises RefusedError for any other."""
    if not answer.verdict.passes:
        raise refusal(call, answer)
    if answer.verdict is Verdict.OBSERVED and call.decision is not None:
        call.decision = replace(call.decision, reason=Reason.FLOW_OBSERVED)


def refusal(call: CallContext, answer: FlowAnswer) -> RefusedError:
    """Why the call does not pass, with what met in the session."""
    labels = labels_of(call)
    caller = call.caller
    assert caller is not None
    assert caller.tenant.flow is not None
    met = flow.completed(caller.tenant.flow, answer.touched, labels)
    what = f"the tool {call.tool!r}" if call.tool else "reading this"
    before = flow.words(answer.touched) or "nothing"
    refused = RefusedError(
        "access.flow_forbidden",
        f"The flow rule forbids {flow.words(met)} in one session. This session has touched {before}; "
        f"{what} is {flow.words(labels)}.",
    )
    refused.data |= {"touched": sorted(answer.touched), "labels": sorted(labels), "forbidden": sorted(met)}
    return refused


def meeting(call: CallContext, answer: FlowAnswer) -> tuple[str, ...]:
    """Labels that would have met in the session after the call: part of what a person approves."""
    return tuple(sorted(answer.touched | labels_of(call)))


def labels_of(call: CallContext) -> Labels:
    """Of the tool that is called, or of the server's resources and prompts, for the calling organisation."""
    caller, message = call.caller, call.message
    assert caller is not None
    assert message is not None
    flows = flows_at(caller, call.entry)
    return flows.get(call.tool if message.method == "tools/call" else READS, NO_LABELS)


def _ask(call: CallContext, *, peeks: bool, approved: bool) -> FlowAsk:
    caller, decision = call.caller, call.decision
    assert caller is not None
    assert decision is not None
    rule = caller.tenant.flow
    assert rule is not None
    agent = caller.principal.agent
    return FlowAsk(
        tenant_id=caller.tenant.tenant_id,
        call_id=call.call_id,
        api_key_id=caller.key.api_key_id,
        on_behalf=caller.on_behalf,
        agent=agent,
        agent_session_id=decision.session_id,
        protocol_session=call.session_id,
        server_slug=call.slug,
        tool=call.tool,
        labels=labels_of(call),
        rule=rule,
        exempt=flow.is_exempt(rule, agent, decision.grant_id),
        approved=approved,
        peeks=peeks,
    )
