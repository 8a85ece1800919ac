"""Reading the webhooks of the active organisation and what became of their messages."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, Q, QuerySet

from core.errors import NotFoundError
from notifications.models import WebhookDelivery, WebhookEndpoint

PAGE = 25


def list_endpoints() -> QuerySet[WebhookEndpoint]:
    """By name, with how many messages wait for each."""
    waiting = Count("deliveries", filter=Q(deliveries__state=WebhookDelivery.State.WAITING))
    return WebhookEndpoint.objects.annotate(waiting_count=waiting)


def get_endpoint(endpoint_id: UUID) -> WebhookEndpoint:
    """Raises NotFoundError."""
    endpoint = list_endpoints().filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFoundError("There is no such webhook in this organisation.")
    return endpoint


def list_deliveries(endpoint: WebhookEndpoint, *, before: UUID | None = None) -> list[WebhookDelivery]:
    """The newest messages with their attempts, or those older than one; one more than a page when there are more."""
    rows = WebhookDelivery.objects.filter(endpoint=endpoint)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return list(rows.order_by("-pk").prefetch_related("attempts")[: PAGE + 1])


def get_delivery(endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Raises NotFoundError."""
    found = WebhookDelivery.objects.filter(pk=delivery_id, endpoint_id=endpoint_id).prefetch_related("attempts").first()
    if found is None:
        raise NotFoundError("There is no such delivery in this organisation.")
    return found
