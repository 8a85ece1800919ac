from __future__ import annotations

from django.db import models

from access.limits import PERIODS, LimitKind, LimitScope
from core.models import Record


class Limit(Record):
    """How much an organisation lets be called or spent: by everybody, with a key, at a server or of a tool.

    Lives in the organisation's schema. Rows may be edited: a refusal names the limit and its amount.
    """

    name = models.CharField(max_length=100)
    scope = models.CharField(
        max_length=12,
        choices=[
            (LimitScope.ORGANISATION.value, "The whole organisation"),
            (LimitScope.KEY.value, "A key"),
            (LimitScope.SERVER.value, "A server"),
            (LimitScope.TOOL.value, "A tool of a server"),
        ],
    )
    key_id = models.UUIDField(null=True, blank=True)
    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    tool = models.CharField(max_length=128, blank=True)
    subject_label = models.CharField(max_length=254, blank=True)
    kind = models.CharField(
        max_length=5,
        choices=[
            (LimitKind.RATE.value, "Rate: requests in a time"),
            (LimitKind.QUOTA.value, "Quota: successful tool calls in a day or month"),
            (LimitKind.CAP.value, "Spending cap: money in a day or month"),
        ],
    )
    amount = models.DecimalField(max_digits=20, decimal_places=10)
    currency = models.CharField(max_length=3, default="USD")
    period = models.CharField(max_length=6, choices=[(period.value, period.value.capitalize()) for period in PERIODS])
    hard = models.BooleanField(default=True)
    created_by_label = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="limit_amount_not_negative"),
            models.CheckConstraint(
                condition=models.Q(kind="rate", period__in=["second", "minute", "hour", "day"], amount__gte=1)
                | models.Q(kind__in=["quota", "cap"], period__in=["day", "month"]),
                name="limit_period_fits_kind",
            ),
            models.CheckConstraint(
                condition=models.Q(scope="organisation", server=None, tool="", key_id=None)
                | models.Q(scope="key", server=None, tool="")
                | models.Q(scope="server", server__isnull=False, tool="", key_id=None)
                | (models.Q(scope="tool", server__isnull=False, key_id=None) & ~models.Q(tool="")),
                name="limit_subject_fits_scope",
            ),
        ]

    def __str__(self) -> str:
        return self.name
