"""The page of operators about revenue: what it says adds up to the ledger, whichever way it is cut."""

from __future__ import annotations

import csv
import io
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta

import pytest

from audit.services import SYSTEM
from billing.core import postings
from billing.models import LedgerPosting
from billing.selectors import revenue as reading
from billing.selectors.revenue import By
from billing.services import credits as crediting
from billing.services import invoices, ledger_events
from billing.services.credits import LineCredit
from core import clock
from tenants.context import platform_scope
from tests.support.four_eyes import void, write_off
from tests.support.invoices import draft, plan, usage

# A year that no other test books in.
FIRST, LAST = date(2019, 1, 1), date(2019, 3, 1)
HERE = "?from=2019-01&to=2019-03"


def on(day: int, month: int = 1) -> AbstractContextManager[None]:
    return clock.frozen(datetime(2019, month, day, 12, tzinfo=UTC))


@pytest.fixture
def year(cast):
    """January: two invoices, one paid with its fee, one void in February, when a third is written off."""
    provider = cast.payments.provider_id
    with platform_scope():
        with on(10):
            first = invoices.open(draft(cast.acme, [usage(provider, 10_000), plan(2_900)], month=date(2018, 12, 1)))
            second = invoices.open(draft(cast.globex, [usage(provider, 5_000)], month=date(2018, 12, 1)))
        with on(31):
            ledger_events.payment_succeeded(first, 12_900, payment_id="pi_revenue")
            ledger_events.processor_fee(404, currency="USD", transaction_id="txn_revenue")
            invoices.settle(first, 12_900, key="pi_revenue")
            ledger_events.month_earned(first, 2_900, subscription_id=cast.acme.pk, month="2019-01", at=clock.now())
        with on(1, 2):
            void(second)
            line = first.lines.get(kind="usage")
            crediting.issue(first, [LineCredit(line.pk, 1_000)], reason="Outage", key="revenue", actor=SYSTEM)
            ledger_events.refunded(cast.acme.pk, 1_000, currency="USD", refund_id="re_revenue", invoice_id=first.pk)
            third = invoices.open(draft(cast.globex, [usage(provider, 2_000)], month=date(2019, 1, 1)))
        with on(2, 2):
            write_off(third)
        yield cast


def month(number: int) -> reading.Month:
    return next(row for row in reading.by_month(FIRST, LAST, "USD") if row.month.month == number)


def test_a_month_says_what_was_booked_in_it(year):
    january, february = month(1), month(2)

    assert (january.usage, january.providers, january.platform, january.plans) == (15_000, 10_500, 4_500, 2_900)
    assert (january.fees, january.plans_earned, january.credited) == (404, 2_900, 0)
    assert january.result == 4_500 + 2_900 - 404
    # The void one is taken back in the month in which it was voided.
    assert (february.usage, february.platform) == (2_000 - 5_000, 600 - 1_500)
    assert (february.credited, february.refunded, february.written_off) == (1_000, 1_000, 2_000)
    # Of the third one the platform bears its own part only: the provider's share goes with it.
    assert february.result == 600 - 1_500 - 300 - 600
    assert (month(3).usage, month(3).result) == (0, 0)


def test_results_of_all_months_are_what_revenue_and_expense_accounts_hold(year):
    """Whatever other tests have left in the ledger."""
    moments = LedgerPosting.objects.values_list("transaction__effective_at", flat=True)
    first, last = (min(moments) - timedelta(days=1)).date(), (max(moments) + timedelta(days=1)).date()
    held = LedgerPosting.objects.filter(currency="USD").values_list("account__family", "amount")
    own = -sum(amount for family, amount in held if family.startswith(("R:", "E:")))

    assert reading.totals(reading.by_month(first.replace(day=1), last.replace(day=1), "USD")).result == own
    families = {family for family in postings.SINGLE if family.startswith(("R:", "E:"))}
    assert families == reading._REVENUE | reading._EXPENSES, "every account of revenue and expense is counted"


@pytest.mark.parametrize("by", list(By))
def test_each_way_to_cut_it_adds_up_to_the_ledger(year, by):
    found, whole = reading.by_part(by, FIRST, LAST, "USD"), reading.totals(reading.by_month(FIRST, LAST, "USD"))

    assert found.agrees
    billed = whole.plans if by is By.PLAN else whole.usage
    assert found.total("billed") == billed == (2_900 if by is By.PLAN else 12_000)
    assert found.total("credited") == (0 if by is By.PLAN else 1_000)


def test_a_server_has_its_calls_and_shares(year):
    [part] = reading.by_part(By.SERVER, FIRST, LAST, "USD").parts

    assert (part.label, part.detail, part.calls) == ("Payments", "Initech", 6_000)
    assert (part.billed, part.providers, part.platform) == (12_000, 8_400, 3_600)


def test_lines_that_do_not_add_up_are_told(year):
    with on(3):
        ledger_events.invoice_opened(
            Strange(year.acme.pk), postings.Parts(year.acme.pk, {year.payments.provider_id: 70}, platform=30)
        )

    assert not reading.by_part(By.SERVER, FIRST, LAST, "USD").agrees


class Strange:
    """An invoice that the ledger knows and no lines are of."""

    def __init__(self, tenant_id) -> None:
        self.pk = self.tenant_id = tenant_id
        self.currency = "USD"


class TestPages:
    @pytest.fixture
    def olga(self, cast, signed_in, settings):
        settings.STAFF_MFA_REQUIRED = False
        return signed_in(cast.olga)

    @pytest.mark.parametrize(
        ("by", "words"), [("month", "120.00"), ("server", "Payments"), ("provider", "add up to"), ("plan", "29.00")]
    )
    def test_they_show_it(self, year, olga, by, words):
        answer = olga.get(f"/operations/billing/revenue/{HERE}&by={by}")

        assert answer.status_code == 200
        assert words in answer.content.decode()

    @pytest.mark.parametrize(("by", "first", "count"), [("month", "2019-03", 3), ("server", "Payments", 1)])
    def test_the_same_rows_come_as_csv(self, year, olga, by, first, count):
        answer = olga.get(f"/operations/billing/revenue.csv{HERE}&by={by}")
        rows = list(csv.DictReader(io.StringIO(answer.content.decode())))

        assert len(rows) == count
        assert rows[0][by] == first
        if by == "server":
            assert (rows[0]["billed"], rows[0]["currency"]) == ("120.00", "USD")

    @pytest.mark.parametrize(
        "asked", ["?from=2019", "?from=2019-13", "?from=2019-03&to=2019-01", "?from=0001-01&to=9999-12"]
    )
    def test_what_is_no_span_is_told(self, olga, asked):
        assert olga.get(f"/operations/billing/revenue/{asked}").status_code == 422
        assert olga.get(f"/operations/billing/revenue.csv{asked}").status_code == 422

    def test_nobody_else_sees_it(self, cast, signed_in):
        assert signed_in(cast.diana).get("/operations/billing/revenue/").status_code == 404
