"""The one writer of `Call` rows: group commit, idempotent, one per process.

Callers hand over a record and wait until it is committed. The writer takes everything that waits (no linger), inserts it in one
transaction with tenants in sorted order, and wakes the callers after the commit. While a commit is under way the next group
gathers by itself, so the group grows with the load. Rows are inserted by a role that can do nothing else, into
schema-qualified tables; the connection has no search path to leak. Fails closed: a row that is not committed in time
raises NotRecordedError, and the caller must not answer. While Postgres can be reached such a row never appears later; only when
the connection breaks during a commit can nobody tell, and the row that may be there names the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import psycopg
from psycopg import sql

from calls import rows
from calls.record import CallRecord
from core.errors import UnavailableError

log = logging.getLogger(__name__)

ROLE = "marketplace_meter"
MAX_ROWS = 500
MAX_WAITING = 20_000
DEADLINE_S = 5.0
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_SETUP = "SET synchronous_commit = on; SET statement_timeout = {}; SET jit = off"
# What a cancelled statement takes to come back as an error.
_VERDICT_S = 1.0
_schema_of = attrgetter("schema_name")


class NotRecordedError(UnavailableError):
    code = "calls.not_recorded"
    default_message = "The call could not be recorded, so it is not answered."


@dataclass(slots=True, eq=False)
class _Waiting:
    record: CallRecord
    committed: asyncio.Future[None]
    since: float


@dataclass(slots=True)
class WriterStats:
    """Counters for readiness and tests."""

    rows: int = 0
    commits: int = 0
    failures: int = 0
    connected: bool = field(default=False)


class CallWriter:
    """Start it in the loop that uses it; `write` may be called as often as there are calls in flight."""

    def __init__(self, database_url: str, *, role: str = ROLE, deadline_s: float = DEADLINE_S) -> None:
        self._url, self._role, self._deadline_s = database_url, role, deadline_s
        self._queue: deque[_Waiting] = deque()
        self._in_flight: list[_Waiting] = []
        self._wake: asyncio.Event = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._conn: psycopg.AsyncConnection | None = None
        self._statements: dict[str, bytes] = {}
        self._closing = False
        self.stats = WriterStats()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._expire())]

    async def stop(self) -> None:
        """Commit what waits, within the deadline, then close."""
        self._closing = True
        self._wake.set()
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._tasks[0]), self._deadline_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail([*self._in_flight, *self._queue])
        await self._disconnect()

    def write(self, record: CallRecord) -> asyncio.Future[None]:
        """A future that is done when the row is committed, or carries NotRecordedError."""
        committed = self._loop.create_future()
        if self._closing or len(self._queue) >= MAX_WAITING:
            committed.set_exception(NotRecordedError())
            return committed
        self._queue.append(_Waiting(record, committed, self._loop.time()))
        self._wake.set()
        return committed

    async def _run(self) -> None:
        # Connected before the first row, so that readiness means something; a failure here is met again with the first row.
        with contextlib.suppress(psycopg.Error, OSError):
            await self._connect()
        attempt = 0
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            take = min(len(self._queue), MAX_ROWS)
            self._in_flight = group = [self._queue.popleft() for _ in range(take)]
            try:
                await self._commit(group)
                attempt = 0
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as exc:
                # The connection, not the rows: the same group again, unless its callers have given up.
                self.stats.failures += 1
                log.warning("call writer lost the database: %s", type(exc).__name__)
                await self._disconnect()
                # A cancelled future is a caller that left: its row is still owed.
                again = [item for item in group if not item.committed.done() or item.committed.cancelled()]
                self._queue.extendleft(reversed(again))
                self._in_flight = []
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                attempt += 1
            finally:
                self._in_flight = []

    async def _commit(self, group: list[_Waiting]) -> None:
        """Commit a group; a row or schema that the database refuses fails alone."""
        try:
            await self._insert([item.record for item in group])
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except psycopg.Error as exc:
            if len(group) == 1:
                log.error(
                    "call row refused", extra={"call_id": str(group[0].record.call_id), "error": type(exc).__name__}
                )
                self._fail(group)
                return
            for part in _split(group):
                await self._commit(part)
            return
        self.stats.commits += 1
        self.stats.rows += len(group)
        for item in group:
            if not item.committed.done():
                item.committed.set_result(None)

    async def _insert(self, records: Sequence[CallRecord]) -> None:
        conn = self._conn or await self._connect()
        first = records[0].schema_name
        if all(record.schema_name == first for record in records):
            # One statement is one transaction: a single round trip.
            await conn.execute(self._statement(first), rows.encode(records), prepare=True)
            return
        by_schema: dict[str, list[CallRecord]] = {}
        for record in records:
            by_schema.setdefault(record.schema_name, []).append(record)
        async with conn.pipeline(), conn.transaction():
            # Sorted, so that two writers never wait for each other in opposite orders.
            for schema in sorted(by_schema):
                await conn.execute(self._statement(schema), rows.encode(by_schema[schema]), prepare=True)

    async def _connect(self) -> psycopg.AsyncConnection:
        conn = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=3, application_name="marketplace-calls"
        )
        try:
            timeout_ms = sql.Literal(int(self._deadline_s * 1000))
            await conn.execute(sql.SQL(_SETUP).format(timeout_ms))
            await conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._role)))
        except psycopg.Error:
            await conn.close()
            raise
        conn.prepared_max = 1000
        self._conn, self.stats.connected = conn, True
        return conn

    async def _disconnect(self) -> None:
        conn, self._conn, self.stats.connected = self._conn, None, False
        if conn is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await conn.close()

    async def _expire(self) -> None:
        """Give up on rows that waited too long, so that no caller hangs on a hung database.

        A row in flight is Postgres' to judge: it may yet commit, and then its caller must not have been told otherwise. The
        statement is cancelled after the deadline, so the verdict comes; a second deadline later nobody is there to give one.
        """
        while True:
            await asyncio.sleep(min(0.25, self._deadline_s / 4))
            limit = self._loop.time() - self._deadline_s
            while self._queue and self._queue[0].since < limit:
                self._fail([self._queue.popleft()])
            hopeless = limit - self._deadline_s - _VERDICT_S
            self._fail([item for item in self._in_flight if item.since < hopeless])

    def _fail(self, items: Iterable[_Waiting]) -> None:
        for item in items:
            if not item.committed.done():
                item.committed.set_exception(NotRecordedError())

    def _statement(self, schema: str) -> bytes:
        statement = self._statements.get(schema)
        if statement is None:
            statement = self._statements[schema] = rows.insert_statement(schema)
        return statement


def _split(group: list[_Waiting]) -> list[list[_Waiting]]:
    """By schema first, then one by one: neighbours of a bad row are never lost with it."""
    by_schema: dict[str, list[_Waiting]] = {}
    for item in group:
        by_schema.setdefault(item.record.schema_name, []).append(item)
    if len(by_schema) > 1:
        return [by_schema[schema] for schema in sorted(by_schema)]
    return [[item] for item in group]
