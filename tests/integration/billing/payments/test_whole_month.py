"""One key's month with two providers: calls, the close, one invoice, its payment, and 70 % paid out on both rails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection

from audit.services import SYSTEM
from billing.core import postings
from billing.models import Invoice, PayoutItem, PriceVersion, ProviderAccount, SettlementSource, Statement
from billing.selectors import ledger as reading
from billing.services import earnings, invoices, issuing, ledger_events, payout_statements, payouts
from billing.services import prices as pricing
from calls import rows
from calls.models import Period
from calls.record import CallRecord, Outcome
from calls.services import periods
from catalog.models import Provider, Server
from core import clock
from core.ids import lowest_at, uuid7
from tenants.context import platform_scope, tenant_scope
from tests.support.cast import make_person, make_server
from tests.support.money import payable
from tests.support.payment_providers import client


@pytest.fixture
def month(cast) -> Period:
    with tenant_scope(cast.acme):
        now = clock.now()
        return Period.objects.get(starts_at=datetime(now.year, now.month, 1, tzinfo=UTC))


@pytest.fixture
def search(cast) -> Server:
    """A second provider's server, at 0.0333 a call."""
    with platform_scope():
        server = make_server(cast.globex, "search", "Search")
        pricing.set_price(server=server, rate=Decimal("0.0333"), actor=SYSTEM)
        return server


def calls(cast, server: Server, count: int, quantity: int, rate: str) -> None:
    with platform_scope():
        price = PriceVersion.objects.filter(server=server).get()
    now = clock.now()
    made = [
        CallRecord(
            UUID(int=lowest_at(now).int + uuid7().int % 2**60),
            cast.acme.schema_name,
            now,
            method="tools/call",
            server_id=server.pk,
            server_name=server.name,
            tool="list_invoices",
            allowed=True,
            reason="allowed",
            outcome=Outcome.OK,
            http_status=200,
            billable=True,
            quantity=Decimal(quantity),
            price_version_id=price.pk,
            provider_id=server.provider_id,
            price=Decimal(rate) * quantity,
            currency="USD",
        )
        for _ in range(count)
    ]
    with connection.cursor() as cursor:
        for record in made:
            cursor.execute(rows.insert_statement(cast.acme.schema_name), rows.encode([record]))


def test_what_acme_pays_is_what_two_providers_and_the_platform_have_to_the_cent(
    cast, month, search, over_paypal, paypal_fake, account, stripe_fake
):
    calls(cast, cast.payments, 7, 1001, "0.02")  # 140.14
    calls(cast, search, 3, 777, "0.0333")  # 77.6223
    before = {code: reading.balance(code) for code in (postings.STRIPE, postings.PAYPAL, postings.PLATFORM_FEE)}

    with clock.frozen(month.ends_at + timedelta(hours=7)):
        with tenant_scope(cast.acme):
            periods.start_closing()
            sealed = periods.close(month.pk)
        issuing.issue(cast.acme, sealed)
    with platform_scope():
        invoice = Invoice.objects.get(tenant=cast.acme)
        assert (invoice.total_minor, ledger_events.due(invoice)) == (14014 + 7762, 21776)

        paid_at = month.ends_at + timedelta(days=1)
        providers = [Provider.objects.get(pk=pk) for pk in (cast.payments.provider_id, search.provider_id)]
        with clock.frozen(paid_at):
            payable(providers[0], "paypal")
            payable(providers[1], "connect", account)
            ProviderAccount.objects.update(active_since=paid_at - timedelta(days=400))
            invoices.settle(invoice, 21776, key="pi_month", source=SettlementSource.PAYMENT)
            ledger_events.payment_succeeded(invoice, 21776, payment_id="pi_month")
        with clock.frozen(paid_at + timedelta(days=14)):
            earnings.plan_due()
            earnings.release_due()
            second = make_person("Otto", "otto@marketplace.example", operator=True)
            for batch in payouts.build():
                for operator in (cast.olga, second):
                    payouts.approve(batch_id=batch.pk, operator=operator)
            payouts.send_approved()
            paypal_fake.control("clock", ahead=10)
            payouts.poll_sent()

        shares = {
            item.provider_id: item.minor for item in PayoutItem.objects.filter(provider__in=providers, state="done")
        }
        assert shares == {providers[0].pk: 9810, providers[1].pk: 5433}
        fee = 100  # PayPal's most
        [transfer] = client(stripe_fake).v1.transfers.list({"destination": account}).data
        assert transfer.amount == 5433
        assert {code: reading.balance(code) - before[code] for code in before} == {
            postings.STRIPE: 21776 - 5433,
            postings.PAYPAL: -9810 - fee,
            postings.PLATFORM_FEE: -(21776 - 9810 - 5433),
        }
        for statement in Statement.objects.filter(provider__in=providers):
            assert payout_statements.agrees(statement)
            assert (statement.paid_minor, statement.closing_minor) == (shares[statement.provider_id], 0)
        assert sum(total for _, currency, total in reading.trial_balance() if currency == "USD") == 0
