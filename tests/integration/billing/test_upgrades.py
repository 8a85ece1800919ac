"""A larger plan is invoiced at once, and its charge stands on one invoice whatever happens to the job."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from billing.models import Invoice, InvoiceKind, InvoiceState, LineKind, PlanVersion
from billing.services import monthly, upgrades
from billing.tasks.invoices import invoice_upgrade
from core import clock
from tenants.context import platform_scope
from tests.integration.billing.test_plans import plan, take
from tests.support.four_eyes import void

MAY = datetime(2027, 5, 1, tzinfo=UTC)
TENTH, TWENTIETH = datetime(2027, 6, 10, tzinfo=UTC), datetime(2027, 6, 20, tzinfo=UTC)
JUNE = date(2027, 6, 1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def scope(cast):
    with platform_scope():
        yield


def changes(cast):
    """Charges of plans that the month's own invoice would name."""
    _, made = monthly.compose(cast.acme, JUNE)
    return [line.key for line in made.lines if line.kind == "proration"]


def test_what_was_taken_is_invoiced_once_and_leaves_the_month_s_invoice(cast):
    taken = take(cast, "pro", TENTH)
    [key] = changes(cast)
    with clock.frozen(TENTH):
        for _ in range(2):
            invoice_upgrade.run(subscription_id=str(taken.pk))
    [invoice] = Invoice.objects.filter(tenant=cast.acme, kind=InvoiceKind.UPGRADE)
    assert [line.key for line in invoice.lines.exclude(kind=LineKind.TAX)] == [key]
    # 21 of 30 days of 29.00.
    assert (invoice.state, invoice.net_minor) == (InvoiceState.OPEN, 2_030)
    assert invoice.number
    assert changes(cast) == []


def test_one_that_is_void_is_on_the_month_s_invoice_again(cast):
    taken = take(cast, "pro", TENTH)
    with clock.frozen(TENTH):
        invoice = upgrades.invoice(taken.pk)
        void(invoice)
        assert len(changes(cast)) == 1


def test_a_job_that_comes_after_the_month_leaves_the_charge_to_the_month_s_invoice(cast):
    taken = take(cast, "pro", TWENTIETH)
    with clock.frozen(datetime(2027, 7, 1, tzinfo=UTC)):
        assert upgrades.invoice(taken.pk) is None
    assert len(changes(cast)) == 1


def test_two_changes_in_a_month_are_two_invoices(cast):
    PlanVersion.objects.create(plan=plan("enterprise"), tenant=cast.acme, price_minor=30_000, effective_from=MAY)
    first = take(cast, "pro", TENTH)
    with clock.frozen(TENTH):
        upgrades.invoice(first.pk)
    second = take(cast, "enterprise", TWENTIETH, by_operator=True)
    with clock.frozen(TWENTIETH):
        upgrades.invoice(second.pk)
    rows = Invoice.objects.filter(tenant=cast.acme, kind=InvoiceKind.UPGRADE).order_by("opened_at")
    # The difference for 11 of 30 days.
    assert [row.net_minor for row in rows] == [2_030, 11_000 - 1_063]
    assert changes(cast) == []
