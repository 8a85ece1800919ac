from __future__ import annotations

from typing import ClassVar

from django.db import models

from core import clock
from core.ids import uuid7
from core.models import Record, SealedField
from tenants.models.tenant import Tenant

__all__ = ["DataKey", "SealedField", "SigningKey"]


class DataKey(models.Model):
    """A key that seals secrets of one organisation, or of the platform; wrapped by a master key (`core.vault`).

    The newest without `retired_at` seals. Deleting an organisation deletes its keys, and with them whatever a backup holds.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, editable=False, related_name="data_keys")
    wrapped = models.BinaryField(editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    retired_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(retired_at=None),
                name="data_key_one_in_use",
                nulls_distinct=False,
            ),
        ]


class SigningKey(Record):
    """A key pair that signs for the platform. `next` is published before it is used, `retiring` still after it was."""

    class State(models.TextChoices):
        NEXT = "next", "Next"
        ACTIVE = "active", "Active"
        RETIRING = "retiring", "Retiring"
        RETIRED = "retired", "Retired"

    PUBLISHED: ClassVar[list[str]] = [State.NEXT, State.ACTIVE, State.RETIRING]

    kid = models.CharField(max_length=64, unique=True, editable=False)
    public = models.BinaryField(editable=False)
    private = SealedField(default=b"")  # emptied when retired
    state = models.CharField(max_length=8, choices=State.choices, editable=False)
    activated_at = models.DateTimeField(null=True, editable=False)
    retires_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state__in=["next", "active"]),
                name="signing_key_one_next_one_active",
            ),
        ]

    def __str__(self) -> str:
        return self.kid
