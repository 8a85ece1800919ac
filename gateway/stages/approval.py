"""Closed: a call that a person has to approve passes when a person did, once; what cannot be looked up does not pass.

`prepare` comes with the decision, `claim` when everything else is there for the call to be sent. Between the two a client that
showed its user where to approve may be kept waiting for a while, so that it need not ask again at once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from access.approvals.types import CallAnswer, CallAsk
from access.flow import words as flow_words
from access.types import ToolRule
from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp import lossless, versions
from gateway.mcp.errors import RefusedError
from gateway.ports import Loader
from gateway.store import EntryStore, PolicyUnavailableError

META_APPROVAL = "com.mcp-marketplace/approval"
INPUT = "approval"  # the name of our question among `inputRequests`
_STATE = "a1."
ARGUMENTS_MAX = 64 * 1024  # bytes that a person can be asked to look at
Meeting = Callable[[], Awaitable[tuple[str, ...]]]
_WAIT_S, _LOOK_S, _WAITERS_MAX = 20, 1.0, 256
_ROUND_WAIT_S = 2.0


class Approvals:
    def __init__(self, store: EntryStore, loader: Loader, public_url: str) -> None:
        self._store, self._loader, self._public_url = store, loader, public_url
        self._waiting = 0
        self._writing: set[asyncio.Task[None]] = set()

    async def prepare(self, call: CallContext, caller: Caller, server: ServerEntry, tool: str) -> None:
        """Note what a person is asked for, and take back what we had given the client to remember. Raises RefusedError."""
        ask = self.note(call, caller, server, tool)
        if _take_back(call) == "accept":
            await self._wait(ask)

    async def expect(self, call: CallContext, caller: Caller, server: ServerEntry, meeting: Meeting) -> None:
        """Where a person is asked because of what the session has touched: take our own question back, and when its client's
        user accepted it, wait as for any other. Raises RefusedError."""
        if _take_back(call) == "accept" and (flow := await meeting()):
            await self._wait(self.note(call, caller, server, call.tool, flow))

    def note(
        self, call: CallContext, caller: Caller, server: ServerEntry, tool: str, flow: tuple[str, ...] = ()
    ) -> CallAsk:
        """What a person is asked for; `flow` are labels that would meet in the session. Raises RefusedError when too large."""
        arguments = lossless.canonical(_arguments(call))
        if len(arguments) > ARGUMENTS_MAX:
            raise RefusedError("access.approval_too_large")
        decision = call.decision
        assert decision is not None
        asserted = caller.asserted
        ask = call.approval = CallAsk(
            tenant_id=caller.tenant.tenant_id,
            call_id=call.call_id,
            api_key_id=caller.key.api_key_id,
            on_behalf=caller.on_behalf,
            human=asserted.human if asserted is not None else str(caller.key.user_id or ""),
            agent=caller.principal.agent,
            session=_session(call, caller, server),
            server_id=server.server_id,
            server_slug=server.slug,
            tool=tool,
            definition=_definition(server, tool),
            side_effect=decision.side_effect,
            trust_required=decision.trust_required,
            arguments=arguments,
            flow=flow,
            round=_round(call),
        )
        return ask

    async def claim(self, call: CallContext) -> None:
        """Use the approval of this very call. Raises RefusedError without one, PolicyUnavailableError when nobody knows."""
        ask = call.approval
        assert ask is not None
        answer = await self._ask(ask)
        if answer.state != "used" and ask.round:
            # The question of the server that this answers may still be on its way to where it is noted.
            await asyncio.sleep(_ROUND_WAIT_S)
            answer = await self._ask(ask)
        if answer.state != "used" and ask.round:
            answer = await self._ask(replace(ask, round=""))
        call.approval_id = answer.approval_id
        if answer.state == "used":
            call.rounds = self
            return
        raise self._refusal(call, answer)

    def note_round(self, call: CallContext, result: dict[str, Any]) -> None:
        """The server asks for more before it goes on: the client's answer belongs to the approved call and passes once."""
        if call.approval is None or result.get("resultType") != "input_required":
            return
        ask = replace(call.approval, round=_round_digest(result.get("requestState")))
        task = asyncio.create_task(self._open_round(ask))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _open_round(self, ask: CallAsk) -> None:
        # Without it the next round needs an approval of its own.
        await asyncio.gather(self._store.call(self._loader.open_round, ask), return_exceptions=True)

    async def _ask(self, ask: CallAsk) -> CallAnswer:
        try:
            return await self._store.call(self._loader.claim_call, ask)
        except Exception as exc:
            raise PolicyUnavailableError from exc

    async def _wait(self, ask: CallAsk) -> None:
        """Until somebody decides, for a while."""
        if self._waiting >= _WAITERS_MAX:
            return
        self._waiting += 1
        try:
            for _ in range(_WAIT_S):
                try:
                    state = await self._store.call(self._loader.call_state, ask)
                except Exception as exc:
                    raise PolicyUnavailableError from exc
                if state != "waiting":
                    return
                await asyncio.sleep(_LOOK_S)
        finally:
            self._waiting -= 1

    def _refusal(self, call: CallContext, answer: CallAnswer) -> RefusedError:
        if answer.state == "full":
            return RefusedError("access.approvals_full")
        assert call.caller is not None
        url = f"{self._public_url}/o/{call.caller.tenant.slug}/access/approvals/{answer.approval_id}/"
        if answer.state == "rejected":
            refusal = RefusedError("access.approval_rejected", f"A person rejected this call: {answer.comment}")
        elif call.approval is not None and call.approval.flow:
            met = flow_words(call.approval.flow)
            refusal = RefusedError(
                "access.approval_required", f"A person has to approve this call: its session would have touched {met}."
            )
            refusal.data["flow"] = list(call.approval.flow)
        else:
            refusal = RefusedError("access.approval_required")
        refusal.data |= {
            "approval_id": str(answer.approval_id),
            "approval_state": answer.state,
            "approve_url": url,
            "expires_at": answer.expires_at,
        }
        if answer.state == "waiting" and call.modern and call.interface == "mcp":
            self._ask_client(call, refusal, url)
        return refusal

    @staticmethod
    def _ask_client(call: CallContext, refusal: RefusedError, url: str) -> None:
        """To a client that can show something to its user, a call that waits is no error."""
        question = _question(call, url)
        if question is None:
            return
        refusal.status = 200  # type: ignore[misc]
        refusal.result = {
            "resultType": "input_required",
            "inputRequests": {INPUT: question},
            "requestState": f"{_STATE}{refusal.data['approval_id']}",
            "_meta": {META_APPROVAL: dict(refusal.data)},
        }


