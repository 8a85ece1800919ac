"""The abstract base of stored things."""

from __future__ import annotations

from uuid import UUID

from django.db import models

from core import clock
from core.ids import uuid7


class Record(models.Model):
    """A row with a time-ordered id and the moments of its creation and last change."""

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class SealedField(models.BinaryField):
    """A secret sealed by `tenants.services.vault`; rotation of data keys finds the columns by this class.

    The model's table lives in an organisation's schema, or its rows belong to the platform, or to who `owner_tenant` says.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs["editable"] = False
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
