"""Reading what the comparisons with payment providers have found."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from billing.models import RED_AFTER, ReconciliationItem, ReconciliationProvider, ReconciliationRun
from core import clock

_State = ReconciliationItem.State


def open_items() -> QuerySet[ReconciliationItem]:
    """What is to be looked at, the oldest first."""
    return ReconciliationItem.objects.filter(state=_State.OPEN).order_by("found_at", "reference")


def ended_items() -> QuerySet[ReconciliationItem]:
    return ReconciliationItem.objects.exclude(state=_State.OPEN).order_by("-ended_at", "reference")


def item(item_id: UUID) -> ReconciliationItem | None:
    return ReconciliationItem.objects.select_related("run").filter(pk=item_id).first()


def red_items() -> QuerySet[ReconciliationItem]:
    """Differences that have not settled by themselves in time."""
    return open_items().filter(found_at__lte=clock.now() - RED_AFTER)


def red_count() -> int:
    return red_items().count()


def newest_runs() -> list[ReconciliationRun]:
    """The last comparison with each provider that there was one with."""
    found = [
        ReconciliationRun.objects.filter(provider=each).order_by("-created_at").first()
        for each in ReconciliationProvider
    ]
    return [run for run in found if run is not None]
