"""A process that records calls as a gateway does, until it is killed. What was answered is in a file, id by id."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from calls.journal import Journal
from calls.record import CallRecord, Outcome
from calls.writer import CallWriter
from core import clock, ids

AT_ONCE = 64
_ONE = Decimal(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--world", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--answered", default="")
    parser.add_argument("--settle", action="store_true", help="take over what dead writers left, and end")
    options = parser.parse_args()
    journal = Journal(Path(options.folder) / "journal")
    journal.open()
    writer = CallWriter(os.environ["DATABASE_URL"], journal=journal, sweep_s=1.0)
    if options.settle:
        asyncio.run(_settle(writer, journal))
    else:
        asyncio.run(_write(writer, json.loads(options.world), options.answered))


async def _settle(writer: CallWriter, journal: Journal) -> None:
    await writer.start()
    folder = journal.spool.path.parent
    while len(list(folder.glob("*.intents"))) > 1:  # noqa: ASYNC110 - other processes' files tell nobody
        await asyncio.sleep(0.5)
    await writer.stop()
    journal.close()


async def _write(writer: CallWriter, world: dict[str, Any], answered: str) -> None:
    await writer.start()
    descriptor = os.open(answered, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    await asyncio.gather(*(_call(writer, world, descriptor) for _ in range(AT_ONCE)))


async def _call(writer: CallWriter, world: dict[str, Any], descriptor: int) -> None:
    """One caller after the other's answer. One in eight calls fails, and is not billed."""
    while True:
        price = random.choice(world["prices"])
        is_good = random.random() < 7 / 8
        record = CallRecord(
            ids.uuid7(),
            world["schema"],
            clock.now(),
            method="tools/call",
            server_id=UUID(world["server"]),
            server_name="bench",
            tool=price["tool"],
            allowed=True,
            reason="allowed",
            outcome=Outcome.OK if is_good else Outcome.TOOL_ERROR,
            provider_id=UUID(world["provider"]),
            billable=is_good,
            quantity=_ONE if is_good else Decimal(0),
            price_version_id=UUID(price["version"]),
            quoted_price=Decimal(price["rate"]),
            price=Decimal(price["rate"]) if is_good else Decimal(0),
        )
        await writer.write(record)
        os.write(descriptor, record.call_id.bytes)


if __name__ == "__main__":
    main()
