"""Signs that money may not be earned as it seems: why, whose, and what an operator decided."""

from __future__ import annotations

from django.db import models

from core import clock
from core.models import Record


class FraudFlag(Record):
    """One reason to look at what an organisation pays a provider (without one: all providers), until an operator decides.

    `facts` are what was seen so far, in words: a flag that was cleared opens again when something else is seen.
    """

    class Sign(models.TextChoices):
        PACE = "pace", "Many times its usual calls"
        NEWCOMER = "newcomer", "Much before the first paid invoice"
        CARD = "card", "Shared card"
        PAYEE = "payee", "Customer and payee are one"
        PEOPLE = "people", "People of the provider among the customer's"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        CLEARED = "cleared", "Cleared"
        CONFIRMED = "confirmed", "Confirmed"

    sign = models.CharField(max_length=10, choices=Sign.choices)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    provider = models.ForeignKey("catalog.Provider", on_delete=models.PROTECT, null=True, related_name="+")
    facts = models.JSONField(default=list)
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    found_at = models.DateTimeField(default=clock.now)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=254, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["found_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["sign", "tenant", "provider"], name="fraud_flag_once", nulls_distinct=False
            ),
        ]
        indexes = [models.Index(fields=["state", "found_at"], name="fraud_flag_by_age")]

    def __str__(self) -> str:
        return f"{self.get_sign_display()}: {self.tenant.name}"
