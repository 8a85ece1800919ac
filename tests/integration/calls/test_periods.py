"""Periods: opened ahead, closed in order and for good, and no call joins one after its close however many write."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django_tenants.utils import schema_context

from calls.models import Call, Period, PeriodState
from calls.record import CallRecord, Outcome
from calls.services import periods
from calls.writer import AHEAD, TOO_LATE, CallWriter, in_time
from core import clock, ids
from core.errors import ConflictError
from tenants.context import tenant_scope
from tests.support.calls import add_call
from tests.support.gateways import drop_schemas, make_call_tables

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DECEMBER, JANUARY = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
GRACE = timedelta(hours=6)


@pytest.fixture
def acme(cast: Any) -> Iterator[Any]:
    with tenant_scope(cast.acme):
        periods.open_ahead()
        yield cast.acme


def period_of(call_id: Any) -> int | None:
    return Call.objects.values_list("period_id", flat=True).get(pk=call_id)


def close_first(moment: datetime) -> Period:
    with clock.frozen(moment):
        periods.start_closing()
        first = Period.objects.filter(state=PeriodState.CLOSING).order_by("id")[0]
        return periods.close(first.pk)


class TestOpening:
    def test_an_organisation_has_this_month_and_the_next_from_its_first_moment_on(self, acme: Any) -> None:
        this, following = Period.objects.order_by("id")[:2]
        assert this.starts_at <= clock.now() < this.ends_at == following.starts_at
        assert {this.state, following.state} == {PeriodState.OPEN}

    def test_months_that_nobody_opened_are_made_up_for_and_none_is_made_twice(self, acme: Any) -> None:
        newest = Period.objects.latest("id")
        with clock.frozen(newest.ends_at + timedelta(days=70)):
            made = periods.open_ahead()
            assert periods.open_ahead() == []
        assert len(made) == 4
        starts = list(Period.objects.order_by("id").values_list("starts_at", "ends_at"))
        assert all(one[1] == other[0] for one, other in pairwise(starts))


class TestStamping:
    def test_a_call_belongs_to_the_month_in_which_it_began_to_the_microsecond(self, acme: Any) -> None:
        this, following = Period.objects.order_by("id")[:2]
        edge = this.ends_at
        for at, period in (
            (this.starts_at, this),
            (edge - timedelta(microseconds=1), this),
            (edge, following),
            (following.ends_at - timedelta(microseconds=1), following),
        ):
            assert period_of(add_call(acme, at=at)) == period.pk

    def test_a_call_of_a_month_that_is_closing_still_joins_it(self, acme: Any) -> None:
        this = Period.objects.earliest("id")
        with clock.frozen(this.ends_at):
            periods.start_closing()
        assert period_of(add_call(acme, at=this.ends_at - timedelta(seconds=1))) == this.pk

    def test_a_late_call_joins_the_oldest_period_that_is_not_closed(self, acme: Any) -> None:
        this, following = Period.objects.order_by("id")[:2]
        close_first(this.ends_at + GRACE)
        call = add_call(acme, at=this.starts_at + timedelta(days=1))
        assert period_of(call) == following.pk

    def test_a_call_of_a_month_that_has_no_period_is_kept_in_one(self, acme: Any) -> None:
        this = Period.objects.earliest("id")
        assert period_of(add_call(acme, at=clock.now() + timedelta(days=400))) == this.pk


class TestClosing:
    def test_a_month_is_closed_after_its_end_and_the_grace_and_not_before(self, acme: Any) -> None:
        this = Period.objects.earliest("id")
        with clock.frozen(this.ends_at - timedelta(microseconds=1)):
            assert periods.start_closing() == []
        with clock.frozen(this.ends_at):
            assert [period.pk for period in periods.start_closing()] == [this.pk]
        with clock.frozen(this.ends_at + GRACE - timedelta(microseconds=1)):
            assert periods.due(GRACE) == []
        with clock.frozen(this.ends_at + GRACE):
            assert [period.pk for period in periods.due(GRACE)] == [this.pk]

    def test_closing_twice_changes_nothing(self, acme: Any) -> None:
        this = Period.objects.earliest("id")
        closed = close_first(this.ends_at + GRACE)
        with clock.frozen(this.ends_at + timedelta(days=2)):
            assert periods.close(this.pk).closed_at == closed.closed_at

    def test_an_open_month_cannot_be_closed(self, acme: Any) -> None:
        with pytest.raises(ConflictError):
            periods.close(Period.objects.earliest("id").pk)

    def test_months_that_ended_while_nothing_ran_are_closed_in_order(self, acme: Any) -> None:
        first, second = Period.objects.order_by("id")[:2]
        with clock.frozen(second.ends_at + timedelta(days=3)):
            periods.start_closing()
            assert [period.pk for period in periods.due(GRACE)] == [first.pk, second.pk]
            with pytest.raises(DatabaseError, match="after those before it"), transaction.atomic():
                periods.close(second.pk)
            periods.close(first.pk)
            assert periods.close(second.pk).state == PeriodState.CLOSED
        assert Period.objects.filter(state=PeriodState.OPEN).exists()


class TestGuards:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE calls_period SET state = 'closed', closed_at = now()",
            "UPDATE calls_period SET state = 'invoiced'",
            "UPDATE calls_period SET ends_at = ends_at + interval '1 day'",
            "UPDATE calls_period SET id = id + 1",
            "DELETE FROM calls_period",
            "TRUNCATE calls_period",
            "INSERT INTO calls_period VALUES (1, '2020-01-01', '2020-02-01', 'closed', now())",
            "INSERT INTO calls_period SELECT 1, starts_at + interval '1 day', ends_at + interval '1 day' FROM calls_period",
        ],
    )
    def test_the_table_refuses_what_is_not_a_step_forward(self, acme: Any, statement: str) -> None:
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

    def test_a_closed_period_never_opens_again(self, acme: Any) -> None:
        close_first(Period.objects.earliest("id").ends_at + GRACE)
        with pytest.raises(DatabaseError), transaction.atomic():
            Period.objects.filter(state=PeriodState.CLOSED).update(state=PeriodState.OPEN, closed_at=None)

    def test_the_last_open_period_cannot_be_closed(self, acme: Any) -> None:
        last = Period.objects.latest("id")
        Period.objects.update(state=PeriodState.CLOSING)
        for period in Period.objects.exclude(pk=last.pk).order_by("id"):
            with pytest.raises(DatabaseError, match="while a later one is open"), transaction.atomic():
                periods.close(period.pk)


class TestTime:
    def record(self, at: datetime) -> CallRecord:
        one = Decimal(1)
        return CallRecord(
            ids.uuid7(), "t_x", at, allowed=True, outcome=Outcome.OK, billable=True, quantity=one, price=one
        )

    def test_a_row_that_waited_for_a_month_is_recorded_and_costs_nothing(self) -> None:
        late = in_time(self.record(NOW - TOO_LATE - timedelta(microseconds=1)), NOW)
        assert (late.billable, late.quantity, late.price, late.error) == (False, 0, 0, "calls.too_late")
        just = self.record(NOW - TOO_LATE)
        assert in_time(just, NOW) is just

    def test_a_row_from_the_future_is_billed_at_the_moment_at_which_it_is_seen(self) -> None:
        ahead = self.record(NOW + AHEAD + timedelta(microseconds=1))
        assert in_time(ahead, NOW) == replace(ahead, occurred_at=NOW)
        just = self.record(NOW + AHEAD)
        assert in_time(just, NOW) is just


def write_until(url: str, schemas: list[str], stop: threading.Event, made: list[CallRecord]) -> None:
    """Calls of this month and the one before, through a writer of one's own, into every schema at once."""

    async def run() -> None:
        writer = CallWriter(url)
        await writer.start()
        number = 0
        while not stop.is_set():
            group = []
            for schema in schemas * 3:
                number += 1
                at = clock.now() - timedelta(days=31 * (number % 3))
                group.append(CallRecord(ids.uuid7(), schema, at, allowed=True, outcome=Outcome.OK, tool=str(number)))
            await asyncio.gather(*(writer.write(record) for record in group))
            made.extend(group)
        await writer.stop()

    asyncio.run(run())


