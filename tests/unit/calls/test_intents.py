"""Slots of calls under way, and who takes over those of a dead process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from calls import intents, spool
from calls.intents import NoSlotError
from calls.journal import Journal
from calls.record import CallRecord, Outcome
from core import clock, ids


def record(**changes: Any) -> CallRecord:
    return CallRecord(ids.uuid7(), "t_acme", clock.now(), **changes)


def intent_of(row: CallRecord, digest: str = "ab" * 32, trace: str = "cd" * 16) -> bytes:
    return intents.payload(row.call_id, digest, trace, intents.constant_part(row))


@pytest.fixture
def journal(tmp_path: Path):
    opened = Journal(tmp_path / "record", slots=8)
    opened.open()
    yield opened
    opened.close()


def left_by_a_dead_process(folder: Path) -> list[CallRecord]:
    other = Journal(folder)
    other.open()
    try:
        return [row for orphan in other.orphans() for row in _taken(orphan)]
    finally:
        other.close()


def _taken(orphan: Any) -> list[CallRecord]:
    rows = list(orphan.rows())
    orphan.finish()
    return rows


def test_an_interrupted_call_is_unknown_and_free_and_says_what_was_known() -> None:
    key, grant = uuid4(), uuid4()
    row = record(
        api_key_id=key, tool="refund", allowed=True, reason="allowed", grant_id=grant, billable=True, outcome=Outcome.OK
    )
    found = intents.interrupted(intent_of(row))
    assert (found.call_id, found.schema_name, found.tool, found.api_key_id) == (row.call_id, "t_acme", "refund", key)
    assert (found.outcome, found.billable, found.price, found.quantity) == (Outcome.UNKNOWN, False, 0, 0)
    assert (found.arguments_digest, found.trace_id, found.grant_id) == ("ab" * 32, "cd" * 16, grant)
    assert found.allowed
    assert found.occurred_at == ids.moment_of(row.call_id)


def test_endless_names_are_given_up_before_who_and_where() -> None:
    row = record(api_key_id=uuid4(), tool="ü" * 512, agent="a" * 512, server_name="s" * 512, session_id="x" * 300)
    data = intent_of(row)
    assert len(data) <= intents.SLOT_BYTES
    assert intents.interrupted(data).api_key_id == row.api_key_id


def test_slots_are_kept_freed_and_counted(journal: Journal) -> None:
    assert journal.slots is not None
    slots = [journal.slots.put(intent_of(record())) for _ in range(8)]
    with pytest.raises(NoSlotError):
        journal.slots.put(b"one more")
    for slot in slots:
        journal.slots.free(slot)
    assert journal.slots.in_use == 0


def test_a_torn_slot_is_nobodys_call() -> None:
    good, torn = intent_of(record()), intent_of(record())
    image = bytearray(intents.SLOT_BYTES * 2)
    for number, data in enumerate((good, torn)):
        head = intents._HEAD.pack(intents.zlib.crc32(data), len(data))
        image[number * intents.SLOT_BYTES : number * intents.SLOT_BYTES + len(head) + len(data)] = head + data
    image[intents.SLOT_BYTES + 100] ^= 1
    assert list(intents.slots_of(bytes(image))) == [good]


def test_files_of_a_living_process_are_left_alone(journal: Journal, tmp_path: Path) -> None:
    assert journal.slots is not None
    journal.slots.put(intent_of(record()))
    assert left_by_a_dead_process(tmp_path / "record") == []


def test_what_a_killed_process_left_is_taken_over_once_its_spool_first(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from calls import intents, spool\n"
        "from calls.journal import Journal\n"
        "from tests.unit.calls.test_intents import intent_of, record\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.open()\n"
        "answered, under_way, done = record(tool='answered'), record(tool='under way'), record(tool='done')\n"
        "journal.slots.put(intent_of(answered)); journal.slots.put(intent_of(under_way))\n"
        "journal.slots.free(journal.slots.put(intent_of(done)))\n"
        "journal.spool.append([spool.encode_row(answered)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    folder = tmp_path / "record"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], env={**os.environ, "PYTHONPATH": "."}, check=False
    )
    assert done.returncode < 0
    rows = left_by_a_dead_process(folder)
    assert (rows[0].tool, rows[0].outcome) == ("answered", Outcome.DENIED)
    assert ("under way", Outcome.UNKNOWN) in [(row.tool, row.outcome) for row in rows]
    assert "done" not in {row.tool for row in rows}
    assert left_by_a_dead_process(folder) == []
    assert list(folder.iterdir()) == []


def test_a_process_that_owes_nothing_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "record")
    journal.open()
    journal.close()
    assert list((tmp_path / "record").iterdir()) == []


def test_a_process_that_ends_with_a_call_under_way_leaves_it_to_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "record")
    journal.open()
    assert journal.slots is not None
    row = record()
    journal.slots.put(intent_of(row))
    journal.close()
    assert [left.call_id for left in left_by_a_dead_process(tmp_path / "record")] == [row.call_id]


def test_a_spool_whose_intents_are_gone_is_found_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    row = record()
    (folder / "1-abc.spool").write_bytes(spool.frame(spool.encode_row(row)))
    assert [left.call_id for left in left_by_a_dead_process(folder)] == [row.call_id]


def test_everybody_who_waits_for_the_disk_shares_a_sync(journal: Journal) -> None:
    async def act() -> int:
        syncs = 0

        class Counting(ThreadPoolExecutor):
            def submit(self, *args: Any, **more: Any) -> Any:
                nonlocal syncs
                syncs += 1
                return super().submit(*args, **more)

        assert journal.slots is not None
        with Counting(1) as executor:
            await asyncio.gather(*(journal.slots.synced(executor) for _ in range(50)))
        return syncs

    assert asyncio.run(act()) == 2
