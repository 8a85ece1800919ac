"""The one writer of `Call` rows: group commit, idempotent, one per process.

Callers hand over a record and wait until it is durable. The writer takes everything that waits (no linger), inserts it in one
transaction, and wakes the callers after the commit. While a commit is under way the next group gathers by itself, so the group
grows with the load. Rows are inserted by a role that can do nothing else, into schema-qualified tables; the connection has no
search path to leak.

When Postgres does not commit in time, or is away, the full row goes to this process's spool (`calls.spool`), the caller is
answered, and the row is inserted later under the same id, by us or, when we die, by another process (`calls.journal`). A row
may so be sent twice; the table takes each id once. Fails closed: a row that becomes durable nowhere raises NotRecordedError, and
the caller must not answer. What is then known of the call, that it was under way, becomes a row `unknown`, which is never billed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice, takewhile
from typing import TypeVar

import psycopg

from calls import spool as spools
from calls.journal import Journal, Orphan
from calls.link import Link, LinkLostError, RowsRefusedError
from calls.record import CallRecord, Outcome
from core import clock, failpoints
from core.errors import UnavailableError

log = logging.getLogger(__name__)

ROLE = "marketplace_meter"
MAX_ROWS = 500
MAX_WAITING = 20_000
DEADLINE_S = 5.0
SPOOL_AFTER_S = 0.25
SWEEP_S = 3.0
TOO_LATE = timedelta(days=35)
AHEAD = timedelta(minutes=5)
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_DRAIN_BYTES = 1024 * 1024
_SPOOL_AGAIN_S = 0.5
_OWED_AGAIN_S = 0.2
# What a cancelled statement takes to come back as an error.
_VERDICT_S = 1.0
_NO_SLOT = -1

T = TypeVar("T")


class NotRecordedError(UnavailableError):
    code = "calls.not_recorded"
    default_message = "The call could not be recorded, so it is not answered."


@dataclass(slots=True, eq=False)
class _Waiting:
    record: CallRecord
    committed: asyncio.Future[None]
    since: float
    slot: int = _NO_SLOT
    is_durable: bool = False
    is_owed: bool = False  # nobody waits and it is on disk already: it may take as long as Postgres takes


@dataclass(slots=True)
class WriterStats:
    """Counters for readiness, metrics and tests."""

    rows: int = 0
    commits: int = 0
    failures: int = 0
    spooled: int = 0
    drained: int = 0
    adopted: int = 0
    refused: int = 0
    connected: bool = field(default=False)


class CallWriter:
    """Start it in the loop that uses it; `write` may be called as often as there are calls in flight.

    Without a journal nothing survives this process, and a row that Postgres does not take in time is refused.
    """

    def __init__(
        self,
        database_url: str,
        *,
        role: str = ROLE,
        deadline_s: float = DEADLINE_S,
        journal: Journal | None = None,
        spool_after_s: float = SPOOL_AFTER_S,
        sweep_s: float = SWEEP_S,
        observe: Callable[[CallRecord], None] | None = None,
    ) -> None:
        self._url, self._role, self._deadline_s = database_url, role, deadline_s
        self._journal, self._spool_after_s, self._sweep_s = journal, spool_after_s, sweep_s
        self._observe = observe
        self._queue: deque[_Waiting] = deque()
        self._in_flight: list[_Waiting] = []
        self._wake: asyncio.Event = asyncio.Event()
        self._spool_wake: asyncio.Event = asyncio.Event()
        self._spool_lock: asyncio.Lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._link: Link | None = None
        self._is_away = False  # the last attempt to connect or commit failed
        self._closing = False
        self.stats = WriterStats()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._expire())]
        if self._journal is not None:
            self._threads = ThreadPoolExecutor(1, thread_name_prefix="call-spool")
            self._tasks += [
                asyncio.create_task(self._spool_forever()),
                asyncio.create_task(self._drain_forever()),
            ]

    async def stop(self) -> None:
        """Make what waits durable, within the deadline, then close."""
        self._closing = True
        self._wake.set()
        self._spool_wake.set()
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._tasks[0]), self._deadline_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._journal is not None:
            await self._spool(self._queue)
            self._threads.shutdown()
        self._fail(self._queue)
        await self._disconnect()

    def write(self, record: CallRecord, slot: int = _NO_SLOT) -> asyncio.Future[None]:
        """A future that is done when the row is durable, or carries NotRecordedError. The slot of its intent is freed then.

        The row is written even when nobody waits for the future any more.
        """
        if self._observe is not None:
            self._observe(record)
        committed = self._loop.create_future()
        item = _Waiting(record, committed, self._loop.time(), slot)
        if self._closing or len(self._queue) >= MAX_WAITING:
            self._fail([item])
            return committed
        self._queue.append(item)
        if self._is_away:
            self._spool_wake.set()
        self._wake.set()
        return committed

    # Postgres

    async def _run(self) -> None:
        # Connected before the first row, so that readiness means something; a failure here is met again with the first row.
        attempt = 0
        while True:
            try:
                if self._link is None:
                    await self._connect()
                    attempt = 0
                if not self._queue:
                    if self._closing:
                        return
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._commit_some()
            except (psycopg.Error, LinkLostError, OSError) as exc:
                self.stats.failures += 1
                log.warning("call writer lost the database: %s", type(exc).__name__)
                self._is_away = True
                self._spool_wake.set()
                await self._disconnect()
                if self._closing and self._journal is not None:
                    return
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                attempt += 1

    async def _commit_some(self) -> None:
        """Commit the next group. Raises LinkLostError, and then the group waits again, unless its callers have given up."""
        take = min(len(self._queue), MAX_ROWS)
        group = [item for item in (self._queue.popleft() for _ in range(take)) if self._is_wanted(item)]
        self._in_flight = group
        try:
            if group:
                await self._commit(group)
        except (LinkLostError, asyncio.CancelledError):
            self._queue.extendleft(reversed([item for item in group if self._is_wanted(item)]))
            raise
        finally:
            self._in_flight = []

    async def _commit(self, group: list[_Waiting]) -> None:
        """Commit a group; a row or schema that the database refuses fails alone."""
        assert self._link is not None
        by_schema: dict[str, list[CallRecord]] = {}
        for item in group:
            record = item.record
            rows = by_schema.get(record.schema_name)
            if rows is None:
                by_schema[record.schema_name] = [record]
            else:
                rows.append(record)
        if failpoints.armed:
            failpoints.reach("before_commit")
        try:
            await self._link.insert(by_schema)
        except RowsRefusedError as exc:
            if len(group) == 1:
                self._refuse(group[0], exc)
                return
            for part in _split(group):
                await self._commit(part)
            return
        if failpoints.armed:
            failpoints.reach("after_commit")
        self._is_away = False
        self.stats.commits += 1
        self.stats.rows += len(group)
        for item in group:
            self._settle(item)

    async def _connect(self) -> None:
        self._link = await Link.open(
            self._url, role=self._role, statement_timeout_s=self._deadline_s, on_lost=self._note_loss
        )
        self.stats.connected = True
        # Until a commit has worked this stays as it is: a server that accepts connections may still take no rows.
        if self._journal is None or not self._queue:
            self._is_away = False

    def _note_loss(self) -> None:
        self.stats.connected = False
        self._wake.set()
        if self._link is not None and not self._in_flight:
            link, self._link = self._link, None
            link.lose()

    async def _disconnect(self) -> None:
        link, self._link, self.stats.connected = self._link, None, False
        if link is not None:
            await link.close()

    # The spool

    async def _spool_forever(self) -> None:
        """Rows that Postgres does not take in time go to the file, all that are due with one sync."""
        pause = min(self._spool_after_s / 2.5, 0.1)
        while True:
            self._spool_wake.clear()
            due = self._due_for_spool()
            if due and not await self._spool(due):
                await asyncio.sleep(_SPOOL_AGAIN_S)
            elif self._is_away:
                await self._spool_wake.wait()
            else:
                await asyncio.sleep(pause)

    def _due_for_spool(self) -> list[_Waiting]:
        """Everything when Postgres is away or sits on a group, else what has waited too long."""
        limit = self._loop.time() - self._spool_after_s
        is_stalled = bool(self._in_flight) and self._in_flight[0].since < limit
        if self._is_away or is_stalled:
            waiting: Iterable[_Waiting] = [*self._in_flight, *self._queue]
        else:
            waiting = takewhile(lambda item: item.is_owed or item.since < limit, self._queue)
        return [item for item in waiting if not item.is_durable and not item.is_owed]

    async def _spool(self, items: Iterable[_Waiting]) -> bool:
        """Append rows; true when they are durable."""
        assert self._journal is not None
        spool = self._journal.spool
        items = [item for item in items if not item.is_durable and not item.is_owed]
        rows = [spools.encode_row(item.record) for item in items]
        try:
            async with self._spool_lock:
                if spool.broken:
                    await self._in_thread(spool.probe)
                if spool.is_full:
                    return False
                await self._in_thread(lambda: spool.append(rows))
        except OSError as exc:
            log.error("calls cannot be spooled: %s", type(exc).__name__)
            return False
        self.stats.spooled += len(items)
        for item in items:
            self._settle(item)
        return True

    # What is owed to Postgres: our spool, and what dead processes left

    async def _drain_forever(self) -> None:
        while True:
            try:
                await self._drain()
                await self._adopt()
            except (OSError, NotRecordedError) as exc:
                log.warning("spooled calls not inserted yet: %s", type(exc).__name__)
            is_done = self._link is not None and self.spool_bytes == 0
            await asyncio.sleep(self._sweep_s if is_done else _OWED_AGAIN_S)

    async def _drain(self) -> None:
        """Insert our spooled rows in order; the file is emptied when nothing came after them."""
        assert self._journal is not None
        spool, offset = self._journal.spool, 0
        while self._link is not None and not spool.is_empty:
            data = await self._in_thread(lambda start=offset: spool.read(start, _DRAIN_BYTES))  # type: ignore[misc]
            rows = list(spools.read_rows(data))
            for start in range(0, len(rows), MAX_ROWS):
                await self._insert_owed([record for _, record in rows[start : start + MAX_ROWS]])
            self.stats.drained += len(rows)
            offset += rows[-1][0] if rows else len(data)
            async with self._spool_lock:
                if offset >= spool.size:
                    spool.clear()
                    return

    async def _adopt(self) -> None:
        """Insert what dead processes left, if Postgres is there to take it."""
        assert self._journal is not None
        if self._link is None or self._is_away:
            return
        orphans = self._journal.orphans()
        while (orphan := await self._in_thread(lambda: next(orphans, None))) is not None:
            try:
                await self._adopt_one(orphan)
            finally:
                orphan.release()

    async def _adopt_one(self, orphan: Orphan) -> None:
        rows = orphan.rows()
        count = 0
        while part := await self._in_thread(lambda: list(islice(rows, MAX_ROWS))):
            await self._insert_owed(part)
            count += len(part)
        await self._in_thread(orphan.finish)
        self.stats.adopted += count
        if count:
            log.warning("calls of a process that ended recorded", extra={"rows": count})

    async def _insert_owed(self, records: Sequence[CallRecord]) -> None:
        """Insert rows that are on disk. Returns when all are in the table or refused by it. Raises NotRecordedError."""
        now, moment = self._loop.time(), clock.now()
        items = [_Waiting(in_time(record, moment), self._loop.create_future(), now, is_owed=True) for record in records]
        self._queue.extend(items)
        self._wake.set()
        for item in items:
            await item.committed

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._threads, function)

    @property
    def spool_bytes(self) -> int:
        return self._journal.spool.size if self._journal is not None else 0

    @property
    def spool_age_s(self) -> float:
        """How long the oldest row has waited there."""
        return self._journal.spool.age_s if self._journal is not None else 0.0

    @property
    def is_away(self) -> bool:
        """The last attempt to connect or to commit failed."""
        return self._is_away

    def takes(self, *, is_risky: bool) -> bool:
        """Whether a call may be begun, as its row will find a place. Risky is what costs money or changes something."""
        if not self._is_away:
            return True
        if self._journal is None:
            return False
        spool = self._journal.spool
        return not (spool.is_full or (is_risky and spool.is_limited))

    # Outcomes

    async def _expire(self) -> None:
        """Give up on rows that waited too long, so that no caller hangs on a hung database.

        A row in flight is Postgres' to judge: it may yet commit, and then its caller must not have been told otherwise. The
        statement is cancelled after the deadline, so the verdict comes; a second deadline later nobody is there to give one.
        """
        while True:
            await asyncio.sleep(min(0.25, self._deadline_s / 4))
            limit = self._loop.time() - self._deadline_s
            if any(item.since < limit and not item.is_owed for item in islice(self._queue, 1)):
                overdue = [item for item in self._queue if item.since < limit and not item.is_owed]
                self._queue = deque(item for item in self._queue if item.is_owed or item.since >= limit)
                self._fail(overdue)
            hopeless = limit - self._deadline_s - _VERDICT_S
            if self._in_flight and self._in_flight[0].since < hopeless:
                self._fail([item for item in self._in_flight if item.since < hopeless and not item.is_owed])
                if self._link is not None:
                    self._link.lose()

    def _is_wanted(self, item: _Waiting) -> bool:
        """Not spooled meanwhile, nor given up. A cancelled future is a caller that left: its row is still owed."""
        return not item.is_durable and (not item.committed.done() or item.committed.cancelled())

    def _settle(self, item: _Waiting) -> None:
        if item.is_durable:
            return
        item.is_durable = True
        if item.slot != _NO_SLOT:
            self._free(item.slot)
        if not item.committed.done():
            item.committed.set_result(None)

    def _refuse(self, item: _Waiting, exc: RowsRefusedError) -> None:
        """The table will never take this row."""
        self.stats.refused += 1
        log.error("call row refused", extra={"call_id": str(item.record.call_id), "error": str(exc)})
        if self._journal is not None and (item.is_owed or item.is_durable):
            self._journal.keep_refused(item.record)
        if item.is_owed:
            self._settle(item)
        elif not item.is_durable:
            if item.slot != _NO_SLOT:
                self._free(item.slot)
            item.is_durable = True
            if not item.committed.done():
                item.committed.set_exception(NotRecordedError())

    def _fail(self, items: Iterable[_Waiting]) -> None:
        """Tell callers that nothing is recorded. Where an intent is on disk, the call becomes one whose end is unknown."""
        for item in list(items):
            if item.is_owed:
                item.committed.cancel()
                continue
            if not item.committed.done():
                item.committed.set_exception(NotRecordedError())
            if item.is_durable:
                continue
            item.is_durable = True
            if item.slot != _NO_SLOT and not self._closing:
                owed = _Waiting(unknown(item.record), self._loop.create_future(), item.since, item.slot, is_owed=True)
                self._queue.append(owed)
                self._wake.set()

    def _free(self, slot: int) -> None:
        if self._journal is not None and self._journal.slots is not None:
            self._journal.slots.free(slot)


def unknown(record: CallRecord) -> CallRecord:
    """The row of a call whose outcome was not recorded in time: it names the call and costs nothing."""
    zero = Decimal(0)
    error = f"calls.not_recorded: {record.error}"
    return replace(record, outcome=Outcome.UNKNOWN, billable=False, quantity=zero, price=zero, error=error)


def in_time(record: CallRecord, now: datetime) -> CallRecord:
    """The row of a call that waited on disk, as it may be billed.

    After `TOO_LATE` it is recorded and costs nothing: its month was paid long ago. A call from the future is one of a machine
    whose clock is ahead; it did happen, so it is billed at the moment at which it is seen.
    """
    if record.occurred_at > now + AHEAD:
        log.error("call from the future", extra={"call_id": str(record.call_id)})
        return replace(record, occurred_at=now)
    if record.billable and record.occurred_at < now - TOO_LATE:
        log.error("call too late to be billed", extra={"call_id": str(record.call_id)})
        zero = Decimal(0)
        error = f"calls.too_late: {record.error}".rstrip(": ")
        return replace(record, billable=False, quantity=zero, price=zero, error=error)
    return record


def _split(group: list[_Waiting]) -> list[list[_Waiting]]:
    """By schema first, then one by one: neighbours of a bad row are never lost with it."""
    by_schema: dict[str, list[_Waiting]] = {}
    for item in group:
        by_schema.setdefault(item.record.schema_name, []).append(item)
    if len(by_schema) > 1:
        return [by_schema[schema] for schema in sorted(by_schema)]
    return [[item] for item in group]
