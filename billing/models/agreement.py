from __future__ import annotations

from django.db import models

from core import clock
from core.models import Record


class RevenueAgreement(Record):
    """What share of its servers' earnings a provider keeps from a moment on; without a provider, all who have no own one.

    `bps` of 10,000, of usage net of tax and before processors' fees; subscriptions are the platform's. Immutable: invoice lines
    copy the share, so a later agreement never alters the past.
    """

    provider = models.ForeignKey("catalog.Provider", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    bps = models.PositiveIntegerField()
    effective_from = models.DateTimeField(default=clock.now)
    reason = models.CharField(max_length=200, blank=True)
    created_by = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["provider", "-effective_from"]
        constraints = [
            models.CheckConstraint(condition=models.Q(bps__lte=10_000), name="agreement_at_most_everything"),
            models.UniqueConstraint(
                fields=["provider", "effective_from"], name="agreement_one_at_a_moment", nulls_distinct=False
            ),
        ]
