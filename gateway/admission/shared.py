"""Open for rates, closed for hard caps: while Valkey is away each process counts alone, and priced calls under a hard cap wait.

One task asks Valkey for everything that is due, every 100 ms or as soon as a call found its lease empty, in one command per
kind. A call never talks to Valkey itself; at most it waits for the round that serves all who wait, and no longer than the
command's timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from access.limits import LimitKind, LimitRule
from core import clock
from gateway import valkey
from gateway.admission import scripts
from gateway.admission.budgets import Budget, Subject
from gateway.admission.rates import Bucket

log = logging.getLogger(__name__)

PREFIX = "gateway:v1:limits:"
LIVE = "gateway:v1:live:"
ROUND_S = 0.1
COMMAND_S = 0.15
ROUND_MOST_S = 0.18  # the longest that any call waits for Valkey
_AWAY_S = 0.5
_LIVE_S = 1.0
_REBUILD_S = 3600.0
_HURRY_S = 15.0  # between two rebuilds of a counter whose holder died
_HOLD_MS = 400  # time for the others to report their leases after Valkey lost its data
# A counter whose sum is being read, at a cold start for very many at once, is worth a wait; a refusal costs the caller more.
_GIVE_UP_S = 3.0
# So many rounds in a row must fail before Valkey counts as away; more when this process itself was late, or has only begun.
_FAILURES, _FAILURES_LATE, _FAILURES_FIRST = 2, 8, 24
_FIRST_ROUND_S = 2.0
_READERS, _READ_S = 2, 10.0
_AGAIN_S = 0.02
_AFTER_WINDOW_MS = 86_400_000
_KEPT_MS = 31 * _AFTER_WINDOW_MS

Spent = Callable[[Subject, LimitRule, Any], Awaitable[int]]
Tell = Callable[[Subject, LimitRule, int, int], Awaitable[None]]


class Shared:
    """Start it in the loop that serves calls. `spent` reads a counter's sum from Postgres, `tell` informs people."""

    def __init__(self, redis_url: str, *, spent: Spent, tell: Tell, live: Callable[[], dict[str, Any]]) -> None:
        self.process = uuid4().hex[:12]
        self.processes = 1
        self._client = redis.from_url(
            redis_url,
            socket_timeout=COMMAND_S,
            socket_connect_timeout=COMMAND_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=2,
        )
        self._rates = self._client.register_script(scripts.RATES)
        self._budgets = self._client.register_script(scripts.BUDGETS)
        # Sums of very many counters may be read at once: they queue among themselves and take no connection from the rounds.
        self._reader = redis.Redis.from_pool(
            redis.BlockingConnectionPool.from_url(
                redis_url, max_connections=_READERS, timeout=_READ_S, socket_timeout=1, socket_connect_timeout=1
            )
        )
        self._sum = self._reader.register_script(scripts.SPENT)
        self._base = self._reader.register_script(scripts.BASE)
        self._spent, self._tell, self._live = spent, tell, live
        self._buckets: set[Bucket] = set()
        self._counters: set[Budget] = set()
        self._rebuilding: set[Budget] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._away_until = 0.0
        self._lived_at = 0.0
        self.is_away = False
        self._failures, self._has_reached = 0, False
        self._owed: list[asyncio.Future[bool]] = []  # who waits for a round that is tried again
        self.rounds = 0

    async def start(self) -> None:
        """Returns once Valkey has answered, or when waiting longer would keep callers waiting."""
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._next: asyncio.Future[bool] = self._loop.create_future()
        self._task = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ROUND_S):
                await self._next_round()

    async def stop(self) -> None:
        """Give everything back that is not in use."""
        await valkey.end(task for task in (self._task, *self._background) if task is not None)
        with contextlib.suppress(redis.RedisError, OSError, TimeoutError):
            for bucket in self._buckets:
                bucket.used_at = 0.0
            for budget in self._counters:
                budget.used_at = 0.0
            async with asyncio.timeout(2 * COMMAND_S):
                await self._round(time.monotonic())
                await self._client.zrem(PREFIX + "processes", self.process)
                await self._client.delete(LIVE + self.process)
        self._finish_owed(reached=False)
        if not self._next.done():
            self._next.set_result(False)
        await valkey.close(self._client)
        await valkey.close(self._reader)

    # Of one call

    def note_bucket(self, bucket: Bucket) -> None:
        bucket.active = True
        self._buckets.add(bucket)

    def note_budget(self, budget: Budget) -> None:
        budget.active = True
        self._counters.add(budget)

    async def token(self, bucket: Bucket, now: float) -> bool:
        """For a call that found the lease empty."""
        self.note_bucket(bucket)
        if now < bucket.closed_until:
            return False
        for _ in range(3):
            if not await self._next_round():
                return bucket.take_alone(time.monotonic())
            now = time.monotonic()
            if bucket.tokens >= 1:
                return bucket.take(now)
            if now < bucket.closed_until:
                return False
        return False

    async def budget(self, budget: Budget, amount: int) -> bool | None:
        """For a call that found the lease too small. None when nobody can tell."""
        self.note_budget(budget)
        give_up = time.monotonic() + _GIVE_UP_S
        while True:
            if not await self._next_round():
                if budget.reserve_alone(amount):
                    return True
                return False if budget.rule.kind is LimitKind.QUOTA else None
            now = time.monotonic()
            if budget.known:
                if budget.reserve(now, amount):
                    return True
                if budget.room + budget.lease < amount or now > give_up:
                    return False
            elif now > give_up:
                return None
            else:
                await asyncio.sleep(_AGAIN_S)
                budget.short += amount

    async def _next_round(self) -> bool:
        """Wait for a whole round; false when Valkey is away."""
        if self.is_away:
            return False
        self._wake.set()
        # Shielded: a caller that leaves must not end the wait of the others.
        return await asyncio.shield(self._next)

    # Of all

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_S):
                    await self._wake.wait()
            self._wake.clear()
            now = time.monotonic()
            if now < self._away_until:
                self._finish(self._turn(), reached=False)
                await asyncio.sleep(min(ROUND_S, self._away_until - now))
                continue
            waiting = self._turn()
            try:
                async with asyncio.timeout(ROUND_MOST_S):
                    await self._round(now)
            except Exception as exc:  # noqa: BLE001 - whatever fails here, calls go on without Valkey
                self._owed.append(waiting)
                if not self._is_worth_another(now):
                    self._lose(exc)
                    self._finish_owed(reached=False)
            else:
                if self.is_away:
                    log.info("limits are shared through Valkey again")
                self.is_away, self._failures, self._has_reached = False, 0, True
                self._owed.append(waiting)
                self._finish_owed(reached=True)

    def _is_worth_another(self, began: float) -> bool:
        """Whether a failed round is tried again at once: a process that was busy takes its own lateness for Valkey's."""
        if self.is_away:
            return False
        self._failures += 1
        self._wake.set()
        was_late = time.monotonic() - began > 1.25 * ROUND_MOST_S
        if not self._has_reached:
            return self._failures < _FAILURES_FIRST
        return self._failures < (_FAILURES_LATE if was_late else _FAILURES)

    def _turn(self) -> asyncio.Future[bool]:
        waiting, self._next = self._next, self._loop.create_future()
        return waiting

    def _finish_owed(self, *, reached: bool) -> None:
        owed, self._owed = self._owed, []
        for waiting in owed:
            self._finish(waiting, reached=reached)

    @staticmethod
    def _finish(waiting: asyncio.Future[bool], *, reached: bool) -> None:
        if not waiting.done():
            waiting.set_result(reached)

    def _lose(self, exc: Exception) -> None:
        if not self.is_away:
            log.warning("limits are counted by this process alone: %s", type(exc).__name__)
        self.is_away, self._failures = True, 0
        self._away_until = time.monotonic() + _AWAY_S

    async def _round(self, now: float) -> None:
        self.rounds += 1
        buckets = [bucket for bucket in self._buckets if bucket.is_due(now)]
        if buckets:
            await self._renew_buckets(buckets, now)
        if self._counters:
            await self._renew_budgets(list(self._counters), now)
        if now - self._lived_at >= _LIVE_S:
            self._lived_at = now
            await self._show()

    async def _renew_buckets(self, buckets: list[Bucket], now: float) -> None:
        keys, args, asked = [PREFIX + "processes", f"{PREFIX}granted:{self.process}"], [self.process], []
        for bucket in buckets:
            want, back = bucket.wanted(now)
            bucket.give_back(back)
            asked.append((want, bucket.given))
            keys.append(f"{PREFIX}rate:{bucket.name}")
            args += [
                f"{bucket.per_s / 1e6:.12f}",
                str(bucket.capacity),
                str(int(bucket.tokens)),
                str(bucket.given),
                str(bucket.arrived),
                str(bucket.granted),
                str(want),
            ]
        reply = await self._rates(keys=keys, args=args)
        self.processes = reply[0]
        for index, (bucket, (want, given)) in enumerate(zip(buckets, asked, strict=True)):
            granted, remaining, wait_us = reply[1 + 3 * index : 4 + 3 * index]
            bucket.processes, bucket.arrived = self.processes, given
            bucket.renewed(time.monotonic(), granted, remaining, wait_us / 1e6, asked=want > 0)
            if bucket.tokens < 1 and now - bucket.used_at > 1.0:
                bucket.active = False
                self._buckets.discard(bucket)

    async def _renew_budgets(self, budgets: list[Budget], now: float) -> None:
        keys, args, spent, given = [PREFIX + "processes"], [self.process], [], []
        wall = clock.now()
        for budget in budgets:
            want, back = budget.wanted(now)
            budget.part(back)
            budget.short = budget.recent = 0
            spent.append(budget.spent)
            given.append(back)
            keys.append(f"{PREFIX}spent:{budget.name}")
            args += [
                str(budget.rule.amount),
                "1" if budget.rule.hard else "0",
                budget.generation,
                str(budget.spent),
                str(budget.outstanding),
                str(want),
                str(_lifetime_ms(budget, wall)),
                str(budget.owed()),
            ]
        try:
            reply = await self._budgets(keys=keys, args=args)
        except BaseException:
            for budget, back in zip(budgets, given, strict=True):
                budget.keep(back)
            raise
        self.processes = reply[0]
        for index, budget in enumerate(budgets):
            self._take(budget, reply[1 + 8 * index : 9 + 8 * index], spent[index], now)

    def _take(self, budget: Budget, reply: list[Any], spent: int, now: float) -> None:
        state, generation, granted, room, used, percent, dead, owed = reply
        budget.processes = self.processes
        # Without a base nothing was granted, and nobody knows what is left.
        budget.renewed(int(granted), budget.room if state == 1 else int(room), int(owed))
        if state == 1:
            budget.known = False
            self._rebuild(budget)
            return
        if generation.decode() == budget.generation:
            budget.heard_spent = spent
        budget.heard(generation.decode(), int(room), int(used))
        budget.known = state == 0
        if percent:
            self._keep(self._tell(budget.subject, budget.rule, int(percent), int(used)))
        if now - budget.rebuilt_at > (_HURRY_S if dead else _REBUILD_S):
            self._rebuild(budget)
        is_over = budget.outstanding == 0 and budget.heard_spent == budget.spent
        if is_over and now - budget.used_at > 1.0:
            budget.active = False
            self._counters.discard(budget)

    def _rebuild(self, budget: Budget) -> None:
        if budget not in self._rebuilding:
            self._rebuilding.add(budget)
            self._keep(self._read_base(budget))

    async def _read_base(self, budget: Budget) -> None:
        """Take the sum from Postgres as the base. What was spent meanwhile is on top of it, never lost."""
        try:
            key = f"{PREFIX}spent:{budget.name}"
            generation, before = await self._sum(keys=[key])
            total = await self._spent(budget.subject, budget.rule, budget.window)
            hold = _HOLD_MS if self.processes > 1 else 0
            lifetime = _lifetime_ms(budget, clock.now())
            await self._base(keys=[key], args=[total, generation, before, uuid4().hex[:12], hold, lifetime])
            budget.rebuilt_at = time.monotonic()
            self._wake.set()
        finally:
            self._rebuilding.discard(budget)

    async def _show(self) -> None:
        """What this process sees of servers and limits, for the page of live state."""
        await self._client.set(LIVE + self.process, orjson.dumps(self._live()), ex=5)

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(_quietly(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _lifetime_ms(budget: Budget, now: datetime) -> int:
    """How long Valkey keeps a counter that nobody uses; its sum is read again after that."""
    left_ms = max(0, int((budget.window.ends_at - now).total_seconds() * 1000))
    return min(left_ms, _KEPT_MS) + _AFTER_WINDOW_MS


async def _quietly(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception as exc:  # noqa: BLE001 - repeated by the next round or the next hour
        log.warning("work beside limits failed: %s", type(exc).__name__)
