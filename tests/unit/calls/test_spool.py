"""The spool's file: what was durable is read back in order, whatever happened to the rest of it."""

from __future__ import annotations

import errno
import os
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls import spool
from calls.record import CallRecord, Outcome
from calls.spool import Spool
from core import clock, ids


def record(**changes: Any) -> CallRecord:
    return CallRecord(ids.uuid7(), "t_acme", clock.now(), **changes)


def full() -> CallRecord:
    return record(
        api_key_id=uuid4(),
        tool='quo"te\x00 \\ ü 🙂 \x1b[31m',
        outcome=Outcome.OK,
        allowed=True,
        billable=True,
        quantity=Decimal(1),
        quoted_price=Decimal("0.0000000001"),
        price=Decimal("0.0000000001"),
        latency_ms=1.25,
        timings="authenticate:1",
    )


def ids_in(data: bytes) -> list[str]:
    return [str(row.call_id) for _, row in spool.read_rows(data)]


def framed(*records: CallRecord) -> list[bytes]:
    return [spool.frame(spool.encode_row(each)) for each in records]


def test_a_row_comes_back_as_it_was() -> None:
    row = full()
    assert spool.decode_row(spool.encode_row(row)) == row


def test_a_row_of_another_release_is_read_without_what_is_not_known() -> None:
    data = {**orjson.loads(spool.encode_row(record(tool="echo"))), "of_tomorrow": 1}
    del data["timings"]
    assert spool.decode_row(orjson.dumps(data)).tool == "echo"


@pytest.mark.parametrize("data", [b"[]", b"{}", b"nonsense", b'{"call_id": "x"}', b'{"call_id": 5}'])
def test_what_is_no_row_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(spool.DamagedRowError):
        spool.decode_row(data)


def test_rows_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    rows = [record() for _ in range(20)]
    kept = Spool(tmp_path / "a.spool")
    kept.append(map(spool.encode_row, rows[:5]))
    kept.append(map(spool.encode_row, rows[5:]))
    assert ids_in((tmp_path / "a.spool").read_bytes()) == [str(row.call_id) for row in rows]
    assert kept.size == (tmp_path / "a.spool").stat().st_size
    kept.close()


@given(st.data())
def test_a_file_that_was_cut_off_anywhere_gives_every_whole_row_before_the_cut(data: st.DataObject) -> None:
    rows = [record(tool="x" * number) for number in range(4)]
    parts = framed(*rows)
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    count = sum(1 for number in range(1, 5) if len(b"".join(parts[:number])) <= cut)
    assert ids_in(whole[:cut]) == [str(row.call_id) for row in rows[:count]]


@given(st.data())
def test_damage_costs_the_row_that_it_hits_and_no_other(data: st.DataObject) -> None:
    rows = [record(tool="damage") for _ in range(4)]
    parts = framed(*rows)
    hit = data.draw(st.integers(0, 3))
    at = data.draw(st.integers(0, len(parts[hit]) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    damaged = bytearray(parts[hit])
    damaged[at] ^= bit
    parts[hit] = bytes(damaged)
    assert ids_in(b"".join(parts)) == [str(row.call_id) for number, row in enumerate(rows) if number != hit]


def test_an_append_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Spool(tmp_path / "a.spool")
    first = record()
    kept.append([spool.encode_row(first)])

    def full_disk(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full_disk)
        with pytest.raises(OSError, match="No space"):
            kept.append([spool.encode_row(record())])
        assert kept.is_full
        kept.probe()
        assert kept.is_full
    kept.probe()
    assert not kept.is_full
    assert ids_in((tmp_path / "a.spool").read_bytes()) == [str(first.call_id)]
    kept.close()


def test_what_costs_is_refused_at_the_limit_and_the_rest_a_quarter_later(tmp_path: Path) -> None:
    kept = Spool(tmp_path / "a.spool", limit_bytes=3000)
    sizes = []
    while not kept.is_full:
        kept.append([spool.encode_row(record())])
        sizes.append((kept.size, kept.is_limited))
    assert [limited for size, limited in sizes] == [size >= 3000 for size, _ in sizes]
    assert 3750 <= kept.size < 3750 + 2000
    kept.clear()
    assert not kept.is_limited
    assert kept.is_empty
    kept.close()


def test_a_row_that_waited_too_long_limits_as_well(tmp_path: Path) -> None:
    kept = Spool(tmp_path / "a.spool", limit_age_s=0.0)
    assert not Spool(tmp_path / "b.spool", limit_age_s=60.0).is_limited
    kept.append([spool.encode_row(record())])
    assert kept.is_limited
    assert not kept.is_full
    kept.close()
