"""Plans are billed ahead: what was billed for a month becomes the platform's revenue when that month is over."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from django.db import transaction
from django.db.models import CharField, Exists, OuterRef, Sum
from django.db.models.functions import Cast

from billing.core.months import month_of, number_of
from billing.models import CreditNoteLine, InvoiceLine, InvoiceState, JobRun, LineKind
from billing.services import ledger_events
from core import clock
from tenants.context import platform_scope

EARNED = "billing.month_earned"
_BATCH = 500
_BILLED = (InvoiceState.OPEN, InvoiceState.PAID, InvoiceState.UNCOLLECTIBLE)


def earn_due() -> int:
    """Book every line of a plan whose time is over, each once; how many. Only what is on an invoice that was opened."""
    with platform_scope():
        return sum(_earn(line) for line in _due())


def _due() -> Iterator[InvoiceLine]:
    done = JobRun.objects.filter(job=EARNED, tenant=OuterRef("invoice__tenant"), key=Cast(OuterRef("pk"), CharField()))
    rows = InvoiceLine.objects.filter(
        ~Exists(done),
        kind__in=(LineKind.SUBSCRIPTION, LineKind.PRORATION),
        ends_at__lte=clock.now(),
        invoice__state__in=_BILLED,
    )
    yield from list(rows.select_related("invoice").order_by("ends_at", "pk")[:_BATCH])


def _earn(line: InvoiceLine) -> bool:
    invoice, month = line.invoice, month_of(line.starts_at)
    with transaction.atomic():
        _, is_first = JobRun.objects.get_or_create(
            job=EARNED, tenant_id=invoice.tenant_id, period_id=number_of(month), key=str(line.pk)
        )
        if is_first:
            taken_back = CreditNoteLine.objects.filter(line=line).aggregate(sum=Sum("minor"))["sum"] or 0
            ledger_events.month_earned(
                invoice,
                line.minor - taken_back,
                subscription_id=_subscription(line),
                month=f"{month:%Y-%m}",
                # Never before the invoice that billed it: a change of plan is billed when its month is over.
                at=max(line.ends_at, invoice.opened_at or line.ends_at),
            )
    return is_first


def _subscription(line: InvoiceLine) -> UUID:
    """The subscription that a line's key names (`plan:<id>:…`); a line that names none stands for itself."""
    try:
        return UUID(line.key.split(":")[1])
    except (IndexError, ValueError):
        return line.pk
