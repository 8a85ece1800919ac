"""Writing the audit log. Called inside the transaction of what it records, so that the two stand or fall together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from audit import chain
from audit.models import AuditEvent, AuditHead
from core import clock
from core.context import current_request_id
from core.ids import uuid7

_LOCK_CLASS = 78

CONTENT = (
    "id", "sequence", "occurred_at", "actor_type", "actor_id", "actor_label", "action", "target_type", "target_id",
    "target_label", "data", "request_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Party:
    """An actor or a target: a kind, an id and a label that stays readable after a deletion."""

    type: str
    id: str = ""
    label: str = ""


SYSTEM = Party("system", label="system")


def record(action: str, *, actor: Party, target: Party | None = None, data: dict[str, Any] | None = None) -> AuditEvent:
    """Append an event to the chain of the active schema. `action` reads `app:subject:verb`; `data` holds no secrets."""
    target = target or Party("")
    with transaction.atomic():
        with connection.cursor() as cursor:
            # One writer at a time per schema: the chain has no forks and the sequence no gaps.
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))", [_LOCK_CLASS])
        last = AuditEvent.objects.order_by("-sequence").values_list("sequence", "hash").first()
        sequence, previous = (last[0] + 1, bytes(last[1])) if last else (1, chain.GENESIS)
        event = AuditEvent(
            id=uuid7(),
            sequence=sequence,
            occurred_at=clock.now(),
            actor_type=actor.type,
            actor_id=actor.id,
            actor_label=_storable(actor.label)[:254],
            action=action,
            target_type=target.type,
            target_id=target.id,
            target_label=_storable(target.label)[:254],
            data=_storable(data or {}),
            request_id=current_request_id(),
            previous_hash=previous,
        )
        event.hash = chain.digest(settings.AUDIT_KEY, previous, content_of(event))
        event.save(force_insert=True)
        _mark_end(chain.Point(sequence, event.hash))
    return event


def _mark_end(head: chain.Point) -> None:
    mark = chain.head_mark(settings.AUDIT_KEY, active_log(), head)
    values = {"sequence": head.sequence, "hash": head.hash, "mark": mark}
    if not AuditHead.objects.update(**values):
        AuditHead.objects.create(**values)


def active_log() -> str:
    """The name of the log of the active schema: the schema's."""
    return connection.schema_name  # type: ignore[attr-defined,no-any-return]


def _storable(value: Any) -> Any:
    """What jsonb gives back exactly as it was given, so that the hash of a row can be repeated from the database.

    Fractions and big exponents are rewritten by jsonb, and some characters refused by it: both become harmless text.
    """
    match value:
        case None | bool() | int():
            return value
        case dict():
            return {_storable(str(key)): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
        case _:
            return str(value).replace("\x00", "").encode("utf-8", "replace").decode()


def content_of(event: AuditEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in CONTENT}
