from __future__ import annotations

from django.db import models

from core import clock
from core.models import Record


class PriceVersion(Record):
    """What a successful call of a server, or of one of its tools, costs from a moment on. Immutable; a tool price beats the
    server's.

    `rate` is exact, in major units of `currency`, per call.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    tool = models.CharField(max_length=128, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    rate = models.DecimalField(max_digits=20, decimal_places=10)
    effective_from = models.DateTimeField(default=clock.now)

    class Meta:
        verbose_name = "price"
        ordering = ["server", "tool", "-effective_from"]
        constraints = [
            models.CheckConstraint(condition=models.Q(rate__gte=0), name="price_not_negative"),
            models.UniqueConstraint(fields=["server", "tool", "effective_from"], name="price_one_at_a_moment"),
        ]
