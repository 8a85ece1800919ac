"""Reading signs of fraud, for operators."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from billing.models import EarningRelease, FraudFlag
from billing.services import ledger_events
from core.money import Money

_State = FraudFlag.State


def open_flags() -> QuerySet[FraudFlag]:
    """What is to be decided, the oldest first."""
    return _rows().filter(state=_State.OPEN).order_by("found_at", "id")


def decided_flags() -> QuerySet[FraudFlag]:
    return _rows().exclude(state=_State.OPEN).order_by("-decided_at")


def flag(flag_id: UUID) -> FraudFlag | None:
    return _rows().filter(pk=flag_id).first()


def held(found: FraudFlag, currency: str) -> Money:
    """What a flag keeps from providers at this moment: their pending shares of paid invoices of the organisation."""
    waiting = EarningRelease.objects.filter(invoice__tenant_id=found.tenant_id, released_at=None, currency=currency)
    if found.provider_id is not None:
        waiting = waiting.filter(provider_id=found.provider_id)
    pairs = set(waiting.values_list("invoice_id", "provider_id"))
    return Money(sum(ledger_events.pending_of(invoice, provider) for invoice, provider in pairs), currency)


def _rows() -> QuerySet[FraudFlag]:
    return FraudFlag.objects.select_related("tenant", "provider")
