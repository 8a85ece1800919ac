"""From a paid invoice to money at a provider's disposal: a plan when the invoice is paid, a release when its time has come.

Providers are paid from collected money only. While a bank looks into a payment nothing of it is released, and what an
organisation paid to itself is never. While operators look into a sign of fraud nothing that it concerns is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from billing.core.shares import WHOLE_BPS, muldiv
from billing.models import EarningRelease, Invoice, InvoiceLine, ProviderAccount
from billing.models.invoice import InvoiceState
from billing.services import fraud, fraud_signs, ledger_events
from core import clock
from tenants.context import platform_scope

_BATCH = 200
OWN_CALLS, DISPUTED = "calls of the provider's own organisation", "a dispute that is open"
LOOKED_AT = "a check by the platform's operators"


def plan(invoice: Invoice) -> int:
    """Plan the releases of a paid invoice; how many were added. Planned again, nothing changes."""
    since = invoice.paid_at or invoice.written_off_at
    if since is None:
        return 0
    rows: list[EarningRelease] = []
    for provider_id in _providers(invoice):
        kept = settings.PAYOUT_RESERVE_BPS if _is_new(provider_id, since) else 0
        rows.append(_row(invoice, provider_id, EarningRelease.Part.MAIN, WHOLE_BPS - kept, _after(since)))
        if kept:
            late = since + timedelta(days=settings.PAYOUT_RESERVE_DAYS)
            rows.append(_row(invoice, provider_id, EarningRelease.Part.RESERVE, WHOLE_BPS, max(late, _after(since))))
    return len(EarningRelease.objects.bulk_create(rows, ignore_conflicts=True))


def plan_due() -> int:
    """Plan for every invoice that was paid and has no plan; how many releases were added."""
    with platform_scope():
        earned = InvoiceLine.objects.filter(invoice=OuterRef("pk"), provider__isnull=False)
        planned = EarningRelease.objects.filter(invoice=OuterRef("pk"))
        settled = (InvoiceState.PAID, InvoiceState.UNCOLLECTIBLE)
        rows = Invoice.objects.filter(Exists(earned), ~Exists(planned), state__in=settled).order_by("paid_at")
        return sum(plan(invoice) for invoice in rows[:_BATCH])


def release_due() -> int:
    """Release what is due and held by nothing; how many parts. Who pays and who is paid are looked at before."""
    fraud_signs.look_at_ties()
    with platform_scope():
        return sum(_release(release_id) for release_id in _due(clock.now()))


def _due(now: datetime) -> Iterator[UUID]:
    rows = EarningRelease.objects.filter(released_at=None, due_at__lte=now).order_by("due_at", "part")
    yield from list(rows.values_list("pk", flat=True)[:_BATCH])


def _release(release_id: UUID) -> bool:
    with transaction.atomic():
        row = (
            EarningRelease.objects.select_for_update(of=("self",))
            .select_related("provider", "invoice")
            .get(pk=release_id)
        )
        if row.released_at is not None:
            return False
        invoice = row.invoice
        row.held_for = _reason_to_hold(row, invoice)
        if not row.held_for:
            # What is there at this moment: credit notes may have taken some of it since the plan was made.
            left = max(ledger_events.pending_of(row.invoice_id, row.provider_id), 0)
            row.minor = muldiv(left, row.bps, WHOLE_BPS)
            ledger_events.released(invoice, row.provider_id, row.minor, part=row.part)
            row.released_at = clock.now()
        row.save(update_fields=["held_for", "minor", "released_at", "updated_at"])
        return not row.held_for


def _reason_to_hold(row: EarningRelease, invoice: Invoice) -> str:
    if invoice.tenant_id == row.provider.tenant_id:
        return OWN_CALLS
    if fraud.holds(invoice.tenant_id, row.provider_id):
        return LOOKED_AT
    return DISPUTED if ledger_events.disputed(row.invoice_id) > 0 else ""


def _providers(invoice: Invoice) -> list[UUID]:
    rows = InvoiceLine.objects.filter(invoice=invoice, provider__isnull=False).order_by("provider_id")
    found = rows.values_list("provider_id", flat=True).distinct()
    return [provider_id for provider_id in found if ledger_events.pending_of(invoice.pk, provider_id) > 0]


def _is_new(provider_id: UUID, at: datetime) -> bool:
    """Whether a provider has not been paid for as long as trust takes."""
    since = ProviderAccount.objects.filter(provider_id=provider_id).values_list("active_since", flat=True).first()
    return since is None or at < since + timedelta(days=settings.PAYOUT_RESERVE_DAYS)


def _after(paid_at: datetime) -> datetime:
    return paid_at + timedelta(days=settings.PAYOUT_HOLDBACK_DAYS)


def _row(invoice: Invoice, provider_id: UUID, part: EarningRelease.Part, bps: int, due_at: datetime) -> EarningRelease:
    return EarningRelease(
        invoice=invoice, provider_id=provider_id, part=part, bps=bps, due_at=due_at, currency=invoice.currency
    )
