"""One connection to Postgres that inserts groups of rows, at the cost of one wake-up per group.

It is opened by psycopg and then spoken to through libpq: statements of a group go out together in pipeline mode, where
everything up to the sync is one transaction, and one reader that stays registered takes the results. No high-level cursor, no
adapter per value.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import psycopg
from psycopg import pq, sql

from calls import locks, rows
from calls.record import CallRecord

_SETUP = (
    "SET synchronous_commit = on; SET statement_timeout = {}; SET jit = off; SET plan_cache_mode = force_generic_plan"
)
_PREPARED_MAX = 1000
_LOCK = b"calls_lock"
_PREPARE_LOCK = (
    f"PREPARE {_LOCK.decode()} (integer[]) AS "  # noqa: S608 - our own name and number
    f"SELECT pg_advisory_xact_lock_shared({locks.CLASS}, key) FROM unnest($1) key"
)
_CONNECT_S = 3
# Not the rows but the server: shutdown, resources, connection, deadline, a standby that cannot write.
_AVAILABILITY = frozenset({"08", "53", "57", "58", "40", "25"})


class LinkLostError(Exception):
    """No verdict: the group may or may not be committed, and is to be sent again."""


class RowsRefusedError(Exception):
    """The database refuses a row of the group, or its schema is gone; nothing of the group is committed."""


class Link:
    """Use `insert` one group at a time."""

    def __init__(self, conn: psycopg.AsyncConnection, on_lost: Callable[[], None]) -> None:
        self._conn, self._pg, self._on_lost = conn, conn.pgconn, on_lost
        self._loop = asyncio.get_running_loop()
        self._statements: OrderedDict[str, bytes] = OrderedDict()
        self._number = 0
        self._fresh: list[str] = []
        self._done: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._writing = False
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._fd = self._pg.socket
        self._loop.add_reader(self._fd, self._readable)

    @classmethod
    async def open(cls, url: str, *, role: str, statement_timeout_s: float, on_lost: Callable[[], None]) -> Link:
        """Raises psycopg.Error or OSError. `on_lost` is called once, when the connection breaks by itself."""
        conn = await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=_CONNECT_S, application_name="marketplace-calls"
        )
        try:
            timeout_ms = sql.Literal(int(statement_timeout_s * 1000))
            await conn.execute(sql.SQL(_SETUP).format(timeout_ms))
            await conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            await conn.execute(_PREPARE_LOCK.encode())
        except BaseException:
            await conn.close()
            raise
        return cls(conn, on_lost)

    async def insert(self, groups: Mapping[str, Sequence[CallRecord]]) -> None:
        """Commit rows by schema, all or none. Raises LinkLostError or RowsRefusedError.

        Sorted, so that two writers never wait for each other in opposite orders. The lock that keeps a period from being closed
        goes first, in a statement of its own: the rows' own statement sees what was committed before it got the lock.
        """
        if self._done is not None and not self._done.done():
            raise LinkLostError("a group is under way")
        self._error = None
        self._fresh.clear()
        self._done = self._loop.create_future()
        try:
            self._lock(groups)
            for schema in sorted(groups):
                self._pg.send_query_prepared(self._prepared(schema), rows.parameters(groups[schema]))
            self._pg.pipeline_sync()
            self._flush()
        except psycopg.Error as exc:
            raise LinkLostError(str(exc)) from exc
        await self._done

    def lose(self) -> None:
        """Give the connection up at once; whoever waits is told."""
        self._fail(LinkLostError("given up"))
        self._unwatch()
        with contextlib.suppress(Exception):
            self._pg.finish()

    async def close(self) -> None:
        self.lose()
        with contextlib.suppress(psycopg.Error, OSError):
            await self._conn.close()

    def _lock(self, schemas: Iterable[str]) -> None:
        """Of all organisations of a group, in the order of their numbers."""
        keys = sorted({locks.key_of(schema) for schema in schemas})
        self._pg.send_query_prepared(_LOCK, [("{" + ",".join(map(str, keys)) + "}").encode()])

    def _prepared(self, schema: str) -> bytes:
        name = self._statements.get(schema)
        if name is not None:
            self._statements.move_to_end(schema)
            return name
        if len(self._statements) >= _PREPARED_MAX:
            _, oldest = self._statements.popitem(last=False)
            self._pg.send_query_params(b"DEALLOCATE " + oldest, None)
        self._number += 1
        name = self._statements[schema] = b"calls_%d" % self._number
        self._fresh.append(schema)
        self._pg.send_prepare(name, rows.insert_statement(schema, numbered=True))
        return name

    def _flush(self) -> None:
        more = self._pg.flush()
        if more and not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._writable)
        elif not more and self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _writable(self) -> None:
        try:
            # The server may be sending while it reads: what it says is taken, or both would wait.
            self._pg.consume_input()
            self._flush()
        except psycopg.Error as exc:
            self._broken(exc)

    def _readable(self) -> None:
        try:
            self._pg.consume_input()
            while not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None:
                    if self._pg.is_busy() or self._pg.pipeline_status == pq.PipelineStatus.OFF:
                        return
                    # Between two results of a pipeline stands one None; two in a row mean that nothing is there.
                    result = self._pg.get_result()
                    if result is None:
                        return
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._settle()
                    return
                if result.status == pq.ExecStatus.FATAL_ERROR and self._error is None:
                    self._error = _error_of(result)
        except psycopg.Error as exc:
            self._broken(exc)

    def _settle(self) -> None:
        done, error = self._done, self._error
        if error is not None:
            # Statements that were prepared in a group that failed are not there.
            for schema in self._fresh:
                self._statements.pop(schema, None)
        if done is None or done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def _broken(self, exc: Exception) -> None:
        self._unwatch()
        self._fail(LinkLostError(type(exc).__name__))
        self._on_lost()

    def _fail(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    def _unwatch(self) -> None:
        with contextlib.suppress(Exception):
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)


def _error_of(result: pq.abc.PGresult) -> Exception:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
    kind = LinkLostError if state[:2] in _AVAILABILITY or not state else RowsRefusedError
    return kind(f"{state} {text}"[:200])
