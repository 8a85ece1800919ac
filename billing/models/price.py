from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models.functions import Coalesce

from billing.core import rating
from core import clock
from core.models import Record

NOBODY = "00000000-0000-0000-0000-000000000000"


class TsTzRange(models.Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class PriceVersion(Record):
    """What successful calls of a server, or of one of its tools, cost from a moment on. A tool's price beats the server's.

    With a `tenant` it was agreed with that organisation and beats what others pay. `model` is read by `billing.core.rating`;
    `rate` is what it quotes: the most that one call can cost, exact, in major units of `currency`.
    Immutable but for `effective_to`, which its successor sets; one that ends where it began was withdrawn before it held.
    `rises` says that some use cost more than before, which is told 14 days ahead.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    tool = models.CharField(max_length=128, blank=True)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    currency = models.CharField(max_length=3, default="USD")
    model = models.JSONField()
    rate = models.DecimalField(max_digits=20, decimal_places=10)
    effective_from = models.DateTimeField(default=clock.now)
    effective_to = models.DateTimeField(null=True, blank=True)
    rises = models.BooleanField(default=False)
    created_by = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        verbose_name = "price"
        ordering = ["server", "tool", "-effective_from"]
        constraints = [
            models.CheckConstraint(condition=models.Q(rate__gte=0), name="price_not_negative"),
            models.CheckConstraint(
                condition=models.Q(effective_to=None) | models.Q(effective_to__gte=models.F("effective_from")),
                name="price_ends_after_it_begins",
            ),
            ExclusionConstraint(
                name="price_one_at_a_moment",
                expressions=[
                    ("server", RangeOperators.EQUAL),
                    ("tool", RangeOperators.EQUAL),
                    (Coalesce("tenant", models.Value(NOBODY, models.UUIDField())), RangeOperators.EQUAL),
                    (TsTzRange("effective_from", "effective_to", RangeBoundary()), RangeOperators.OVERLAPS),
                ],
            ),
        ]
        indexes = [models.Index(fields=["tenant", "server"], name="price_by_tenant")]

    @property
    def terms(self) -> rating.PriceModel:
        return rating.parse(self.model)
