"""What pages of an organisation say about its own debts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from billing.models import Invoice
from billing.selectors import owing
from billing.services import methods
from core import clock
from core.money import Money
from tenants.choices import Right


@dataclass(frozen=True, slots=True)
class Dues:
    """An invoice that has been owed for a week or more. `stops_at` is when tools with a price are stopped."""

    invoice: Invoice
    owed: Money
    stops_at: datetime
    is_stopped: bool
    may_pay: bool
    has_card: bool


def dues(request: HttpRequest) -> dict[str, Any]:
    """Looked up only by the frame of an organisation's pages."""
    return {"dues": SimpleLazyObject(lambda: _dues(request))}


def _dues(request: HttpRequest) -> Dues | None:
    organisation, membership = getattr(request, "organisation", None), getattr(request, "membership", None)
    if organisation is None or membership is None or not membership.can(Right.VIEW_BILLING):
        return None
    invoice = owing.overdue(organisation.pk)
    if invoice is None:
        return None
    stops = owing.stop_of(invoice)
    return Dues(
        invoice=invoice,
        owed=Money(invoice.owed_minor, invoice.currency),
        stops_at=stops,
        is_stopped=stops <= clock.now(),
        may_pay=membership.can(Right.MANAGE_BILLING),
        has_card=methods.default_of(organisation.pk) is not None,
    )
