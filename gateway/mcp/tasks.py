"""Task ids, bound to who started the task, with which tool and in which call, without a store; and where they stand in messages.

To a server all callers of the marketplace are one client, so a server's own task id would be good for whoever learns it. What a
client holds instead is the id encrypted for its organisation and key, together with what later questions about the task are
decided and priced by. Source: extension `io.modelcontextprotocol/tasks` of 2026-07-28, and the core tasks of 2025-11-25.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core import ids
from gateway.entries import Price
from gateway.mcp import splice

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
# Requests about one task, by the parameter `taskId`. `tasks/list` is none of them: it would list everybody's.
METHODS = frozenset({"tasks/get", "tasks/result", "tasks/update", "tasks/cancel"})
# Those whose answer may bring the result of the tool.
FETCHING = frozenset({"tasks/get", "tasks/result"})
NOTIFICATIONS = frozenset({"notifications/tasks", "notifications/tasks/status"})
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
# A task is unknown after this, so that its result can be fetched only while it can be billed.
AGE = timedelta(days=7)
MAX_LENGTH = 4096
MAX_OWN_LENGTH = 1024  # of a server's own id
_NONCE = 12

_Path = tuple[str, ...]
_IN_ANSWERS: tuple[_Path, ...] = (
    ("result", "taskId"),
    ("result", "task", "taskId"),
    ("result", "_meta", RELATED, "taskId"),
)
_IN_NOTES: tuple[_Path, ...] = (("params", "taskId"), ("params", "_meta", RELATED, "taskId"))


@dataclass(frozen=True, slots=True)
class Task:
    """What is known of a task by its id alone."""

    own_id: bytes  # the server's, with the address it lives at (`endpoints.tie`)
    server_id: UUID
    slug: str
    tool: str
    call_id: UUID  # of the call that started it
    modern: bool  # of the extension, not of the older core
    price: Price | None  # when it was started
    sealed: str = ""  # what the client holds

    def is_over(self, now: datetime) -> bool:
        return now - ids.moment_of(self.call_id) > AGE

    @property
    def bill_id(self) -> UUID:
        """The id of the row that bills the task: one for each task, of the millisecond in which it was started.

        However often and wherever the result is fetched, the row is the same, and a row that is written twice is there once.
        """
        rest = int.from_bytes(hashlib.sha256(b"task" + self.call_id.bytes).digest()[:8], "big") & 0x3FFF_FFFF_FFFF_FFFF
        return UUID(int=self.call_id.int >> 64 << 64 | 0b10 << 62 | rest)


@dataclass(slots=True)
class TaskState:
    """What one call has to do with tasks."""

    ids: dict[str, Task]  # tasks that its messages may be about, by the server's ids
    task: Task | None = None  # that the request is about, or that the answer has begun
    brings_result: bool = False  # the answer holds the result of the task
    is_billed: bool = False  # and is the one that the task is billed with


class TaskSeal:
    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hmac.new(key, b"task", hashlib.sha256).digest())
        # A task that is waited for is asked about again and again.
        self._opened = lru_cache(maxsize=4096)(self._open)

    def seal(self, task: Task, owner: str) -> str:
        """`owner` names organisation and key."""
        price = task.price
        data = [
            base64.b64encode(task.own_id).decode(),
            task.server_id.hex,
            task.slug,
            task.tool,
            task.call_id.hex,
            task.modern,
            None if price is None else [price.price_version_id.hex, str(price.rate), price.currency],
        ]
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, orjson.dumps(data), owner.encode())
        return _encode(sealed)

    def open(self, sealed: str, owner: str) -> Task | None:
        """The task, or None when this was not sealed for this owner."""
        return self._opened(sealed, owner) if len(sealed) <= MAX_LENGTH else None

    def _open(self, sealed: str, owner: str) -> Task | None:
        try:
            data = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
            if _encode(data) != sealed:
                return None  # not in canonical form
            own_id, server_id, slug, tool, call_id, modern, price = orjson.loads(
                self._cipher.decrypt(data[:_NONCE], data[_NONCE:], owner.encode())
            )
        except (InvalidTag, binascii.Error, ValueError):
            return None
        return Task(
            own_id=base64.b64decode(own_id),
            server_id=UUID(server_id),
            slug=slug,
            tool=tool,
            call_id=UUID(call_id),
            modern=modern,
            price=None if price is None else Price(UUID(price[0]), Decimal(price[1]), price[2]),
            sealed=sealed,
        )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def begun_in(result: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The server's id of the task that an answer to `tools/call` gives in place of a result, and whether of the extension."""
    is_modern = result.get("resultType") == "task"
    task = result if is_modern else result.get("task") if "content" not in result else None
    task_id = task.get("taskId") if isinstance(task, Mapping) else None
    return (task_id, is_modern) if isinstance(task_id, str) else None


def result_in(method: str, result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The tool's result that an answer about a task brings, if it does."""
    if method == "tasks/result":
        return result
    inner = result.get("result") if method == "tasks/get" and result.get("status") == "completed" else None
    return inner if isinstance(inner, dict) else None


def task_id_of(message: Mapping[str, Any]) -> str | None:
    """Of a notification about a task."""
    params = message.get("params")
    task_id = params.get("taskId") if isinstance(params, dict) else None
    return task_id if isinstance(task_id, str) else None


def with_ids(text: str, known: Mapping[str, str], *, note: bool = False) -> str:
    """An answer, or a notification, with the ids that its client knows tasks by. Raises splice.UnreadableError."""
    changes = [
        (part.start, part.end, _quoted(known[part.value]))
        for path in (_IN_NOTES if note else _IN_ANSWERS)
        if (part := _find(text, path)) is not None and isinstance(part.value, str) and part.value in known
    ]
    return splice.replace(text, changes) if changes else text


def with_listened(text: str, known: Mapping[str, str]) -> str:
    """A request to listen, or its acknowledgement: tasks that are known under their other ids, others left out."""
    part = _find(text, ("params", "notifications", "taskIds"))
    if part is None:
        return text
    each = part.value if isinstance(part.value, list) else ()
    kept = [known[task_id] for task_id in each if isinstance(task_id, str) and task_id in known]
    return splice.replace(text, [(part.start, part.end, _quoted(kept))])


def with_task_id(text: str, task_id: str) -> str:
    """A request about another id."""
    part = _find(text, ("params", "taskId"))
    return text if part is None else splice.replace(text, [(part.start, part.end, _quoted(task_id))])


def without_list(text: str) -> str:
    """An answer to `initialize` that does not offer `tasks/list`."""
    part = _find(text, ("result", "capabilities", "tasks"))
    if part is None or not isinstance(part.value, dict) or "list" not in part.value:
        return text
    kept = {name: each for name, each in splice.members(text, part.start).items() if name != "list"}
    inner = ",".join(f"{_quoted(name)}:{text[each.start : each.end]}" for name, each in kept.items())
    return splice.replace(text, [(part.start, part.end, f"{{{inner}}}")])


def _find(text: str, path: Iterable[str]) -> splice.Part | None:
    start = len(text) - len(text.lstrip())
    part: splice.Part | None = None
    for name in path:
        if part is not None and not isinstance(part.value, dict):
            return None
        part = splice.members(text, start if part is None else part.start).get(name)
        if part is None:
            return None
    return part


def _quoted(value: Any) -> str:
    return orjson.dumps(value).decode()
