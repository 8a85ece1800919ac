"""What was billed ahead for a plan is earned when its time is over: once, and only what was invoiced and kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from audit.services import SYSTEM
from billing.core import postings
from billing.models import Invoice, LedgerTransaction
from billing.selectors import ledger as reading
from billing.services import credits as crediting
from billing.services import invoices, plan_revenue
from core import clock
from tenants.context import platform_scope
from tests.support import invoices as support
from tests.support.four_eyes import void

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
AFTER = datetime(2026, 12, 1, tzinfo=UTC)
SUBSCRIPTION = UUID("019ac000-0000-7000-8000-000000000001")


@pytest.fixture
def lines():
    return [
        support.plan(2900, key=f"plan:{SUBSCRIPTION}:2026-11"),
        support.plan(500, kind="proration", key=f"plan:{uuid4()}:start", label="Pro, from 1 November 2026"),
    ]


@pytest.fixture
def invoice(cast, lines) -> Invoice:
    with platform_scope(), clock.frozen(NOVEMBER + timedelta(hours=6)):
        return invoices.open(support.draft(cast.acme, lines))


def earn(at: datetime) -> int:
    with clock.frozen(at):
        return plan_revenue.earn_due()


def deferred(invoice: Invoice) -> int:
    return -reading.of_invoice(invoice.pk, postings.DEFERRED_SUBSCRIPTION)


def bookings(invoice: Invoice) -> list[LedgerTransaction]:
    return list(LedgerTransaction.objects.filter(invoice_id=invoice.pk, kind="month_earned"))


def test_nothing_is_earned_before_its_time_is_over(invoice):
    earn(AFTER - timedelta(seconds=1))

    assert (bookings(invoice), deferred(invoice)) == ([], 3400)


def test_each_line_is_earned_once_when_it_is_over(invoice):
    earn(AFTER)
    first = bookings(invoice)
    earn(AFTER + timedelta(days=40))

    assert bookings(invoice) == first
    assert f"sub:{SUBSCRIPTION}:2026-11:{invoice.pk}" in {each.idempotency_key for each in first}
    assert {each.effective_at for each in first} == {AFTER}
    assert (deferred(invoice), -reading.of_invoice(invoice.pk, postings.SUBSCRIPTION)) == (0, 3400)


def test_a_draft_earns_nothing(cast, lines):
    with platform_scope():
        draft = support.draft(cast.acme, lines)
    earn(AFTER)

    assert bookings(draft) == []


def test_a_void_invoice_earns_nothing(invoice):
    with platform_scope():
        void(invoice)
    earn(AFTER)

    assert bookings(invoice) == []


def test_what_a_credit_note_took_back_is_not_earned(invoice):
    with platform_scope():
        line = invoice.lines.get(minor=2900)
        taken = [crediting.LineCredit(line.pk, 2900)]
        crediting.issue(invoice, taken, reason="Not what was agreed", key=str(uuid4()), actor=SYSTEM)
    earn(AFTER)

    assert (deferred(invoice), -reading.of_invoice(invoice.pk, postings.SUBSCRIPTION)) == (0, 500)
    assert len(bookings(invoice)) == 1
