"""Reading notifications of one person in one organisation."""

from __future__ import annotations

from uuid import UUID

from django.db.models import F, QuerySet
from django.db.models.lookups import IsNull
from django_tenants.utils import schema_context

from notifications.models import Notification


def inbox(recipient_id: UUID) -> QuerySet[Notification]:
    """Newest first, of the active schema."""
    return Notification.objects.filter(recipient_id=recipient_id)


def unread_first(recipient_id: UUID) -> QuerySet[Notification]:
    return inbox(recipient_id).order_by(IsNull(F("read_at"), True).desc(), "-created_at")


def count_unread(schema_name: str, recipient_id: UUID) -> int:
    with schema_context(schema_name):
        return Notification.objects.filter(recipient_id=recipient_id, read_at=None).count()
