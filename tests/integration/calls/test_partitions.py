from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.utils import ProgrammingError
from psycopg import sql

from calls import partitions, rows, tasks
from calls.partitions import Month
from calls.record import CallRecord, Outcome
from calls.sql import METER_ROLE
from core import clock
from core.ids import lowest_at, uuid7
from tenants.context import tenant_scope
from tenants.services import schemas

REFUSED = "permission denied"


def make_record(schema: str, *, moment: datetime | None = None, **changes) -> CallRecord:
    moment = moment or clock.now()
    # The smallest real id of the moment: version and variant bits set, the rest as given by the clock.
    call_id = UUID(int=lowest_at(moment).int | uuid7().int & ((1 << 80) - 1))
    return replace(CallRecord(call_id, schema, moment, outcome=Outcome.OK, allowed=True, reason="allowed"), **changes)


def insert(*records: CallRecord) -> None:
    with connection.cursor() as cursor:
        cursor.execute(rows.insert_statement(records[0].schema_name), rows.encode(records))


def home_of(schema: str, call_id: UUID) -> str:
    """The table that holds a row."""
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT tableoid::regclass::text FROM {} WHERE call_id = %s").format(
                sql.Identifier(schema, "calls_call")
            ),
            [call_id],
        )
        return cursor.fetchone()[0].rpartition(".")[2]


@pytest.fixture
def schema(cast) -> str:
    return cast.acme.schema_name


