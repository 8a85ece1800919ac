"""The call writer on a real Postgres: grouped, idempotent, isolated, and honest when it cannot commit."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from calls import spool
from calls.journal import Journal
from calls.record import CallRecord, Outcome
from calls.writer import CallWriter, NotRecordedError
from core import clock, ids
from tests.support.gateways import drop_schemas, make_call_tables, rows_of

URL = os.environ.get("DATABASE_URL", "")


@pytest.fixture(scope="module")
def schemas() -> Iterator[list[str]]:
    names = [f"t_wr{uuid4().hex[:20]}" for _ in range(3)]
    make_call_tables(URL, names)
    yield names
    drop_schemas(URL, names)


def record(schema: str, **changes: Any) -> CallRecord:
    return CallRecord(ids.uuid7(), schema, clock.now(), **changes)


def with_writer(act: Callable[[CallWriter], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        writer = CallWriter(options.pop("url", URL), **options)
        await writer.start()
        try:
            return await act(writer)
        finally:
            await writer.stop()

    return asyncio.run(run())


def stored(schema: str, call_id: UUID) -> dict[str, Any]:
    (row,) = [row for row in rows_of(URL, schema) if row["call_id"] == call_id]
    return row


def test_a_row_is_there_when_the_future_is_done(schemas: list[str]) -> None:
    full = record(
        schemas[0],
        api_key_id=uuid4(),
        user_id=uuid4(),
        agent="bot",
        server_id=uuid4(),
        server_name="payments",
        tool='quo"te, {brace} \\ back, ü 🙂',
        allowed=True,
        reason="allowed",
        outcome=Outcome.OK,
        http_status=200,
        latency_ms=1.25,
        request_bytes=2**40,
        billable=True,
        quantity=Decimal(1),
        quoted_price=Decimal("0.0000000001"),
        price=Decimal("12345.678"),
        currency="EUR",
    )

    async def act(writer: CallWriter) -> dict[str, Any]:
        await writer.write(full)
        return stored(schemas[0], full.call_id)

    row = with_writer(act)
    for name in (
        "api_key_id",
        "user_id",
        "agent",
        "tool",
        "allowed",
        "outcome",
        "latency_ms",
        "request_bytes",
        "price",
    ):
        assert row[name] == getattr(full, name), name
    assert row["quoted_price"] == Decimal("0.0000000001")
    assert row["occurred_at"] == full.occurred_at
    assert row["grant_id"] is None


def test_nul_and_endless_text_are_cut_and_cost_no_neighbour(schemas: list[str]) -> None:
    odd = record(schemas[0], tool="a\x00b", error="x" * 100_000, agent="\ud800")
    plain = record(schemas[0], tool="plain")

    async def act(writer: CallWriter) -> None:
        await asyncio.gather(writer.write(odd), writer.write(plain))

    with_writer(act)
    assert stored(schemas[0], odd.call_id)["tool"] == "ab"
    assert len(stored(schemas[0], odd.call_id)["error"]) == 512
    assert stored(schemas[0], plain.call_id)["tool"] == "plain"


def test_one_id_is_one_row_however_often_it_is_written(schemas: list[str]) -> None:
    first = record(schemas[0], tool="first")
    again = CallRecord(first.call_id, schemas[0], first.occurred_at, tool="again")

    async def act(writer: CallWriter) -> None:
        await asyncio.gather(writer.write(first), writer.write(again))
        await writer.write(again)

    with_writer(act)
    assert stored(schemas[0], first.call_id)["tool"] == "first"


def test_many_calls_of_many_tenants_are_each_stored_once(schemas: list[str]) -> None:
    records = [record(schemas[number % 3], tool="many") for number in range(900)]

    async def act(writer: CallWriter) -> int:
        await asyncio.gather(*(writer.write(item) for item in records))
        return writer.stats.commits

    commits = with_writer(act)
    assert commits < 100
    for schema in schemas:
        expected = sorted(item.call_id for item in records if item.schema_name == schema)
        assert [row["call_id"] for row in rows_of(URL, schema) if row["tool"] == "many"] == expected


def test_a_deleted_tenant_fails_alone(schemas: list[str]) -> None:
    good = [record(schemas[number % 3]) for number in range(6)]
    lost = record("t_no_such_schema")

    async def act(writer: CallWriter) -> list[Any]:
        return await asyncio.gather(*(writer.write(item) for item in [*good, lost]), return_exceptions=True)

    *results, failure = with_writer(act)
    assert results == [None] * 6
    assert isinstance(failure, NotRecordedError)
    for item in good:
        assert stored(item.schema_name, item.call_id)


def test_the_writer_acts_in_a_role_that_can_only_add(schemas: list[str]) -> None:
    with psycopg.connect(URL, autocommit=True) as conn:
        conn.execute("SET ROLE marketplace_meter")
        for statement in ("DELETE FROM", "TRUNCATE"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f'{statement} "{schemas[0]}".calls_call')
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f'UPDATE "{schemas[0]}".calls_call SET price = 0')


def test_a_lost_connection_is_opened_again_and_the_row_is_kept(schemas: list[str]) -> None:
    item = record(schemas[0])

    async def act(writer: CallWriter) -> None:
        await writer.write(record(schemas[0]))
        with psycopg.connect(URL, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'marketplace-calls' AND datname = current_database()"
            )
        await writer.write(item)

    with_writer(act)
    assert stored(schemas[0], item.call_id)


def test_without_a_database_the_caller_is_told_within_the_deadline(schemas: list[str]) -> None:
    async def act(writer: CallWriter) -> None:
        with pytest.raises(NotRecordedError) as caught:
            async with asyncio.timeout(20):
                await writer.write(record(schemas[0]))
        assert caught.value.status == 503
        assert caught.value.retryable

    with_writer(act, url="postgresql://nobody@127.0.0.1:9/none", deadline_s=0.3)


def test_a_row_that_was_given_up_never_appears_later(schemas: list[str]) -> None:
    """Its caller was told that nothing was recorded, so nothing may be billed."""
    given_up = record(schemas[1])

    async def act(writer: CallWriter) -> None:
        with psycopg.connect(URL) as conn:
            conn.execute(f'LOCK TABLE "{schemas[1]}".calls_call IN EXCLUSIVE MODE')
            with pytest.raises(NotRecordedError):
                async with asyncio.timeout(20):
                    await writer.write(given_up)
        # The lock is gone: a row behind the given-up one is committed, and whatever was still under way had its turn.
        async with asyncio.timeout(20):
            while True:
                try:
                    return await writer.write(record(schemas[1]))
                except NotRecordedError:
                    await asyncio.sleep(0.1)

    with_writer(act, deadline_s=0.5)
    assert given_up.call_id not in {row["call_id"] for row in rows_of(URL, schemas[1])}


def test_a_row_that_a_lock_holds_up_is_given_up_and_the_next_one_is_not(schemas: list[str]) -> None:
    async def act(writer: CallWriter) -> None:
        with psycopg.connect(URL) as conn:
            conn.execute(f'LOCK TABLE "{schemas[1]}".calls_call IN EXCLUSIVE MODE')
            with pytest.raises(NotRecordedError):
                async with asyncio.timeout(20):
                    await writer.write(record(schemas[1]))
        async with asyncio.timeout(20):
            while True:
                try:
                    return await writer.write(record(schemas[1]))
                except NotRecordedError:
                    await asyncio.sleep(0.1)

    with_writer(act, deadline_s=0.5)


def test_a_caller_that_leaves_still_gets_its_row(schemas: list[str]) -> None:
    item = record(schemas[2])

    async def act(writer: CallWriter) -> None:
        writer.write(item).cancel()
        await writer.write(record(schemas[2]))

    with_writer(act)
    assert stored(schemas[2], item.call_id)


def test_what_waits_is_committed_before_the_writer_stops(schemas: list[str]) -> None:
    items = [record(schemas[0]) for _ in range(20)]

    async def act(writer: CallWriter) -> list[asyncio.Future[None]]:
        return [writer.write(item) for item in items]

    futures = with_writer(act)
    assert all(future.done() and future.exception() is None for future in futures)
    for item in items:
        assert stored(schemas[0], item.call_id)


def test_what_costs_or_acts_is_closed_at_the_limit_of_the_spool_while_free_reads_go_on(
    schemas: list[str], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "record", limit_bytes=1000)
    journal.open()

    async def act(writer: CallWriter) -> list[tuple[bool, bool]]:
        seen = []
        for _ in range(3):
            with contextlib.suppress(NotRecordedError):
                await writer.write(record(schemas[0]))
            seen.append((writer.takes(is_risky=True), writer.takes(is_risky=False)))
        return seen

    nowhere = {"url": "postgresql://nobody@127.0.0.1:9/none", "deadline_s": 0.5}
    seen = with_writer(act, journal=journal, spool_after_s=0.05, **nowhere)
    size = journal.spool.size
    journal.close()
    assert seen[0] == (size // len(journal_rows(tmp_path)) < 1000, True)
    assert seen[-1][0] is False


def journal_rows(tmp_path: Path) -> list[CallRecord]:
    (file,) = (tmp_path / "record").glob("*.spool")
    return [row for _, row in spool.read_rows(file.read_bytes())]
