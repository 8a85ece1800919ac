"""While an invoice is not paid: it is tried again on fixed days, its organisation is told, and at last it is given up."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from billing.models import AttemptState, Invoice, InvoiceState, PaymentAttempt
from billing.selectors import owing
from billing.services import invoices, methods, payments
from core import clock, jobs
from notifications.models import Notification
from notifications.services import messages
from tenants.choices import Right
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.selectors.people import holders

_KIND = "billing.payment"


def sweep() -> int:
    """Have each open invoice looked at whose next day has come; how many."""
    found = 0
    for invoice in Invoice.objects.filter(state=InvoiceState.OPEN, opened_at__isnull=False):
        if invoice.due_minor and (is_given_up(invoice) or next_step(invoice) is not None):
            jobs.enqueue("billing.dun_invoice", invoice_id=str(invoice.pk))
            found += 1
    return found


def next_step(invoice: Invoice) -> int | None:
    """The day of the schedule that is due and was not tried; days that were missed are not made up for."""
    assert invoice.opened_at is not None
    days = (clock.now() - invoice.opened_at).days
    passed = [day for day in settings.DUNNING_DAYS if day <= days]
    if not passed:
        return None
    step = max(passed)
    return None if PaymentAttempt.objects.filter(invoice=invoice, step__gte=step).exists() else step


def is_given_up(invoice: Invoice) -> bool:
    """Whether its time is over; older invoices have no day of their own."""
    assert invoice.opened_at is not None
    day = invoice.give_up_at or invoice.opened_at + timedelta(days=settings.PAYMENT_UNCOLLECTIBLE_DAYS)
    return clock.now() >= day


def dun(invoice_id: UUID) -> PaymentAttempt | None:
    """Take the step that is due. Safe to run twice: a step is taken once."""
    invoice = Invoice.objects.get(pk=invoice_id)
    if invoice.state != InvoiceState.OPEN or not invoice.due_minor:
        return None
    step = next_step(invoice)
    attempt = None
    if step is not None and methods.default_of(invoice.tenant_id) is not None:
        attempt = payments.collect(invoice.pk, step=step)
        tell(invoice, attempt)
    elif step is not None:
        tell_no_card(invoice, step)
    invoice.refresh_from_db()
    if invoice.due_minor and is_given_up(invoice):
        invoices.write_off(invoice, actor=payments.SYSTEM, reason="Not paid in time.")
    return attempt


def tell(invoice: Invoice, attempt: PaymentAttempt | None) -> None:
    """Say to those who pay what they can do, when a payment did not go through."""
    if attempt is None or attempt.state not in (AttemptState.DECLINED, AttemptState.NEEDS_HOLDER):
        return
    tenant = Tenant.objects.get(pk=invoice.tenant_id)
    confirm = attempt.state == AttemptState.NEEDS_HOLDER
    title = f"Confirm the payment of {invoice.number}" if confirm else f"The payment of {invoice.number} was declined"
    body = (
        f"Your bank asks you to confirm {attempt.amount}."
        if confirm
        else f"{attempt.method} could not be charged {attempt.amount}. Save another card, or try again."
    )
    _notify(tenant, title, body, reverse("org:payments", kwargs={"org": tenant.slug}))


def tell_no_card(invoice: Invoice, step: int) -> None:
    """Say that there is no card to charge, once on each day of the schedule."""
    stops = owing.stop_of(invoice)
    title = f"There is no card to pay {invoice.number} with"
    age = f"have been due for {step} day{'' if step == 1 else 's'}" if step else "are due"
    body = f"{invoice.due} {age}. Save a card and pay the invoice. "
    if stops <= clock.now():
        body += "Tools with a price are stopped until it is paid."
    else:
        body += f"Otherwise tools with a price are stopped on {stops:%d %B %Y}."
    tenant = Tenant.objects.get(pk=invoice.tenant_id)
    _notify(tenant, title, body, reverse("org:cards", kwargs={"org": tenant.slug}), once=True)


def _notify(tenant: Tenant, title: str, body: str, url: str, *, once: bool = False) -> None:
    """To everybody who may pay. `once`: not again in the same words."""
    found = [(person.pk, person.email) for person in holders(tenant, Right.MANAGE_BILLING)]
    with tenant_scope(tenant):
        for user_id, email in found:
            told = Notification.objects.filter(kind=_KIND, recipient_id=user_id, title=title, body=body)
            if not once or not told.exists():
                messages.notify(kind=_KIND, title=title, body=body, url=url, recipient_id=user_id, email=email)
