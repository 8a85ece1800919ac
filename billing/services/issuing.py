"""From a closed month to its invoice: composed, opened, and the month marked as invoiced, each organisation by itself."""

from __future__ import annotations

import logging

from django.db import transaction
from django.urls import reverse

from audit import services as audit
from billing.core.months import from_number, month_of
from billing.models import Invoice
from billing.selectors import invoices as selectors
from billing.services import invoices, monthly, prepaid
from calls.models import Period, PeriodState
from calls.services import periods
from core import clock, jobs
from core.errors import MarketplaceError
from notifications import services as notifications
from notifications.models import Notification
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.jobs import each_tenant
from tenants.models import Tenant, User
from tenants.selectors.people import holders

log = logging.getLogger(__name__)

WAITING = "billing.invoice_waiting"
OPENED = "billing.invoice_opened"


def issue_due() -> int:
    """Issue what is due of every organisation; how many invoices were opened. One that fails keeps no other from its own."""
    opened = 0
    for tenant in each_tenant():
        for period in _closed(tenant):
            try:
                opened += issue(tenant, period)
            except (MarketplaceError, ValueError):
                log.exception("invoice not issued", extra={"schema": tenant.schema_name, "sequence": period.pk})
    return opened


def issue(tenant: Tenant, period: Period) -> bool:
    """Make the invoice of a closed period and open it; whether it was. One with warnings waits for an operator."""
    with platform_scope():
        invoice = monthly.draft(tenant, from_number(period.pk))
        if invoice is None:
            _mark(tenant, period.pk)
            return False
        if invoice.warnings:
            _tell_operators(invoice)
            return False
        open_draft(invoice)
        return True


def open_draft(invoice: Invoice, *, actor: audit.Party = audit.SYSTEM, despite_warnings: bool = False) -> Invoice:
    """Open a draft, mark its period and tell the organisation, all or nothing."""
    with platform_scope(), transaction.atomic():
        opened = invoices.open(invoice, actor=actor, despite_warnings=despite_warnings)
        if opened.period_id is not None:
            _mark(opened.tenant, opened.period_id)
        _tell_organisation(opened)
        jobs.enqueue("billing.render_invoice", invoice_id=str(opened.pk))
    return opened


def preview(tenant: Tenant) -> monthly.Preview:
    """What this month's invoice would say if the month ended now: the same code as the invoice."""
    month = month_of(clock.now())
    with platform_scope():
        _, made = monthly.compose(tenant, month)
    return monthly.Preview(month, made, selectors.sections(made.lines, made.currency))


def _closed(tenant: Tenant) -> list[Period]:
    with tenant_scope(tenant):
        return list(Period.objects.filter(state=PeriodState.CLOSED).order_by("id"))


def _mark(tenant: Tenant, period_id: int) -> None:
    """With the usage that an invoice takes over, what gateways count of prepaid credit goes on as it was."""
    with transaction.atomic():
        prepaid.take_over(tenant, period_id)
        with tenant_scope(tenant):
            periods.mark_invoiced(period_id)


def _tell_operators(invoice: Invoice) -> None:
    """Once, until it is read."""
    title = f"The invoice of {invoice.tenant.name} for {invoice.month:%B %Y} waits for you"
    for person in User.objects.filter(is_staff=True, is_active=True):
        told = Notification.objects.filter(kind=WAITING, recipient_id=person.pk, title=title[:200], read_at=None)
        if not told.exists():
            notifications.notify(
                kind=WAITING,
                title=title,
                body=" ".join(str(warning["text"]) for warning in invoice.warnings),
                url=reverse("operations-billing"),
                recipient_id=person.pk,
                email=person.email,
            )


def _tell_organisation(invoice: Invoice) -> None:
    """In the inbox; the mail with the document goes to whom the billing profile names."""
    url = reverse("org:invoice", args=[invoice.tenant.slug, invoice.pk])
    people = holders(invoice.tenant, Right.VIEW_BILLING)
    with tenant_scope(invoice.tenant):
        for person in people:
            title = f"Invoice {invoice.number}: {invoice.total}"
            if not Notification.objects.filter(kind=OPENED, recipient_id=person.pk, url=url).exists():
                notifications.notify(kind=OPENED, title=title, url=url, recipient_id=person.pk)
