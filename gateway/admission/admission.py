"""Closed: a call over a limit, or to a server that is unwell, is refused with the limit, what is left, and when to return.

`admit` gives a ticket, and the ticket is settled when the outcome is known; `Pipeline.deliver` is the one place that does both.
What applies to a caller, a server and a tool is looked up once per pair and kept as a plan; a call then costs a few comparisons.
"""

from __future__ import annotations

import time
from uuid import UUID

from calls.record import Outcome
from gateway.admission.bulkheads import Slots
from gateway.admission.endpoints import Endpoint, Endpoints
from gateway.config import AdmissionConfig
from gateway.context import CallContext
from gateway.entries import ServerEntry
from gateway.mcp.errors import RefusedError
from gateway.upstream.http1 import UpstreamBrokenError
from gateway.watch import WatchedTimeoutError

_MAX_PLANS = 1024
_FORGET_AFTER_S = 600.0
_ANSWERED = frozenset({Outcome.OK, Outcome.TOOL_ERROR})


class ServerState:
    """What this process knows of one server: who is there, and how its addresses do."""

    __slots__ = ("endpoints", "slots", "used_at")

    def __init__(self, config: AdmissionConfig) -> None:
        self.slots = Slots(config.per_server, config.queue)
        self.endpoints = Endpoints(config.breaker)
        self.used_at = 0.0


class TenantState:
    """One organisation's calls and streams under way in this process."""

    __slots__ = ("key_streams", "slots", "streams", "used_at")

    def __init__(self, config: AdmissionConfig) -> None:
        self.slots = Slots(config.per_tenant, config.queue)
        self.streams = Slots(config.streams_per_tenant)
        self.key_streams: dict[UUID, Slots] = {}
        self.used_at = 0.0


class Plan:
    """Everything that concerns calls of one caller to one tool of one server."""

    __slots__ = ("entry", "generation", "server", "tenant")

    def __init__(self, entry: ServerEntry, generation: int, server: ServerState, tenant: TenantState) -> None:
        self.entry, self.generation = entry, generation
        self.server, self.tenant = server, tenant


class Ticket:
    """The right to one call, with everything that is held for it. Settle it exactly once."""

    __slots__ = ("_endpoint", "_held", "_is_probe")

    def __init__(self, endpoint: Endpoint, held: tuple[Slots, ...], *, is_probe: bool) -> None:
        self._endpoint, self._held, self._is_probe = endpoint, held, is_probe

    def settle(self, call: CallContext, error: BaseException | None = None) -> None:
        """Give back what was held, and tell the breaker how the server did."""
        for slots in self._held:
            slots.give()
        breaker = self._endpoint.breaker
        failed = _has_failed(call, error)
        if failed is None:
            if self._is_probe:
                breaker.leave()
        elif failed:
            breaker.fail(time.monotonic(), call.retry_after_s)
        else:
            breaker.succeed(time.monotonic())


def _has_failed(call: CallContext, error: BaseException | None) -> bool | None:
    """Whether the server failed; None when the call says nothing about it."""
    if error is None:
        return call.status >= 500
    if call.outcome in _ANSWERED:
        return False
    if isinstance(error, UpstreamBrokenError | WatchedTimeoutError):
        return not call.stream_listens
    if isinstance(error, RefusedError) and error.error_code == "upstream.failed":
        return call.status >= 500
    return None


class Admission:
    def __init__(self, config: AdmissionConfig) -> None:
        self._config = config
        self._servers: dict[UUID, ServerState] = {}
        self._tenants: dict[UUID, TenantState] = {}
        self._generation = 0  # plans of an older one point at state that was forgotten

    async def admit(self, call: CallContext, *, listens: bool = False) -> Ticket:
        """Raises RefusedError. `listens`: a stream without a natural end, which holds a place among streams only."""
        plan = self._plan_for(call)
        call.stream_listens = listens
        now = time.monotonic()
        plan.server.used_at = plan.tenant.used_at = now
        held = self._take_streams(call, plan) if listens else await self._take_slots(plan)
        endpoint = plan.server.endpoints.choose(now, call.url_wanted)
        if endpoint is None:
            for slots in held:
                slots.give()
            raise RefusedError("upstream.unavailable").later(plan.server.endpoints.blocked_s(now))
        call.url = endpoint.url
        return Ticket(endpoint, held, is_probe=endpoint.breaker.enter(now))

    def reap(self) -> None:
        """Forget servers and organisations that nobody has called for long."""
        limit = time.monotonic() - _FORGET_AFTER_S
        servers = [key for key, state in self._servers.items() if state.used_at < limit and not state.slots.taken]
        tenants = [
            key
            for key, state in self._tenants.items()
            if state.used_at < limit and not state.slots.taken and not state.streams.taken
        ]
        for server_id in servers:
            del self._servers[server_id]
        for tenant_id in tenants:
            del self._tenants[tenant_id]
        if servers or tenants:
            self._generation += 1

    def _plan_for(self, call: CallContext) -> Plan:
        caller, server = call.caller, call.server
        assert caller is not None
        assert server is not None
        key = (server.server_id, call.tool)
        plan = caller.plans.get(key)
        if plan is None or plan.entry is not server or plan.generation != self._generation:
            if len(caller.plans) >= _MAX_PLANS:
                caller.plans.clear()
            plan = caller.plans[key] = self._draw(call, server)
        return plan

    def _draw(self, call: CallContext, server: ServerEntry) -> Plan:
        assert call.caller is not None
        state = self._servers.get(server.server_id)
        if state is None:
            state = self._servers[server.server_id] = ServerState(self._config)
        state.endpoints.set((server.url, *server.urls))
        tenant_id = call.caller.tenant.tenant_id
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            tenant = self._tenants[tenant_id] = TenantState(self._config)
        return Plan(server, self._generation, state, tenant)

    async def _take_slots(self, plan: Plan) -> tuple[Slots, ...]:
        ours, theirs = plan.tenant.slots, plan.server.slots
        # The own organisation's line first: waiting there takes no place at the server.
        if not ours.take() and not await ours.wait(self._config.queue_s):
            raise RefusedError("limits.concurrency")
        try:
            if not theirs.take() and not await theirs.wait(self._config.queue_s):
                raise RefusedError("upstream.busy")
        except BaseException:
            ours.give()
            raise
        return ours, theirs

    def _take_streams(self, call: CallContext, plan: Plan) -> tuple[Slots, ...]:
        assert call.caller is not None
        key_id, tenant = call.caller.key.api_key_id, plan.tenant
        mine = tenant.key_streams.get(key_id)
        if mine is None:
            mine = tenant.key_streams[key_id] = Slots(self._config.streams_per_key)
        if not mine.take():
            raise RefusedError("limits.streams")
        if not tenant.streams.take():
            mine.give()
            raise RefusedError("limits.streams")
        return mine, tenant.streams
