"""Records as array literals: what the database reads is what the record said."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from calls import rows
from calls.record import ALIKE, Alike, CallRecord
from core import clock

NAMES = [name for name, _ in rows.ORDERED]


def encoded(*records: CallRecord) -> dict[str, str]:
    return dict(zip(NAMES, rows.encode(records), strict=True))


def record(**changes: object) -> CallRecord:
    return CallRecord(UUID(int=7), "t_x", clock.now(), **changes)  # type: ignore[arg-type]


def test_every_column_has_one_value_per_record() -> None:
    columns = encoded(record(), record(), record())
    assert set(columns) == set(NAMES)
    assert columns["call_id"] == "{" + ",".join([UUID(int=7).hex] * 3) + "}"


def test_what_differs_stays_in_order() -> None:
    assert encoded(record(tool="a"), record(tool="b"), record(tool="a"))["tool"] == '{"a","b","a"}'
    assert encoded(record(allowed=True), record())["allowed"] == "{t,f}"
    assert encoded(record(http_status=200), record(http_status=503))["http_status"] == "{200,503}"


def test_rows_that_are_alike_are_written_as_they_would_be_alone() -> None:
    alike = Alike()
    for count in (1, 3, 2, 3, 100):
        kept = [record(tool="a", allowed=True, alike=alike, request_id=str(number)) for number in range(count)]
        plain = [record(tool="a", allowed=True, request_id=str(number)) for number in range(count)]
        assert encoded(*kept) == {**encoded(*plain), "occurred_at": encoded(*kept)["occurred_at"]}


def test_rows_that_are_not_alike_keep_what_is_their_own() -> None:
    one, two = Alike(), Alike()
    encoded(record(tool="a", alike=one))
    assert encoded(record(tool="a", alike=one), record(tool="b", alike=two))["tool"] == '{"a","b"}'
    assert encoded(record(tool="a", alike=one), record(tool="c"))["tool"] == '{"a","c"}'
    assert encoded(record(tool="c"), record(tool="a", alike=one))["tool"] == '{"c","a"}'


def test_what_differs_between_calls_of_one_caller_is_never_taken_for_alike() -> None:
    own = {
        "call_id",
        "occurred_at",
        "client",
        "arguments_digest",
        "outcome",
        "http_status",
        "error",
        "attempts",
        "billable",
    }
    assert not ALIKE & (own | {"price", "quantity", "request_id", "trace_id", "timings", "latency_ms", "upstream_auth"})


def test_nothing_is_written_as_null_and_empty_text_as_empty() -> None:
    columns = encoded(record())
    assert columns["grant_id"] == "{NULL}"
    assert columns["quoted_price"] == "{NULL}"
    assert columns["agent"] == '{""}'


def test_text_cannot_leave_its_quotes() -> None:
    assert encoded(record(tool='a"},{"b\\'))["tool"] == '{"a\\"},{\\"b\\\\"}'
    assert encoded(record(tool="NULL"))["tool"] == '{"NULL"}'
    assert encoded(record(tool="a\x00b"))["tool"] == '{"ab"}'


def test_money_is_written_without_an_exponent() -> None:
    assert encoded(record(price=Decimal("1E-10")))["price"] == "{0.0000000001}"


def test_a_schema_name_is_quoted() -> None:
    assert b'INSERT INTO "t_""x"."calls_call"' in rows.insert_statement('t_"x')
