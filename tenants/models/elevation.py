from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core import clock
from core.models import Record
from tenants.models.tenant import Tenant


class Elevation(Record):
    """An operator's right to look into one organisation, for a reason and a time. It is the only one that operators have.

    A row is over when `ended_at` is set, and counts no more from `ends_at` on whether that was noted or not.
    """

    LIMIT: ClassVar[timedelta] = timedelta(hours=4)

    class Ending(models.TextChoices):
        OPERATOR = "operator", "Ended by the operator"
        ORGANISATION = "organisation", "Ended by the organisation"
        TIME = "time", "Its time was over"
        REPLACED = "replaced", "The operator opened another one"

    operator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="elevations"
    )
    operator_label = models.CharField(max_length=254)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="elevations")
    reason = models.CharField(max_length=300)
    ticket = models.CharField(max_length=100, blank=True)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_why = models.CharField(max_length=12, choices=Ending.choices, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["operator"], condition=Q(ended_at=None), name="elevation_one_open"),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("created_at"), ends_at__lte=F("created_at") + timedelta(hours=4)),
                name="elevation_at_most_four_hours",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="elevation_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.operator_label} at {self.tenant_id}"

    @property
    def is_live(self) -> bool:
        return self.ended_at is None and self.ends_at > clock.now()