def _arguments(call: CallContext) -> Any:
    assert call.message is not None
    params = call.message.params
    if call.interface == "mcp" and call.body and lossless.needs_care(call.body):
        params = lossless.loads(call.body)["params"]
    return params.get("arguments") or {}


def _session(call: CallContext, caller: Caller, server: ServerEntry) -> str:
    """The session of an agent that the request names."""
    around = caller.around
    return around.session_in(server.policy.session.header) if around is not None else ""


def _definition(server: ServerEntry, tool: str) -> str:
    rule: ToolRule | None = server.policy.tools.get(tool)
    return rule.digest if rule is not None and rule.digest else f"version {server.version_id}"


def _is_ours(params: dict[str, Any]) -> bool:
    state = params.get("requestState")
    return isinstance(state, str) and state.startswith(_STATE)


def _round(call: CallContext) -> str:
    """Which question of the server this request answers; empty when it answers none."""
    assert call.message is not None
    params = call.message.params
    if not call.modern or _is_ours(params) or not ("requestState" in params or "inputResponses" in params):
        return ""
    return _round_digest(params.get("requestState"))


def _round_digest(state: Any) -> str:
    return hashlib.sha256(state.encode("utf-8", "replace") if isinstance(state, str) else b"").hexdigest()


def _take_back(call: CallContext) -> str:
    """Take our own question out of the request, as the server never put it; what the user did: accept, decline, cancel."""
    message = call.message
    assert message is not None
    if not call.modern or not _is_ours(message.params):
        return ""
    responses = message.params.get("inputResponses")
    answer = responses.get(INPUT) if isinstance(responses, dict) else None
    message.params = _without_ours(message.params)
    if call.body and call.interface == "mcp":
        document = lossless.loads(call.body)
        document["params"] = _without_ours(document["params"])
        call.body = lossless.dumps(document)
    call.approval_declined = isinstance(answer, dict) and answer.get("action") in {"decline", "cancel"}
    return str(answer.get("action", "")) if isinstance(answer, dict) else ""


def _without_ours(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in {"requestState", "inputResponses"}}


def _question(call: CallContext, url: str) -> dict[str, Any] | None:
    """Where to approve, as the client can show it; None when it can show nothing or its user wanted nothing of it."""
    assert call.message is not None
    meta = call.message.params.get("_meta")
    capabilities = meta.get(versions.META_CAPABILITIES) if isinstance(meta, dict) else None
    declared = capabilities.get("elicitation") if isinstance(capabilities, dict) else None
    if not isinstance(declared, dict) or call.approval_declined:
        return None
    words = f"A person has to approve this call of {call.tool}."
    if "url" in declared:
        return {"method": "elicitation/create", "params": {"mode": "url", "message": words, "url": url}}
    schema = {"type": "object", "properties": {}}
    params = {"mode": "form", "message": f"{words} Open {url}, then accept.", "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}