@pytest.fixture
def as_meter(schema):
    """The connection acts as the role that the writer of calls takes."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(METER_ROLE)))
        yield cursor
        transaction.set_rollback(True)


class TestMonths:
    def test_a_row_lands_in_the_month_in_which_its_id_was_minted(self, schema):
        for month in partitions.wanted():
            for moment in (
                month.starts_at,
                month.starts_at + timedelta(days=14),
                month.next().starts_at - timedelta(milliseconds=1),
            ):
                record = make_record(schema, moment=moment)
                insert(record)
                assert home_of(schema, record.call_id) == month.table

    def test_this_month_and_the_months_ahead_exist_and_the_default_is_empty(self, schema):
        assert partitions.missing(schema) == []
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, "calls_call_default")))
            assert cursor.fetchone()[0] == 0

    def test_a_row_of_a_month_without_a_partition_is_kept_and_can_be_seen_as_an_alarm(self, schema):
        record = make_record(schema, moment=datetime(2031, 5, 5, tzinfo=UTC))
        insert(record)

        assert home_of(schema, record.call_id) == "calls_call_default"

    def test_december_is_followed_by_january(self):
        assert partitions.wanted(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), ahead=1) == [
            Month(2026, 12),
            Month(2027, 1),
        ]

    def test_months_touch_and_do_not_overlap(self):
        months = partitions.wanted(datetime(2026, 11, 30, tzinfo=UTC), ahead=30)

        assert all(one.bounds[1] == other.bounds[0] for one, other in pairwise(months))

    def test_making_them_again_makes_nothing(self, schema):
        later = datetime(2030, 1, 15, tzinfo=UTC)

        assert [month.table for month in partitions.ensure(schema, later)] == [
            "calls_call_2030_01", "calls_call_2030_02", "calls_call_2030_03",
        ]  # fmt: skip
        assert partitions.ensure(schema, later) == []

    def test_the_job_makes_them_for_every_organisation(self, cast):
        with clock.frozen(datetime(2030, 6, 15, tzinfo=UTC)):
            tasks.make_partitions.run()
            assert partitions.missing(cast.globex.schema_name) == []

    def test_two_that_make_them_at_the_same_time_both_succeed(self, durable_db):
        name = schemas.new_name()
        schemas.create(name)
        failures: list[BaseException] = []

        def make() -> None:
            try:
                partitions.ensure(name, datetime(2032, 1, 15, tzinfo=UTC))
            except BaseException as error:  # noqa: BLE001 - reported by the test
                failures.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []
        assert partitions.missing(name, datetime(2032, 1, 15, tzinfo=UTC)) == []
        schemas.drop(name)


class TestAppendOnly:
    @pytest.mark.parametrize("table", ["calls_call", "{month}", "calls_call_default"])
    @pytest.mark.parametrize("statement", ["UPDATE {} SET price = 0", "DELETE FROM {}", "TRUNCATE {}"])
    def test_calls_are_never_changed_or_removed_by_any_door_not_even_by_the_owner(self, schema, table, statement):
        insert(make_record(schema), make_record(schema, moment=datetime(2031, 5, 5, tzinfo=UTC)))
        target = sql.Identifier(schema, table.format(month=Month.of(clock.now()).table))

        with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
            connection.cursor().execute(sql.SQL(statement).format(target))

    def test_a_row_that_is_written_twice_is_there_once_as_first_written(self, schema):
        record = make_record(schema, tool="first")
        insert(record)
        insert(replace(record, tool="second"))

        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("SELECT tool FROM {} WHERE call_id = %s").format(sql.Identifier(schema, "calls_call")),
                [record.call_id],
            )
            assert cursor.fetchall() == [("first",)]

    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"allowed": False, "billable": True}, "call_denied_is_free"),
            ({"outcome": Outcome.UNKNOWN, "billable": True}, "call_only_ok_is_billed"),
            ({"outcome": Outcome.TOOL_ERROR, "billable": True}, "call_only_ok_is_billed"),
            ({"price": 1, "billable": False}, "call_price_only_when_billable"),
            ({"price": -1, "billable": True}, "call_price_not_negative"),
        ],
    )
    def test_the_table_itself_refuses_money_that_is_not_owed(self, schema, changes, rule):
        with pytest.raises(DatabaseError, match=rule), transaction.atomic():
            insert(make_record(schema, **changes))


class TestMeterRole:
    def test_it_may_insert_calls_and_read_them(self, schema, as_meter):
        record = make_record(schema)
        insert(record)

        assert home_of(schema, record.call_id) == Month.of(clock.now()).table

    @pytest.mark.parametrize("statement", ["UPDATE {} SET price = 0", "DELETE FROM {}", "TRUNCATE {}"])
    def test_it_may_not_change_them(self, schema, as_meter, statement):
        with pytest.raises(ProgrammingError, match=REFUSED):
            as_meter.execute(sql.SQL(statement).format(sql.Identifier(schema, "calls_call")))

    @pytest.mark.parametrize(
        "table", ["access_grant", "audit_auditevent", "notifications_notification", "django_migrations"]
    )
    def test_it_may_not_read_anything_else_of_the_organisation(self, schema, as_meter, table):
        with pytest.raises(ProgrammingError, match=REFUSED):
            as_meter.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table)))

    @pytest.mark.parametrize("table", ["tenants_user", "tenants_apikey", "tenants_tenant", "catalog_server"])
    def test_it_may_not_read_anything_of_the_platform(self, as_meter, table):
        with pytest.raises(ProgrammingError, match=REFUSED):
            as_meter.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("public", table)))

    def test_it_may_not_make_tables(self, schema, as_meter):
        with pytest.raises(ProgrammingError, match=REFUSED):
            as_meter.execute(sql.SQL("CREATE TABLE {} (x int)").format(sql.Identifier(schema, "x")))

    def test_nobody_can_log_in_as_it(self, db):
        with connection.cursor() as cursor:
            cursor.execute("SELECT rolcanlogin, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = %s", [METER_ROLE])
            assert cursor.fetchone() == (False, False, False)


class TestClone:
    def test_an_organisation_has_its_tables_quickly(self, db, capsys):
        name, started = schemas.new_name(), time.perf_counter()
        schemas.create(name)
        partitions.ensure(name)
        with capsys.disabled():
            print(f"\nschema of an organisation: {(time.perf_counter() - started) * 1000:.0f} ms")

        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", [name])
            assert cursor.fetchone()[0] >= 8

    def test_a_row_written_in_one_organisation_does_not_show_in_another(self, cast):
        from calls.models import Call

        record = make_record(cast.acme.schema_name)
        insert(record)

        with tenant_scope(cast.acme):
            assert Call.objects.filter(pk=record.call_id).exists()
        with tenant_scope(cast.globex):
            assert not Call.objects.filter(pk=record.call_id).exists()
