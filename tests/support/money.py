"""Invoices, payments and rails for tests of what follows from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from billing.core.postings import Parts
from billing.gateways.rails import Answer, BatchOrder, ItemState, ItemStatus
from billing.models import Invoice, InvoiceLine, ProviderAccount
from billing.services import ledger_events, provider_accounts
from catalog.models import Provider
from core import clock
from core.errors import InvalidError, UnavailableError
from tenants.models import Tenant

_months = itertools.count()


def opened_invoice(
    tenant: Tenant, shares: Mapping[UUID, tuple[int, int]], *, subscription: int = 0, tax: int = 0
) -> Invoice:
    """An open invoice with a line for each provider: (its part, the platform's part) in minor units."""
    number = next(_months)
    month = date(2030 + number // 12, number % 12 + 1, 1)
    total = sum(a + b for a, b in shares.values()) + subscription + tax
    invoice = Invoice.objects.create(
        tenant=tenant, month=month, net_minor=total - tax, tax_minor=tax, total_minor=total
    )
    lines = [("usage", provider, a + b, a, b) for provider, (a, b) in shares.items()]
    lines += [("subscription", None, subscription, 0, 0)] * bool(subscription) + [("tax", None, tax, 0, 0)] * bool(tax)
    for position, (kind, provider, minor, part, rest) in enumerate(lines):
        InvoiceLine.objects.create(
            invoice=invoice, position=position, kind=kind, key=f"{kind}:{position}", label=kind.capitalize(),
            starts_at=datetime(month.year, month.month, 1, tzinfo=UTC), ends_at=datetime(month.year, month.month, 28, tzinfo=UTC),
            provider_id=provider, server_name="Payments" if provider else "", origin_month=month, quantity=Decimal(minor),
            exact=Decimal(minor) / 100, minor=minor, currency="USD", provider_minor=part, platform_minor=rest,
            share_bps=7000 if provider else None,
        )  # fmt: skip
    invoice.state, invoice.number, invoice.opened_at = "open", f"T-{uuid4()}", clock.now()
    invoice.save()
    parts = Parts(
        tenant.pk,
        {provider: a for provider, (a, _) in shares.items()},
        platform=sum(b for _, b in shares.values()),
        subscription=subscription,
        tax={"DE": tax} if tax else {},
    )
    ledger_events.invoice_opened(invoice, parts)
    return invoice


def paid(invoice: Invoice) -> Invoice:
    """The whole of it, by card, at this moment."""
    ledger_events.payment_succeeded(invoice, invoice.owed_minor, payment_id=f"pi_{invoice.pk}")
    invoice.paid_minor, invoice.state, invoice.paid_at = invoice.total_minor, "paid", clock.now()
    invoice.save()
    return invoice


def payable(provider: Provider, rail: str = "paypal", destination: str = "") -> ProviderAccount:
    """An account that has done all that is asked and has rested."""
    account = provider_accounts.account_of(provider)
    at = clock.now()
    account.legal_name, account.address, account.country, account.tax_form_at = "Initech Ltd", "Street 1", "DE", at
    account.rail = rail
    account.destination = destination or ("money@initech.example" if rail == "paypal" else "acct_1")
    account.destination_verified_at = account.known_at = account.active_since = at
    account.state = ProviderAccount.State.ACTIVE
    account.save()
    return account


class Counter:
    """A rail that keeps what it was told under its id, and answers for each item what the test says."""

    def __init__(self, status: ItemStatus = ItemStatus.SUCCESS) -> None:
        self.batches: dict[UUID, BatchOrder] = {}
        self.status, self.fee = status, 0
        self.loses_answers = self.refuses = False
        self.said: dict[UUID, ItemStatus] = {}

    def submit(self, batch: BatchOrder) -> Answer:
        if self.refuses:
            raise InvalidError("The account is limited.")
        kept = self.batches.setdefault(batch.batch_id, batch)
        assert kept.orders == batch.orders, "the same id with other payments"
        if self.loses_answers:
            raise UnavailableError("The connection broke.")
        return Answer(f"ext-{batch.batch_id}", tuple(self.poll(batch)))

    def poll(self, batch: BatchOrder) -> list[ItemState]:
        return [
            ItemState(
                order.item_id, self.said.get(order.item_id, self.status), f"tx-{order.item_id}", fee_minor=self.fee
            )
            for order in self.batches[batch.batch_id].orders
        ]
