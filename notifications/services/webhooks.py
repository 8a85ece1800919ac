"""The queue of webhooks: events come in here, inside the transaction of what they tell of.

This app knows neither organisations nor their keys: who has an endpoint, and the sending, is `tenants.services.webhooks`.
Every event reaches each endpoint at least once or is shown as failed; `docs/webhooks.md` says what receivers may rely on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import QuerySet

from core import clock
from core.ids import uuid7
from core.jobs import on_commit
from notifications import signals
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.webhooks import EVENTS, TEST_EVENT

KEPT = timedelta(days=30)
# Longer than any run of a sender: what was taken and not reported after it is sent again.
LEASE = timedelta(seconds=120)
# What one run takes for one endpoint.
BATCH = 10


def emit(tenant_id: UUID, event: str, data: Mapping[str, Any]) -> int:
    """Tell the organisation's endpoints of an event; how many hear of it. Called inside the transaction of the change.

    The organisation's schema is the active one. `data` is plain values (dates and ids become text), holds no secrets, and
    may name the page about it as `url`, a path of ours. Raises ValueError for an event that is not in the list.
    """
    if event not in EVENTS:
        raise ValueError(f"{event} is no event of webhooks; notifications.webhooks.EVENTS lists them")
    if connection.schema_name == "public":  # type: ignore[attr-defined]
        raise ValueError("webhooks are an organisation's: emit inside its scope")
    hearing = [endpoint for endpoint in WebhookEndpoint.objects.filter(disabled_at=None) if endpoint.hears(event)]
    _queue(tenant_id, hearing, event, data)
    return len(hearing)


def emit_test(tenant_id: UUID, endpoint: WebhookEndpoint) -> WebhookDelivery:
    """An event for one endpoint alone, that says nothing but that it is a test."""
    return _queue(tenant_id, [endpoint], TEST_EVENT, {"message": "This is a test.", "endpoint": endpoint.name})[0]


def again(tenant_id: UUID, delivery: WebhookDelivery) -> None:
    """Let a delivery be tried from the start, whatever became of it."""
    delivery.state, delivery.round_count, delivery.next_at = WebhookDelivery.State.WAITING, 0, clock.now()
    delivery.save(update_fields=["state", "round_count", "next_at", "updated_at"])
    _wake(tenant_id)


def due() -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(
        state=WebhookDelivery.State.WAITING, next_at__lte=clock.now(), endpoint__disabled_at=None
    )


def claim(endpoint: WebhookEndpoint) -> list[WebhookDelivery]:
    """What is due for an endpoint, the oldest first, taken so that no other sender takes it within the lease."""
    with transaction.atomic():
        taken = list(
            due()
            .filter(endpoint=endpoint)
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("created_at")[:BATCH]
        )
        WebhookDelivery.objects.filter(pk__in=[each.pk for each in taken]).update(next_at=clock.now() + LEASE)
    return taken


def release(deliveries: Iterable[WebhookDelivery], after: timedelta) -> None:
    """Give back what was taken and not tried."""
    WebhookDelivery.objects.filter(pk__in=[each.pk for each in deliveries]).update(next_at=clock.now() + after)


def prune() -> int:
    """Forget deliveries of long ago; how many rows went."""
    return WebhookDelivery.objects.filter(created_at__lt=clock.now() - KEPT).delete()[0]


def _queue(
    tenant_id: UUID, endpoints: list[WebhookEndpoint], event: str, data: Mapping[str, Any]
) -> list[WebhookDelivery]:
    if not endpoints:
        return []
    event_id, now = uuid7(), clock.now()
    plain = json.loads(json.dumps(data, cls=DjangoJSONEncoder).replace("\\u0000", ""))
    made = WebhookDelivery.objects.bulk_create(
        WebhookDelivery(endpoint=each, event_id=event_id, event=event, occurred_at=now, data=plain)
        for each in endpoints
    )
    _wake(tenant_id)
    return made


def _wake(tenant_id: UUID) -> None:
    on_commit(lambda: signals.webhooks_waiting.send_robust(sender=None, tenant_id=tenant_id))
