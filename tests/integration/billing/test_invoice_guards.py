"""What Postgres refuses, whoever asks: an open invoice is a document."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from billing.models import Invoice, InvoiceCounter, InvoiceLine, InvoiceState, LineKind, Settlement
from billing.services import numbers
from core.ids import uuid7
from tenants.context import platform_scope
from tests.support.four_eyes import void

MONTH = date(2026, 10, 1)
START, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def invoice(cast):
    with platform_scope():
        draft = Invoice.objects.create(tenant=cast.acme, month=MONTH, net_minor=100, total_minor=100)
        line(draft, 100)
        draft.state, draft.number = InvoiceState.OPEN, f"T-{uuid7()}"
        draft.save()
        yield draft


def line(invoice: Invoice, minor: int, position: int = 1) -> InvoiceLine:
    return InvoiceLine.objects.create(
        invoice=invoice,
        position=position,
        kind=LineKind.SUBSCRIPTION,
        key=f"plan:{position}",
        label="Pro",
        starts_at=START,
        ends_at=END,
        exact=Decimal(minor) / 100,
        minor=minor,
        currency="USD",
    )


def refused(action):
    with pytest.raises(IntegrityError), transaction.atomic():
        action()


@pytest.mark.parametrize(
    ("column", "value"),
    [("total_minor", 99), ("net_minor", 99), ("currency", "EUR"), ("number", "OTHER-1"), ("month", date(2026, 9, 1))],
)
def test_nothing_that_an_open_invoice_says_is_changed(invoice, column, value):
    refused(lambda: Invoice.objects.filter(pk=invoice.pk).update(**{column: value}))


def test_how_it_is_settled_may_change(invoice):
    Invoice.objects.filter(pk=invoice.pk).update(state="paid", paid_minor=100)

    invoice.refresh_from_db()
    assert invoice.state == InvoiceState.PAID


def test_what_was_paid_never_shrinks(invoice):
    Invoice.objects.filter(pk=invoice.pk).update(paid_minor=50)

    refused(lambda: Invoice.objects.filter(pk=invoice.pk).update(paid_minor=49))


@pytest.mark.parametrize("state", ["draft", "void", "uncollectible", "open"])
def test_a_paid_invoice_stays_paid(invoice, state):
    Invoice.objects.filter(pk=invoice.pk).update(state="paid")

    refused(lambda: Invoice.objects.filter(pk=invoice.pk).update(state=state))


def test_its_lines_are_not_added_changed_or_removed(invoice):
    refused(lambda: line(invoice, 5, position=2))
    refused(lambda: InvoiceLine.objects.filter(invoice=invoice).update(minor=99))
    refused(lambda: InvoiceLine.objects.filter(invoice=invoice)._raw_delete("default"))


def test_it_is_not_removed(invoice):
    refused(lambda: Invoice.objects.filter(pk=invoice.pk)._raw_delete("default"))


def test_an_invoice_whose_lines_do_not_sum_to_its_total_is_not_opened(cast):
    with platform_scope():
        draft = Invoice.objects.create(tenant=cast.globex, month=MONTH, net_minor=100, total_minor=100)
        line(draft, 99)

        refused(lambda: Invoice.objects.filter(pk=draft.pk).update(state="open", number="T-SUM"))


def test_no_invoice_begins_open(cast):
    with platform_scope():
        refused(lambda: Invoice.objects.create(tenant=cast.acme, month=MONTH, state="open", number="T-OPEN"))


def test_a_month_has_one_invoice_until_it_is_void(invoice, cast):
    refused(lambda: Invoice.objects.create(tenant=cast.acme, month=MONTH))
    with platform_scope():
        void(invoice)

    assert Invoice.objects.create(tenant=cast.acme, month=MONTH).state == InvoiceState.DRAFT


def test_settlements_only_grow(invoice):
    paid = Settlement.objects.create(invoice=invoice, key=f"t:{uuid7()}", source="payment", minor=1, currency="USD")

    refused(lambda: Settlement.objects.filter(pk=paid.pk).update(minor=2))
    refused(lambda: Settlement.objects.filter(pk=paid.pk)._raw_delete("default"))


def test_numbers_follow_each_other_and_a_failed_taking_leaves_no_gap(invoice, settings):
    settings.BILLING_ENTITY = "TEST"
    with transaction.atomic():
        first = numbers.take(numbers.INVOICES, START)
    with transaction.atomic():
        numbers.take(numbers.INVOICES, START)
        transaction.set_rollback(True)
    with transaction.atomic():
        second = numbers.take(numbers.INVOICES, START)

    assert (first, second) == ("TEST-INV-2026-000001", "TEST-INV-2026-000002")
    assert numbers.take(numbers.INVOICES, datetime(2027, 1, 1, tzinfo=UTC)) == "TEST-INV-2027-000001"
    assert numbers.take(numbers.CREDIT_NOTES, START) == "TEST-CN-2026-000001"


def test_a_counter_only_counts_on(invoice, settings):
    settings.BILLING_ENTITY = "TEST"
    numbers.take(numbers.INVOICES, START)
    own = InvoiceCounter.objects.filter(entity="TEST")

    refused(lambda: own.update(last=7))
    refused(lambda: own._raw_delete("default"))


def test_truncating_is_refused(cast):
    def truncate():
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE billing_document")

    refused(truncate)
