"""A month from its calls to its invoice, by the same code as the preview; the sweep that issues what is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection

from billing.models import Invoice, InvoiceState, PriceVersion
from billing.services import issuing, monthly
from calls import rows
from calls.models import Call, Period, PeriodState
from calls.record import CallRecord, Outcome
from calls.services import periods
from core import clock
from core.ids import lowest_at, uuid7
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope


@pytest.fixture
def month(cast):
    """The open month of acme, with 7 paid calls in it."""
    with platform_scope():
        price = PriceVersion.objects.filter(server=cast.payments).get()
    with tenant_scope(cast.acme):
        ids = [_call(cast, price.pk) for _ in range(7)]
        return Period.objects.get(pk=Call.objects.get(pk=ids[0]).period_id)


def _call(cast, price_id: UUID) -> UUID:
    at = clock.now()
    record = CallRecord(
        UUID(int=lowest_at(at).int + uuid7().int % 2**60),
        cast.acme.schema_name,
        at,
        method="tools/call",
        server_id=cast.payments.pk,
        server_name="payments",
        tool="list_invoices",
        allowed=True,
        reason="allowed",
        outcome=Outcome.OK,
        http_status=200,
        billable=True,
        quantity=Decimal(1),
        price_version_id=price_id,
        provider_id=cast.payments.provider_id,
        price=Decimal("0.02"),
        currency="USD",
    )
    with connection.cursor() as cursor:
        cursor.execute(rows.insert_statement(cast.acme.schema_name), rows.encode([record]))
    return record.call_id


def sealed(cast, period: Period) -> Period:
    """As the close leaves it."""
    with tenant_scope(cast.acme), clock.frozen(period.ends_at + timedelta(hours=7)):
        periods.start_closing()
        return periods.close(period.pk)


def test_the_preview_says_what_the_invoice_will_say(cast, month):
    before = issuing.preview(cast.acme)
    issuing.issue(cast.acme, sealed(cast, month))
    with platform_scope():
        invoice = Invoice.objects.get(tenant=cast.acme)

        assert before.composition.total_minor == invoice.total_minor == 14
        assert [line.label for line in invoice.lines.all()] == [line.label for line in before.composition.lines]


def test_a_closed_month_is_issued_once_and_marked(cast, month):
    period = sealed(cast, month)
    assert issuing.issue(cast.acme, period)
    issuing.issue(cast.acme, period)

    with platform_scope():
        invoice = Invoice.objects.get(tenant=cast.acme)
        usage = invoice.lines.get(kind="usage")
        assert (invoice.state, invoice.period_id, usage.quantity) == (InvoiceState.OPEN, period.pk, 7)
        assert (usage.provider_minor, usage.platform_minor) == (10, 4)
    with tenant_scope(cast.acme):
        assert Period.objects.get(pk=period.pk).state == PeriodState.INVOICED
        [told] = Notification.objects.filter(kind="billing.invoice_opened", recipient_id=cast.alice.pk)
        assert invoice.number in told.title


def test_a_month_without_anything_to_pay_is_marked_and_has_no_invoice(cast):
    with tenant_scope(cast.acme):
        now = clock.now()
        period = Period.objects.get(starts_at=datetime(now.year, now.month, 1, tzinfo=UTC))
    issuing.issue(cast.acme, sealed(cast, period))

    with tenant_scope(cast.acme):
        assert Period.objects.get(pk=period.pk).state == PeriodState.INVOICED
    assert not Invoice.objects.filter(tenant=cast.acme).exists()


def test_a_doubtful_invoice_waits_and_operators_are_told_once(cast, month, monkeypatch):
    monkeypatch.setattr("billing.core.composing.LINES_MAX", 1)
    period = sealed(cast, month)
    assert not issuing.issue(cast.acme, period)
    assert not issuing.issue(cast.acme, period)

    with platform_scope():
        assert Invoice.objects.get(tenant=cast.acme).state == InvoiceState.DRAFT
        assert Notification.objects.filter(kind="billing.invoice_waiting", recipient_id=cast.olga.pk).count() == 1


def test_a_draft_that_is_made_again_is_the_same(cast, month):
    period = sealed(cast, month)
    with platform_scope():
        first = monthly.draft(cast.acme, _first_day(period))
        lines = list(first.lines.values_list("key", "minor", "exact", "quantity"))
        second = monthly.draft(cast.acme, _first_day(period))

        assert list(second.lines.values_list("key", "minor", "exact", "quantity")) == lines
        assert second.pk == first.pk


def _first_day(period: Period):
    return period.starts_at.date()
