"""Closed: a call over a limit, or to a server that is unwell, is refused with the limit, what is left, and when to return.

`admit` gives a ticket, and the ticket is settled when the outcome is known; `Pipeline.deliver` is the one place that does both.
What applies to a caller, a server and a tool is looked up once and kept as a plan; a call then costs a few comparisons.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from access.limits import LimitScope, from_units
from calls.record import Outcome
from gateway.admission import refusals
from gateway.admission.breaker import State
from gateway.admission.budgets import Budget
from gateway.admission.bulkheads import Slots
from gateway.admission.endpoints import Endpoint
from gateway.admission.plans import Charges, OwnPlan, Plan, Plans, ServerState
from gateway.admission.shared import Shared, Spent, Tell
from gateway.config import AdmissionConfig
from gateway.context import CallContext
from gateway.mcp.errors import RefusedError
from gateway.upstream.http1 import ReplyTooLargeError, UpstreamBrokenError
from gateway.watch import WatchedTimeoutError

_MAX_PLANS = 1024
_FREE = frozenset({"tasks/update", "tasks/cancel"})
_ANSWERED = frozenset({Outcome.OK, Outcome.TOOL_ERROR})
_NOTHING = Decimal(0)
Reserved = list[tuple[Budget, int]]


class Own:
    """The right to one request that is for no single server. Give it back exactly once."""

    __slots__ = ("_held",)

    def __init__(self, held: tuple[Slots, ...]) -> None:
        self._held = held

    def give(self) -> None:
        for slots in self._held:
            slots.give()


class Ticket:
    """The right to one call, with everything that is held for it. Settle it exactly once."""

    __slots__ = ("_endpoint", "_held", "_is_probe", "_repeats", "_reserved", "_server")

    def __init__(
        self, server: ServerState, endpoint: Endpoint, held: tuple[Slots, ...], reserved: Reserved, *, is_probe: bool
    ) -> None:
        self._server, self._endpoint, self._held = server, endpoint, held
        self._reserved, self._is_probe = reserved, is_probe
        self._repeats = False

    def repeat(self, call: CallContext) -> bool:
        """Whether a further attempt may be made after one that failed; it goes to another address where there is one."""
        state = self._server
        if self._repeats or not state.repeats.take(state.slots.taken):
            return False
        self._repeats = True
        now = time.monotonic()
        self._endpoint.breaker.fail(now, call.retry_after_s)
        self._is_probe = False
        endpoint = state.endpoints.choose(now, call.url_wanted, call.url)
        if endpoint is None:
            return False
        self._endpoint, call.url = endpoint, endpoint.url
        self._is_probe = endpoint.breaker.enter(now)
        return True

    def settle(self, call: CallContext, error: BaseException | None = None) -> None:
        """Give back what was held, turn reservations into what was spent, and tell the breaker how the server did."""
        for slots in self._held:
            slots.give()
        if self._repeats:
            self._server.repeats.give()
        if self._reserved:
            # A row that was handed to the writer may be there even when nobody could confirm it: then it is paid.
            billed = call.committed is not None and call.is_paid
            for budget, amount in self._reserved:
                budget.settle(amount, billed=billed)
        breaker, now = self._endpoint.breaker, time.monotonic()
        failed = _has_failed(call, error)
        if failed is None:
            if self._is_probe:
                breaker.leave()
            return
        if failed:
            breaker.fail(now, call.retry_after_s)
        else:
            breaker.succeed(now)
        if not call.stream_listens:
            # A refusal of the server's own is no reason to leave it alone, and nothing that people would call well.
            is_refusal = isinstance(error, RefusedError) and error.error_code == "upstream.failed"
            self._server.seen.append((now, call.upstream_ms, failed or is_refusal))


def _has_failed(call: CallContext, error: BaseException | None) -> bool | None:
    """Whether the server failed; None when the call says nothing about it."""
    if error is None:
        # Answered from memory: nobody asked the server.
        return call.status >= 500 if call.attempts else None
    if call.outcome in _ANSWERED:
        return False
    if isinstance(error, ReplyTooLargeError) or (isinstance(error, WatchedTimeoutError) and call.watched.was_hurried):
        return None  # what one caller asked for, and how long it would wait, closes no server to the others
    if isinstance(error, UpstreamBrokenError | WatchedTimeoutError):
        return not call.stream_listens
    if isinstance(error, RefusedError) and error.error_code == "upstream.failed":
        return call.status >= 500
    return None


class Admission:
    """`spent` and `tell` are the door to the control plane: what was spent before, and people who want to know."""

    def __init__(self, config: AdmissionConfig, redis_url: str, *, spent: Spent, tell: Tell) -> None:
        self._config = config
        self._plans = Plans(config)
        self.shared = Shared(redis_url, spent=spent, tell=tell, live=lambda: {**self.live(), **self.more()})
        self.more: Callable[[], dict[str, Any]] = dict  # what the rest of the process adds to its live state

    async def start(self) -> None:
        await self.shared.start()

    async def stop(self) -> None:
        await self.shared.stop()

    async def admit(self, call: CallContext, *, listens: bool = False) -> Ticket:
        """Raises RefusedError. `listens`: a stream without a natural end, which holds a place among streams only."""
        plan = self._plan_for(call)
        call.stream_listens = call.watched.listens = listens
        now = time.monotonic()
        plan.server.used_at = plan.tenant.used_at = now
        if plan.rates:
            await self._take_tokens(plan, now)
        held = self._take_streams(call, plan) if listens else await self._take_slots(plan)
        reserved: Reserved = []
        try:
            if plan.charges:
                await self._reserve(plan.charges, reserved, now)
            if plan.meter is not None:
                await self._reserve_metered(call, plan, reserved, now)
            endpoint = plan.server.endpoints.choose(now, call.url_wanted)
            if endpoint is None:
                raise RefusedError("upstream.unavailable").later(plan.server.endpoints.blocked_s(now))
        except BaseException:
            _undo(held, reserved)
            raise
        call.url = endpoint.url
        return Ticket(plan.server, endpoint, held, reserved, is_probe=endpoint.breaker.enter(now))

    def admit_at_once(self, call: CallContext) -> Ticket | None:
        """The ticket of a call for which everything is there; None, and nothing is taken, when it has to wait or ask.

        What `admit` does with the same outcome, in one go: nearly every call of a busy gateway comes this way.
        """
        plan = self._plan_for(call)
        ours, theirs, charges = plan.tenant.slots, plan.server.slots, plan.charges
        endpoint = plan.server.endpoints.healthy
        if plan.meter is not None or endpoint is None or ours.taken >= ours.limit or theirs.taken >= theirs.limit:
            return None
        for bucket in plan.rates:
            if bucket.tokens < 1:
                return None
        reserved: Reserved = []
        if charges:
            moment = time.time()
            for counter, amount in charges:
                budget = counter.budget if moment < counter.ends else counter.at(moment)
                if budget.lease < amount:
                    return None
                reserved.append((budget, amount))
        now = plan.server.used_at = plan.tenant.used_at = time.monotonic()
        ours.taken += 1
        theirs.taken += 1
        for bucket in plan.rates:
            bucket.tokens -= 1
            bucket.demand += 1
            bucket.used_at = now
        for budget, amount in reserved:
            budget.reserve(now, amount)
        call.url = endpoint.url
        return Ticket(plan.server, endpoint, (ours, theirs), reserved, is_probe=False)

    async def admit_own(self, call: CallContext, *, listens: bool = False) -> Own:
        """A request that is for no single server. Raises RefusedError."""
        plan = self._own_plan_for(call)
        call.stream_listens = call.watched.listens = listens
        now = time.monotonic()
        plan.tenant.used_at = now
        await self._take_tokens(plan, now)
        if listens:
            return Own(self._take_streams(call, plan))
        ours = plan.tenant.slots
        if not ours.take() and not await ours.wait(self._config.queue_s):
            raise RefusedError("limits.concurrency")
        return Own((ours,))

    async def admit_message(self, call: CallContext) -> None:
        """A notification, a client's answer, the end of a session: only rates count it. Raises RefusedError."""
        plan = self._own_plan_for(call) if call.server is None else self._plan_for(call)
        plan.tenant.used_at = now = time.monotonic()
        await self._take_tokens(plan, now)

    def reap(self) -> None:
        self._plans.reap()

    def live(self) -> dict[str, Any]:
        """What this process sees, for the page of live state and for metrics. Names and numbers only."""
        now = time.monotonic()
        return {
            "at": time.time(),
            "limits_shared": not self.shared.is_away,
            "processes": self.shared.processes,
            "servers": {
                str(server_id): {
                    "slug": state.slug,
                    "calls": state.slots.taken,
                    "waiting": state.slots.waiting,
                    "endpoints": [_endpoint(endpoint, now) for endpoint in state.endpoints.each],
                    **state.lately(now),
                }
                for server_id, state in self._plans.servers.items()
            },
            "tenants": {
                str(tenant_id): {
                    "calls": state.slots.taken,
                    "waiting": state.slots.waiting,
                    "streams": state.streams.taken,
                }
                for tenant_id, state in self._plans.tenants.items()
            },
        }

    def breakers(self) -> dict[str, float]:
        """How many addresses are in each state."""
        states = [each.breaker.state for server in self._plans.servers.values() for each in server.endpoints.each]
        return {str(state): float(states.count(state)) for state in State}

    def streams(self) -> int:
        return sum(tenant.streams.taken for tenant in self._plans.tenants.values())

    def _plan_for(self, call: CallContext) -> Plan:
        route = call.route
        if route is None:
            return self._find_plan(call)
        plan = route.plan
        if plan is None or plan.generation != self._plans.generation:
            plan = route.plan = self._find_plan(call)
        return plan

    def _find_plan(self, call: CallContext) -> Plan:
        caller, server = call.caller, call.server
        assert caller is not None
        assert server is not None
        # Who cancels a task or answers its questions gets no result for it.
        tool = "" if call.message is not None and call.message.method in _FREE else call.tool
        key = (server.server_id, tool)
        plan = caller.plans.get(key)
        if (
            plan is None
            or plan.entry is not server
            or plan.generation != self._plans.generation
            or (plan.until is not None and plan.until <= call.occurred_at)
        ):
            if len(caller.plans) >= _MAX_PLANS:
                caller.plans.clear()
            plan = caller.plans[key] = self._plans.draw(caller, server, tool)
        return plan

    def _own_plan_for(self, call: CallContext) -> OwnPlan:
        caller = call.caller
        assert caller is not None
        plan = caller.own_plan
        if plan is None or plan.generation != self._plans.generation:
            plan = caller.own_plan = self._plans.draw_own(caller)
        return plan

    async def _take_tokens(self, plan: Plan | OwnPlan, now: float) -> None:
        for index, bucket in enumerate(plan.rates):
            if bucket.take(now) or await self.shared.token(bucket, now):
                continue
            if not bucket.rule.hard:
                continue
            for taken in plan.rates[:index]:
                taken.give()
            raise refusals.too_fast(bucket, time.monotonic())

    async def _reserve_metered(self, call: CallContext, plan: Plan, reserved: Reserved, now: float) -> None:
        """Find out what this call adds to the month's bill, and reserve that of the caps."""
        assert plan.meter is not None
        meter, version = plan.meter
        units = meter.units(time.time())
        if not units.reserve(now, 1) and not await self.shared.budget(units, 1):
            units.reserve_alone(1)
        taken = units.taken
        reserved.append((units, taken))
        amount = units.money(taken)
        if call.price is not None and call.price.price_version_id == version:
            call.counted = from_units(amount) if amount else _NOTHING
        need = units.room_for(amount) if plan.caps else 0
        if need:
            first = len(reserved)
            await self._reserve(tuple((counter, need) for counter in plan.caps), reserved, now)
            for place in range(first, len(reserved)):
                budget, _ = reserved[place]
                budget.settle(need - amount, billed=False)
                reserved[place] = (budget, amount)

    async def _reserve(self, charges: Charges, reserved: Reserved, now: float) -> None:
        moment = time.time()
        for counter, amount in charges:
            budget = counter.at(moment)
            if budget.reserve(now, amount):
                reserved.append((budget, amount))
                continue
            if not budget.rule.hard:
                self.shared.note_budget(budget)
                budget.reserve_beyond(amount)
                reserved.append((budget, amount))
                continue
            granted = await self.shared.budget(budget, amount)
            if granted is None:
                raise RefusedError("limits.unavailable")
            if not granted:
                raise refusals.used_up(budget, amount)
            reserved.append((budget, amount))

    async def _take_slots(self, plan: Plan) -> tuple[Slots, ...]:
        ours, theirs = plan.tenant.slots, plan.server.slots
        # The own organisation's line first: waiting there takes no place at the server.
        if not ours.take() and not await ours.wait(self._config.queue_s):
            raise refusals.all_taken("limits.concurrency", "calls at once", LimitScope.ORGANISATION, ours)
        try:
            if not theirs.take() and not await theirs.wait(self._config.queue_s):
                raise refusals.all_taken("upstream.busy", "calls at once", LimitScope.SERVER, theirs)
        except BaseException:
            ours.give()
            raise
        return ours, theirs

    def _take_streams(self, call: CallContext, plan: Plan | OwnPlan) -> tuple[Slots, ...]:
        assert call.caller is not None
        key_id, tenant = call.caller.key.api_key_id, plan.tenant
        mine = tenant.key_streams.get(key_id)
        if mine is None:
            mine = tenant.key_streams[key_id] = Slots(self._config.streams_per_key)
        if not mine.take():
            raise refusals.all_taken("limits.streams", "open streams", LimitScope.KEY, mine)
        if not tenant.streams.take():
            mine.give()
            raise refusals.all_taken("limits.streams", "open streams", LimitScope.ORGANISATION, tenant.streams)
        return mine, tenant.streams


def _undo(held: tuple[Slots, ...], reserved: Reserved) -> None:
    for slots in held:
        slots.give()
    for budget, amount in reserved:
        budget.settle(amount, billed=False)


def _endpoint(endpoint: Endpoint, now: float) -> dict[str, Any]:
    """An address by its place, never by its name: callers do not learn where a server is."""
    breaker = endpoint.breaker
    good, bad = breaker.rates(now)
    blocked = breaker.blocked_s(now) if breaker.state is not State.CLOSED else 0.0
    return {"breaker": str(breaker.state), "retry_s": round(blocked, 1), "good": good, "bad": bad}
