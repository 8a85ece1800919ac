"""What is about to be asked of a server, where the death of this process cannot lose it: one slot per call in flight.

The slots are a file that is mapped into memory: writing one is a copy of a few hundred bytes, and what is written belongs to
the kernel from then on, whatever happens to the process. A slot is free again when the call's row is durable. Slots of a dead
process become rows `unknown` (`calls.journal`). Against the death of the machine, `synced` waits for the disk, with one sync for
everybody who waits. Fails closed: a call without a slot is not sent.

The file's blocks are allocated when it is made, because a page of a mapped file that finds no room kills the process.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from uuid import UUID

import orjson

from calls.record import CallRecord, Outcome
from calls.spool import DamagedRowError, decode_row
from core import ids
from core.errors import UnavailableError

log = logging.getLogger(__name__)

SLOTS = 4096
SLOT_BYTES = 1024
_HEAD = struct.Struct("<IH")
_FIXED = struct.Struct("<16s64s32s")  # call id, digest of the arguments, trace id
_FREE = bytes(_HEAD.size)
MAX_CONSTANT = SLOT_BYTES - _HEAD.size - _FIXED.size
INTERRUPTED = "calls.interrupted: the gateway was interrupted before the outcome was recorded"


class NoSlotError(UnavailableError):
    code = "calls.no_slot"
    default_message = "More calls are under way than can be kept track of."


def payload(call_id: UUID, arguments_digest: str, trace_id: str, constant: bytes) -> bytes:
    """An intent; `constant` is JSON of whatever else the row of an interrupted call says (`constant_part`)."""
    return (
        _FIXED.pack(call_id.bytes, arguments_digest.encode("latin-1", "replace"), trace_id.encode("latin-1", "replace"))
        + constant
    )


def constant_part(record: CallRecord) -> bytes:
    """Of a row, what is the same for many calls: worth keeping, as making it costs more than the rest of an intent."""
    values = {name: getattr(record, name) for name in _KEPT if getattr(record, name) not in _EMPTY}
    data = orjson.dumps(values, default=str)
    for name in _SHORTENED:
        if len(data) > MAX_CONSTANT:
            # Only words are given up; who, where and on what grounds always fit.
            values.pop(name, None)
            data = orjson.dumps(values, default=str)
    return data


def interrupted(data: bytes) -> CallRecord:
    """The row of a call that was under way when its process died: unknown, and free. Raises DamagedRowError."""
    if len(data) < _FIXED.size:
        raise DamagedRowError("too short")
    raw_id, digest, trace = _FIXED.unpack_from(data)
    record = decode_row(
        orjson.dumps({"call_id": UUID(bytes=raw_id), "occurred_at": ids.moment_of(UUID(bytes=raw_id)), **_object(data)})
    )
    record.arguments_digest = digest.rstrip(b"\0").decode("latin-1")
    record.trace_id = trace.rstrip(b"\0").decode("latin-1")
    record.outcome, record.error, record.attempts = Outcome.UNKNOWN, INTERRUPTED, 1
    return record


def slots_of(data: bytes) -> Iterator[bytes]:
    """The intents in a file. One that is torn was being written when its process died: nothing was sent for it."""
    for at in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        check, length = _HEAD.unpack_from(data, at)
        content = data[at + _HEAD.size : at + _HEAD.size + length]
        if length and length <= SLOT_BYTES - _HEAD.size and zlib.crc32(content) == check:
            yield content


class IntentSlots:
    """The slots of this process, on an open and locked file. For the loop's thread only."""

    def __init__(self, fd: int, slots: int = SLOTS) -> None:
        """Raises OSError when there is no room for the file."""
        os.posix_fallocate(fd, 0, slots * SLOT_BYTES)
        os.fsync(fd)
        self._fd = fd
        self._map = mmap.mmap(fd, slots * SLOT_BYTES)
        # The last one freed is taken first, so that few pages are ever touched.
        self._free = list(range(slots * SLOT_BYTES - SLOT_BYTES, -1, -SLOT_BYTES))
        self._slots = slots
        self._wanted: list[asyncio.Future[None]] = []
        self._syncing = False

    @property
    def in_use(self) -> int:
        return self._slots - len(self._free)

    def put(self, data: bytes) -> int:
        """Keep an intent; the slot to free later. Raises NoSlotError."""
        if not self._free:
            raise NoSlotError
        at = self._free.pop()
        size = _HEAD.size + len(data)
        self._map[at : at + size] = _HEAD.pack(zlib.crc32(data), len(data)) + data
        return at

    def free(self, slot: int) -> None:
        self._map[slot : slot + len(_FREE)] = _FREE
        self._free.append(slot)

    def synced(self, executor: Executor) -> asyncio.Future[None]:
        """Done when everything that was put before is on disk; carries OSError when it cannot be known to be."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._wanted.append(future)
        if not self._syncing:
            self._sync(loop, executor)
        return future

    def close(self) -> None:
        self._map.close()

    def _sync(self, loop: asyncio.AbstractEventLoop, executor: Executor) -> None:
        waiting, self._wanted, self._syncing = self._wanted, [], True
        task = loop.run_in_executor(executor, os.fdatasync, self._fd)
        task.add_done_callback(lambda done: self._synced(done, waiting, loop, executor))

    def _synced(
        self,
        done: asyncio.Future[None],
        waiting: list[asyncio.Future[None]],
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
    ) -> None:
        self._syncing = False
        error = done.exception() if not done.cancelled() else OSError("not synced")
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        if self._wanted and not loop.is_closed():
            self._sync(loop, executor)


def read_slots(path: Path) -> list[CallRecord]:
    """The rows of the calls that a dead process left under way."""
    found = []
    for data in slots_of(path.read_bytes()):
        try:
            found.append(interrupted(data))
        except (DamagedRowError, ValueError) as exc:
            log.error("intent not understood", extra={"error": str(exc)[:200]})
    return found


_KEPT = (
    "schema_name", "api_key_id", "user_id", "agent", "session_id", "client", "interface", "protocol", "method", "server_id",
    "server_name", "server_version_id", "tool", "allowed", "reason", "grant_id", "side_effect", "trust_required",
    "trust_effective", "policy_revision", "provider_id", "price_version_id", "quoted_price", "currency", "credential",
    "client_id", "upstream_protocol", "trust_admin", "trust_consented", "risk", "agent_session_id", "policy_version",
    "asserted_human", "approval_id",
)  # fmt: skip
_SHORTENED = ("client", "agent", "session_id", "tool", "server_name", "asserted_human")
_EMPTY = ("", None, 0)


def _object(data: bytes) -> dict[str, object]:
    found = orjson.loads(data[_FIXED.size :])
    if not isinstance(found, dict):
        raise DamagedRowError("not an object")
    return found
