"""Leases under any interleaving of processes: what is admitted never exceeds the bound, and in the end all of it can be used."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis.asyncio as redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from access.limits import LimitKind, LimitRule, LimitScope, Period
from gateway.admission.budgets import Counter, Subject
from gateway.admission.rates import IDLE_S, Bucket
from gateway.admission.shared import PREFIX, Shared

PROCESSES = 4
SUBJECT = Subject(UUID(int=1), "t_test", None, None, "")


class Ledger:
    """The rows of calls: what was committed, whoever asks."""

    def __init__(self) -> None:
        self.committed = 0

    async def spent(self, subject: Subject, rule: LimitRule, window: Any) -> int:
        return self.committed

    async def tell(self, *_: Any) -> None: ...


def processes(ledger: Ledger) -> list[Shared]:
    url = os.environ["REDIS_URL"]
    return [Shared(url, spent=ledger.spent, tell=ledger.tell, live=dict) for _ in range(PROCESSES)]


def rule(kind: LimitKind, amount: int, period: Period) -> LimitRule:
    return LimitRule(uuid4().hex, "limit", LimitScope.ORGANISATION, kind, amount, period)


async def forget(name: str) -> None:
    client = redis.from_url(os.environ["REDIS_URL"])
    await client.delete(name)
    await client.aclose()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(5, 60), st.integers(1, 7), st.integers(0, 2**32), st.booleans())
def test_a_hard_cap_is_never_overrun_even_when_valkey_forgets_it(
    amount: int, price: int, seed: int, loses: bool
) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        ledger, limit = Ledger(), rule(LimitKind.CAP, amount, Period.DAY)
        all_shared = processes(ledger)
        counters = [Counter(limit.limit_id, limit, SUBJECT) for _ in all_shared]
        for shared in all_shared:
            await shared.start()

        async def call(index: int) -> None:
            budget = counters[index].at(time.time())
            if not budget.reserve(time.monotonic(), price) and not await all_shared[index].budget(budget, price):
                return
            await asyncio.sleep(chance.random() * 0.01)
            billed = chance.random() < 0.8
            if billed:
                ledger.committed += price
                assert ledger.committed <= amount
            budget.settle(price, billed=billed)

        try:
            for round_ in range(3):
                await asyncio.gather(*(call(chance.randrange(PROCESSES)) for _ in range(2 * amount // price + 4)))
                if loses and round_ == 0:
                    await forget(f"{PREFIX}spent:{counters[0].at(time.time()).name}")
            assert ledger.committed <= amount
        finally:
            for shared in all_shared:
                await shared.stop()

    asyncio.run(run())


def losing_answers(shared: Shared, chance: random.Random) -> None:
    """Every third question about rates is done by Valkey, and its answer is lost."""
    ask = shared._rates

    async def lose(*, keys: list[str], args: list[str]) -> Any:
        answer = await ask(keys=keys, args=args)
        if chance.random() < 0.34:
            raise redis.TimeoutError
        return answer

    shared._rates = lose  # type: ignore[assignment]


@settings(max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.integers(8, 60), st.integers(0, 2**32))
def test_a_rate_is_used_exactly_though_answers_of_valkey_are_lost(amount: int, seed: int) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        limit = rule(LimitKind.RATE, amount, Period.DAY)
        all_shared = processes(Ledger())
        buckets = [Bucket(limit.limit_id, limit) for _ in all_shared]
        for shared in all_shared:
            await shared.start()
            losing_answers(shared, chance)
        admitted = 0

        async def call(index: int) -> None:
            nonlocal admitted
            now = time.monotonic()
            if buckets[index].take(now) or await all_shared[index].token(buckets[index], now):
                admitted += 1
            assert admitted <= amount

        try:
            for _ in range(2):
                await asyncio.gather(*(call(chance.randrange(PROCESSES)) for _ in range(amount // 4)))
                await asyncio.sleep(IDLE_S + 0.3)
            # What the others held went back to everybody, exactly once.
            async with asyncio.timeout(20):
                while admitted < amount:
                    await call(0)
                    await asyncio.sleep(0.05)
            for index in range(PROCESSES):
                await call(index)
        finally:
            for shared in all_shared:
                await shared.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.admission.shared._FAILURES", 1000)
        patch.setattr("gateway.admission.shared._FAILURES_LATE", 1000)
        asyncio.run(run())


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(10, 400), st.integers(0, 2**32))
def test_a_rate_lets_through_its_burst_and_what_refilled_and_no_more(amount: int, seed: int) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        limit = rule(LimitKind.RATE, amount, Period.MINUTE)
        all_shared = processes(Ledger())
        buckets = [Bucket(limit.limit_id, limit) for _ in all_shared]
        for shared in all_shared:
            await shared.start()
        began, admitted = time.monotonic(), 0

        async def caller(index: int) -> None:
            nonlocal admitted
            while time.monotonic() - began < 0.8:
                now = time.monotonic()
                if buckets[index].take(now) or await all_shared[index].token(buckets[index], now):
                    admitted += 1
                await asyncio.sleep(chance.random() * 0.002)

        try:
            await asyncio.gather(*(caller(index) for index in range(PROCESSES) for _ in range(4)))
            elapsed = time.monotonic() - began
        finally:
            for shared in all_shared:
                await shared.stop()
        assert admitted <= amount + elapsed * amount / 60 + 1
        assert admitted >= min(amount, 30) * 0.5

    asyncio.run(run())
