"""Claims of listings."""

from __future__ import annotations

from django.db import models

from catalog.choices import ClaimState, ProofMethod
from core import domains
from core.models import Record


class ListingClaim(Record):
    """An organisation says that a listing is its own. One that is proven vouches for the entry of one source.

    `token` is what has to be published at `domain`; without a domain an operator decides.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.CASCADE, related_name="claims")
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=7, choices=ClaimState.choices, default=ClaimState.WAITING)
    namespace = models.CharField(max_length=200, blank=True)
    domain = models.CharField(max_length=253, blank=True)
    token = models.CharField(max_length=64)
    source_id = models.UUIDField()
    source_name = models.CharField(max_length=100)
    external_id = models.CharField(max_length=300)
    reason = models.CharField(max_length=1000, blank=True, help_text="What the organisation says to operators.")
    requested_by = models.CharField(max_length=254)
    method = models.CharField(max_length=8, choices=ProofMethod.choices, blank=True)
    proven_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    failed_looks = models.PositiveSmallIntegerField(
        default=0, help_text="How often in a row a proof that was there has not been found."
    )
    detail = models.CharField(max_length=500, blank=True, help_text="What the last check found, or why it was refused.")
    decided_by = models.CharField(max_length=254, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["server", "tenant"],
                condition=models.Q(state__in=[ClaimState.WAITING, ClaimState.PROVEN]),
                name="listing_claim_one_open",
            ),
            models.UniqueConstraint(
                fields=["server"], condition=models.Q(state=ClaimState.PROVEN), name="listing_claim_one_proven"
            ),
            models.CheckConstraint(
                condition=~models.Q(state=ClaimState.PROVEN) | models.Q(proven_at__isnull=False) & ~models.Q(method=""),
                name="listing_claim_proven_somehow",
            ),
        ]

    def __str__(self) -> str:
        return self.namespace or self.external_id

    @property
    def challenge(self) -> domains.Challenge:
        return domains.Challenge(self.domain, self.token)

    @property
    def is_open(self) -> bool:
        return self.state in {ClaimState.WAITING, ClaimState.PROVEN}
