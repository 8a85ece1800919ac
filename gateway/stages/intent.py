"""Closed: no server is asked anything before an intent of the call is kept where the death of this process cannot lose it.

And nothing is begun whose outcome would find no place: see `calls.writer.CallWriter.takes`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from calls import intents
from calls.intents import IntentSlots, NoSlotError
from calls.journal import Journal
from calls.writer import CallWriter
from core import failpoints
from gateway import tracing
from gateway.context import CallContext
from gateway.mcp.errors import RefusedError
from gateway.stages import meter

_HARMLESS = frozenset({"", "read"})


class Intents:
    """`sync` says whose intents wait for the disk: writes, all or none."""

    def __init__(self, writer: CallWriter, journal: Journal | None, executor: Executor, sync: str) -> None:
        self._writer, self._journal, self._executor = writer, journal, executor
        self._syncs_all, self._syncs_writes = sync == "all", sync in {"all", "writes"}

    def is_at_once(self, call: CallContext) -> bool:
        """Whether nothing would have to be waited for."""
        return not self._syncs_all and (
            not self._syncs_writes or (call.decision is not None and call.decision.side_effect in _HARMLESS)
        )

    def note(self, call: CallContext) -> asyncio.Future[None] | None:
        """Keep the call's intent; what is given back has to be waited for. Raises RefusedError.

        When this or the wait raises, the server must not be asked.
        """
        if call.message is None:
            # The listening stream of an old client: nothing is asked, and nothing recorded.
            return None
        acts = call.decision is not None and call.decision.side_effect not in _HARMLESS
        costs = call.price is not None and call.price.rate > 0
        if not self._writer.takes(is_risky=acts or costs):
            raise RefusedError("calls.record_unavailable")
        if self._journal is None:
            return None
        slots = self._journal.slots
        if slots is None:
            raise RefusedError("calls.record_unavailable", detail="no room for intents")
        try:
            call.slot = slots.put(
                intents.payload(call.call_id, call.arguments_digest, tracing.trace_of(call)[0], _constant(call))
            )
        except (NoSlotError, OSError) as exc:
            raise RefusedError("calls.record_unavailable", detail=type(exc).__name__) from exc
        if self._syncs_all or (acts and self._syncs_writes):
            return asyncio.ensure_future(self._sync(call, slots))
        call.mark("intent")
        if failpoints.armed:
            failpoints.reach("after_intent")
        return None

    async def _sync(self, call: CallContext, slots: IntentSlots) -> None:
        try:
            await slots.synced(self._executor)
        except OSError as exc:
            raise RefusedError("calls.record_unavailable", detail=type(exc).__name__) from exc
        call.mark("intent")
        if failpoints.armed:
            failpoints.reach("after_intent")


def _constant(call: CallContext) -> bytes:
    """What this call shares with others of the same caller, encoded once for as long as it holds."""
    common = meter.common_of(call)
    if common is None:
        return intents.constant_part(meter.record_of(call))
    if not common.constant:
        common.constant = intents.constant_part(meter.record_of(call))
    return common.constant