@pytest.fixture
def url(durable_db: Any) -> str:
    """Of the database that Django's connection is to."""
    values = connection.settings_dict
    return f"postgresql://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"


@pytest.fixture
def two_schemas(url: str) -> Iterator[list[str]]:
    names = [f"t_pe{uuid4().hex[:20]}" for _ in range(2)]
    make_call_tables(url, names)
    yield names
    drop_schemas(url, names)


def months_before(conn: psycopg.Connection, schema: str, count: int) -> list[int]:
    """Make so many periods of a day before this month, open like it; a close needs a later open one."""
    first = conn.execute(f'SELECT min(starts_at) FROM "{schema}".calls_period').fetchone()
    assert first is not None
    made = []
    for number in range(count):
        start = first[0] - timedelta(days=count - number)
        conn.execute(
            f'INSERT INTO "{schema}".calls_period (id, starts_at, ends_at) VALUES (%s, %s, %s)',
            [number + 1, start, start + timedelta(days=1)],
        )
        made.append(number + 1)
    return made


def in_threads(count: int, work: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def close_in(schema: str, period: int) -> int:
    """Close a period as the job does; how many calls it held when that was done."""
    with schema_context(schema):
        Period.objects.filter(pk=period).update(state=PeriodState.CLOSING)
        assert periods.close(period).state == PeriodState.CLOSED
        return Call.objects.filter(period_id=period).count()


def test_no_call_joins_a_period_after_its_close_and_none_is_lost_while_many_write(
    url: str, two_schemas: list[str]
) -> None:
    """What a closed period holds is read right after the close's commit, and again when everybody has stopped."""
    stop, made = threading.Event(), []  # type: ignore[var-annotated]
    sealed: dict[tuple[str, int], int] = {}
    with psycopg.connect(url, autocommit=True) as conn:
        closes = {schema: months_before(conn, schema, 12) for schema in two_schemas}
        writers = in_threads(3, lambda: write_until(url, two_schemas, stop, made))
        try:
            for number in range(12):
                for schema in two_schemas:
                    time.sleep(0.03)
                    sealed[schema, closes[schema][number]] = close_in(schema, closes[schema][number])
        finally:
            stop.set()
            for thread in writers:
                thread.join()
        for (schema, period), count in sealed.items():
            query = f'SELECT count(*) FROM "{schema}".calls_call WHERE period_id = %s'
            assert conn.execute(query, [period]).fetchone() == (count,)
        stored = {
            row[0]
            for schema in two_schemas
            for row in conn.execute(f'SELECT call_id FROM "{schema}".calls_call').fetchall()
        }
        assert stored == {record.call_id for record in made}
        for schema in two_schemas:
            query = f'SELECT count(*) FROM "{schema}".calls_call WHERE period_id IS NULL'
            assert conn.execute(query).fetchone() == (0,)
    assert any(sealed.values()), "late calls joined the oldest period while it was open"
