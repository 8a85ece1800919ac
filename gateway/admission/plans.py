"""What applies to calls of one caller to one tool of one server, found once and kept for as long as the entries stand."""

from __future__ import annotations

import json
import time
from collections import deque
from datetime import datetime
from typing import Any
from uuid import UUID

from access.limits import LimitKind, LimitRule, LimitScope, Period, to_units
from billing.core import rating
from core import clock
from gateway.admission.budgets import Counter, Subject
from gateway.admission.bulkheads import Slots
from gateway.admission.endpoints import Endpoints
from gateway.admission.rates import Bucket
from gateway.admission.retries import Budget as Repeats
from gateway.admission.units import RULE, UnitCounter
from gateway.config import AdmissionConfig
from gateway.context import Caller
from gateway.entries import Price, ServerEntry
from gateway.prices import changes_at, price_of

_FORGET_AFTER_S = 600.0
_SEEN = 1024
LATELY_S = 60.0


class ServerState:
    """What this process knows of one server: who is there, and how its addresses do."""

    __slots__ = ("endpoints", "repeats", "seen", "slots", "slug", "used_at")

    def __init__(self, config: AdmissionConfig) -> None:
        self.slug = ""
        self.slots = Slots(config.per_server, config.queue)
        self.endpoints = Endpoints(config.breaker)
        self.repeats = Repeats()
        self.used_at = 0.0
        self.seen: deque[tuple[float, float, bool]] = deque(maxlen=_SEEN)  # when, milliseconds at the server, failed

    def lately(self, now: float) -> dict[str, Any]:
        """How the server did within the last minute, of at most the last `_SEEN` calls. Times in milliseconds."""
        recent = [each for each in self.seen if now - each[0] <= LATELY_S]
        times = sorted(each[1] for each in recent if not each[2])
        return {
            "calls_lately": len(recent),
            "failed_lately": sum(each[2] for each in recent),
            "p50_ms": round(times[len(times) // 2], 2) if times else None,
            "p95_ms": round(times[int(len(times) * 0.95)], 2) if times else None,
        }


class TenantState:
    """One organisation's calls and streams under way in this process."""

    __slots__ = ("key_streams", "slots", "streams", "used_at")

    def __init__(self, config: AdmissionConfig) -> None:
        self.slots = Slots(config.per_tenant, config.queue)
        self.streams = Slots(config.streams_per_tenant)
        self.key_streams: dict[UUID, Slots] = {}
        self.used_at = 0.0


Charges = tuple[tuple[Counter, int], ...]
Meter = tuple[UnitCounter, UUID]  # with the version of the price


class Plan:
    """`charges` are the counters of a tool call with what it adds to each; from `until` on that may be something else.

    Where that depends on the month's calls before it, `meter` says what a call costs, and `caps` are the counters of it.
    """

    __slots__ = ("caps", "charges", "entry", "generation", "meter", "rates", "server", "tenant", "until")

    def __init__(
        self,
        entry: ServerEntry,
        generation: int,
        server: ServerState,
        tenant: TenantState,
        rates: tuple[Bucket, ...],
        charges: Charges,
        until: datetime | None,
        meter: Meter | None = None,
        caps: tuple[Counter, ...] = (),
    ) -> None:
        self.entry, self.generation = entry, generation
        self.server, self.tenant = server, tenant
        self.rates, self.charges, self.until = rates, charges, until
        self.meter, self.caps = meter, caps


class OwnPlan:
    """What applies to requests of one caller that are for no single server."""

    __slots__ = ("generation", "rates", "tenant")

    def __init__(self, generation: int, tenant: TenantState, rates: tuple[Bucket, ...]) -> None:
        self.generation, self.tenant, self.rates = generation, tenant, rates


class Plans:
    """The state of every server, organisation and limit that was lately called, and the plans that point at it."""

    def __init__(self, config: AdmissionConfig) -> None:
        self._config = config
        self.servers: dict[UUID, ServerState] = {}
        self.tenants: dict[UUID, TenantState] = {}
        self.buckets: dict[str, Bucket] = {}
        self.counters: dict[str, Counter] = {}
        self.generation = 0  # plans of an older one point at state that was forgotten

    def draw_own(self, caller: Caller) -> OwnPlan:
        """The rates of the organisation and of the key; those of a server or a tool count calls there."""
        rates = tuple(
            self._bucket(rule, caller, None)
            for rule in caller.tenant.limits
            if rule.kind is LimitKind.RATE
            and rule.server_id is None
            and not rule.tool
            and rule.scope is not LimitScope.PROVIDER
            and rule.key_id in {None, caller.key.api_key_id}
        )
        return OwnPlan(self.generation, self._tenant(caller), rates)

    def draw(self, caller: Caller, server: ServerEntry, tool: str) -> Plan:
        state = self.servers.get(server.server_id)
        if state is None:
            state = self.servers[server.server_id] = ServerState(self._config)
        state.slug = server.slug
        state.endpoints.set((server.url, *server.urls))
        state.endpoints.note_down(server.down_at, time.monotonic())
        rules = [
            rule
            for rule in (*caller.tenant.limits, *server.limits)
            if rule.covers(caller.key.api_key_id, server.server_id, tool)
        ]
        rates = tuple(self._bucket(rule, caller, server) for rule in rules if rule.kind is LimitKind.RATE)
        until = changes_at(caller.tenant, server, clock.now())
        if not tool:
            return Plan(server, self.generation, state, self._tenant(caller), rates, (), until)
        price = price_of(caller.tenant, server, tool, clock.now())
        quotas = tuple((self._counter(rule, caller, server), 1) for rule in rules if rule.kind is LimitKind.QUOTA)
        caps = self._caps(rules, caller, server, price)
        if price is not None and price.rate and price.model:
            meter = self._meter(caller, price), price.price_version_id
            return Plan(server, self.generation, state, self._tenant(caller), rates, quotas, until, meter, caps)
        flat = to_units(price.rate) if caps and price is not None else 0
        charges = (*quotas, *((counter, flat) for counter in caps))
        return Plan(server, self.generation, state, self._tenant(caller), rates, charges, until)

    def _tenant(self, caller: Caller) -> TenantState:
        tenant = self.tenants.get(caller.tenant.tenant_id)
        if tenant is None:
            tenant = self.tenants[caller.tenant.tenant_id] = TenantState(self._config)
        return tenant

    def reap(self) -> None:
        """Forget what nobody has used for long."""
        limit = time.monotonic() - _FORGET_AFTER_S
        gone: list[tuple[dict[Any, Any], Any]] = [
            (self.servers, key)
            for key, state in self.servers.items()
            if state.used_at < limit and not state.slots.taken
        ]
        gone += [
            (self.tenants, key)
            for key, state in self.tenants.items()
            if state.used_at < limit and not state.slots.taken and not state.streams.taken
        ]
        gone += [(self.buckets, name) for name, one in self.buckets.items() if not one.active and one.used_at < limit]
        gone += [
            (self.counters, name)
            for name, each in self.counters.items()
            if each.used_at < limit and not each.at(time.time()).active
        ]
        for where, key in gone:
            del where[key]
        if gone:
            self.generation += 1

    def _bucket(self, rule: LimitRule, caller: Caller, server: ServerEntry | None) -> Bucket:
        name = _name(rule, caller, server)
        bucket = self.buckets.get(name)
        if bucket is None:
            bucket = self.buckets[name] = Bucket(name, rule)
        bucket.set_rule(rule)
        return bucket

    def _caps(
        self, rules: list[LimitRule], caller: Caller, server: ServerEntry, price: Price | None
    ) -> tuple[Counter, ...]:
        if price is None or not price.rate:
            return ()
        of_money = [rule for rule in rules if rule.kind is LimitKind.CAP and rule.currency == price.currency]
        return tuple(self._counter(rule, caller, server) for rule in of_money)

    def _meter(self, caller: Caller, price: Price) -> UnitCounter:
        tenant = caller.tenant
        name = f"{tenant.tenant_id}:{RULE.limit_id}:{price.price_version_id}"
        counter = self.counters.get(name)
        if not isinstance(counter, UnitCounter):
            subject = Subject(tenant.tenant_id, tenant.schema_name, None, None, "", price.price_version_id)
            counter = self.counters[name] = UnitCounter(name, subject, rating.parse(json.loads(price.model)))
        counter.used_at = time.monotonic()
        return counter

    def _counter(self, rule: LimitRule, caller: Caller, server: ServerEntry) -> Counter:
        name = _name(rule, caller, server)
        counter = self.counters.get(name)
        if counter is None:
            each_key = rule.scope is LimitScope.KEY and rule.key_id is None
            subject = Subject(
                caller.tenant.tenant_id,
                caller.tenant.schema_name,
                caller.key.api_key_id if each_key else rule.key_id,
                rule.server_id,
                rule.tool,
            )
            counter = self.counters[name] = Counter(name, rule, subject)
        counter.set_rule(rule)
        counter.used_at = time.monotonic()
        return counter


def _name(rule: LimitRule, caller: Caller, server: ServerEntry | None) -> str:
    """What the limit is counted under, the same in every process."""
    tenant_id = caller.tenant.tenant_id
    if rule.scope is LimitScope.PROVIDER and server is not None:
        return f"server:{server.server_id}:{rule.limit_id}:{tenant_id if rule.limit_id == PER_CALLER else 'all'}"
    each_key = f":{caller.key.api_key_id}" if rule.scope is LimitScope.KEY and rule.key_id is None else ""
    return f"{tenant_id}:{rule.limit_id}{each_key}"


PER_CALLER, IN_ALL = "provider-caller", "provider-all"


def provider_limits(server_id: UUID, per_caller: int | None, in_all: int | None) -> tuple[LimitRule, ...]:
    """The limits, in requests per minute, that a provider sets for its own server: per calling organisation, and in all."""
    return tuple(
        LimitRule(limit_id, name, LimitScope.PROVIDER, LimitKind.RATE, amount, Period.MINUTE, server_id=server_id)
        for limit_id, name, amount in (
            (PER_CALLER, "The provider's limit for each organisation", per_caller),
            (IN_ALL, "The provider's limit for all organisations together", in_all),
        )
        if amount is not None
    )
