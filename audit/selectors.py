"""Reading the audit log of the active schema, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from audit.models import AuditEvent

PAGE = 50
ACTIONS_MAX = 200


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first; `older` and `newer` are the sequence numbers that the neighbouring pages begin after."""

    events: list[AuditEvent]
    older: int | None
    newer: int | None


def read_page(*, action: str = "", actor: str = "", before: int | None = None, after: int | None = None) -> Page:
    """One page of events, filtered; `before` and `after` are exclusive. Keyed by sequence, so page 1000 costs as page 1."""
    rows = _filtered(action, actor)
    if after is not None:
        found = list(rows.filter(sequence__gt=after).order_by("sequence")[: PAGE + 1])
        more, events = len(found) > PAGE, found[:PAGE][::-1]
        return Page(events, events[-1].sequence if events else None, events[0].sequence if more else None)
    if before is not None:
        rows = rows.filter(sequence__lt=before)
    found = list(rows.order_by("-sequence")[: PAGE + 1])
    events = found[:PAGE]
    newer = events[0].sequence if before is not None and events else None
    return Page(events, events[-1].sequence if len(found) > PAGE else None, newer)


def list_of_target(type_: str, id_: str, most: int) -> list[AuditEvent]:
    """The newest events about one thing."""
    return list(AuditEvent.objects.filter(target_type=type_, target_id=id_).order_by("-sequence")[:most])


def list_actions() -> list[str]:
    """The actions that occur, for a filter."""
    return list(AuditEvent.objects.order_by("action").values_list("action", flat=True).distinct()[:ACTIONS_MAX])


def size() -> int:
    """How many events the chain has: its last sequence number, because there are no gaps."""
    return AuditEvent.objects.order_by("-sequence").values_list("sequence", flat=True).first() or 0


def _filtered(action: str, actor: str) -> QuerySet[AuditEvent]:
    rows = AuditEvent.objects.all()
    if action:
        rows = rows.filter(action=action)
    if actor:
        rows = rows.filter(Q(actor_label__icontains=actor) | Q(actor_id=actor))
    return rows
