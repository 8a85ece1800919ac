"""A larger plan is invoiced at once: the difference for the rest of the month, as an invoice of its own.

Where the job was lost, the month's invoice has the line under the same key: it is billed once either way.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from billing.core.charges import key_of_change
from billing.core.months import bounds, month_of
from billing.models import Invoice, InvoiceKind, Subscription
from billing.services import drafts, issuing, monthly, plans
from core import clock
from tenants.context import platform_scope


def invoice(subscription_id: UUID) -> Invoice | None:
    """The opened invoice of what taking a plan cost; None when it cost nothing, is billed, or its month is over."""
    with platform_scope(), transaction.atomic():
        row = Subscription.objects.select_related("tenant").filter(pk=subscription_id).first()
        if row is None or month_of(row.starts_at) != month_of(clock.now()):
            return None
        tenant, month = row.tenant, month_of(row.starts_at)
        plans.lock(tenant)
        wanted = key_of_change(row.pk)
        charges = [each for each in plans.charges(tenant, *bounds(month)) if each.key == wanted]
        if not charges or wanted in monthly.billed(tenant, month):
            return None
        made = drafts.compose(tenant, month, [monthly.of_plan(each) for each in charges])
        draft = Invoice.objects.create(tenant=tenant, month=month, kind=InvoiceKind.UPGRADE, currency=made.currency)
        drafts.fill(draft, made)
        # Somebody has just seen the amount and agreed to it.
        return issuing.open_draft(draft, despite_warnings=True)
