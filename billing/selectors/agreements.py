"""What share providers keep."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import F, Q

from billing.models import RevenueAgreement
from core.errors import NotFoundError


def in_force(provider_id: UUID | None, at: datetime) -> tuple[UUID, int]:
    """The agreement (id, basis points) of a provider at a moment: its own, else the default of all.

    Raises NotFoundError when there is not even a default, which the migrations make.
    """
    found = (
        RevenueAgreement.objects.filter(Q(provider_id=provider_id) | Q(provider=None), effective_from__lte=at)
        .order_by(F("provider").asc(nulls_last=True), "-effective_from")
        .values_list("pk", "bps")
        .first()
    )
    if found is None:
        raise NotFoundError("No share is agreed.", next_step="An operator sets the default share under Revenue shares.")
    return found
