"""Agreeing what share providers keep."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from audit import services as audit
from billing.models import RevenueAgreement
from catalog.models import Provider
from core import clock
from core.errors import InvalidError


@transaction.atomic
def agree(
    *,
    provider: Provider | None,
    bps: int,
    actor: audit.Party,
    effective_from: datetime | None = None,
    reason: str = "",
) -> RevenueAgreement:
    """Set the share of one provider, or of all without an own one, from a moment on that has not passed.

    Raises InvalidError for a share that is none.
    """
    if not 0 <= bps <= 10_000:
        raise InvalidError("A share is 0 to 10,000 basis points.", code="billing.share_invalid", field="bps")
    now = clock.now()
    agreement = RevenueAgreement.objects.create(
        provider=provider,
        bps=bps,
        effective_from=max(effective_from or now, now),
        reason=reason[:200],
        created_by=actor.label[:254],
    )
    audit.record(
        "billing:share:agreed",
        actor=actor,
        target=audit.Party("provider", str(provider.pk), provider.name) if provider else None,
        data={"bps": bps, "from": agreement.effective_from.isoformat(), "reason": reason[:200]},
    )
    return agreement
