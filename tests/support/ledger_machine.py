"""Any sequence of what can happen to invoices and payouts, on the real ledger, against a model of plain numbers.

Time jumps, answers of the rail are lost, jobs run in any order and as often as they like, everything is told twice, and work is
interrupted before its commit. After each step the ledger must balance and agree with the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing.core import postings
from billing.gateways import rails
from billing.gateways.rails import ItemStatus
from billing.models import (
    EarningRelease,
    Invoice,
    LedgerTransaction,
    PayoutBatch,
    PayoutItem,
    ProviderAccount,
    Statement,
)
from billing.selectors import ledger as reading
from billing.services import earnings, ledger, ledger_events, payout_statements, payouts
from catalog.models import Provider
from core import clock
from tenants.models import Tenant, User
from tests.support.four_eyes import agreed
from tests.support.money import Counter, opened_invoice, payable

START = datetime(2028, 1, 3, 9, tzinfo=UTC)
HOLDBACK = timedelta(days=14)
cents = st.integers(0, 50_000)
which = st.integers(0, 10_000)


class Interrupted(Exception):  # noqa: N818 - it stands for a killed process
    """The process died before its commit."""


@dataclass
class Bill:
    """What the model knows of an invoice."""

    invoice: Invoice
    shares: dict[UUID, int]
    platform: int
    due: int
    paid: int = 0
    state: str = "open"
    dispute: str = ""
    left: dict[UUID, int] = field(default_factory=dict)


def organisation(word: str) -> Tenant:
    """A row without a schema of its own: nothing here looks into one."""
    tag = uuid4().hex
    return Tenant.objects.create(name=f"{word} {tag[:6]}", slug=f"{word}-{tag[:12]}", schema_name=f"t_{tag[:26]}")


class LedgerMachine(RuleBasedStateMachine):
    operators: tuple[User, User]

    @initialize()
    def begin(self) -> None:
        self.now = START
        self.tenant = organisation("payer")
        self.providers = [
            Provider.objects.create(tenant=owner, name=owner.name, slug=owner.slug)
            for owner in (organisation("one"), organisation("two"))
        ]
        self.bills: list[Bill] = []
        self.credit = self.cash = 0
        self.earned = dict.fromkeys((provider.pk for provider in self.providers), 0)
        self.taken = dict.fromkeys(self.earned, 0)
        self.rails = {"paypal": Counter(), "connect": Counter()}
        rails.register("paypal", lambda: self.rails["paypal"])
        rails.register("connect", lambda: self.rails["connect"])
        self.before = {code: reading.balance(code) for code in (postings.STRIPE, postings.PAYPAL)}
        with clock.frozen(self.now):
            for provider, rail in zip(self.providers, self.rails, strict=True):
                payable(provider, rail)

    # -- What happens

    def once(self, act: Callable[[], Any]) -> Any:
        """Interrupted before the commit, then done, then told again: only one of the three leaves anything."""
        with clock.frozen(self.now):
            before = LedgerTransaction.objects.count()
            try:
                with transaction.atomic():
                    act()
                    raise Interrupted
            except Interrupted:
                assert LedgerTransaction.objects.count() == before
            done = act()
            after = LedgerTransaction.objects.count()
            act()
            assert LedgerTransaction.objects.count() == after
            return done

    def some(self, number: int, *states: str) -> Bill | None:
        found = [bill for bill in self.bills if bill.state in states]
        return found[number % len(found)] if found else None

    @rule(shares=st.tuples(cents, cents), platform=cents, subscription=cents, tax=cents)
    def bill(self, shares: tuple[int, int], platform: int, subscription: int, tax: int) -> None:
        by = {provider.pk: minor for provider, minor in zip(self.providers, shares, strict=True) if minor}
        lines = {who: (minor, platform if number == 0 else 0) for number, (who, minor) in enumerate(by.items())}
        platform = platform if by else 0
        with clock.frozen(self.now):
            invoice = opened_invoice(self.tenant, lines, subscription=subscription, tax=tax)
        for who, minor in by.items():
            self.earned[who] += minor
        self.bills.append(Bill(invoice, by, platform, invoice.total_minor, left=dict(by)))

    @rule(number=which, more=st.sampled_from([0, 0, 1, 777]))
    def pay(self, number: int, more: int) -> None:
        if (bill := self.some(number, "open", "written_off")) is None or not bill.invoice.total_minor:
            return
        if bill.state == "written_off":
            booked = self.once(lambda: ledger_events.recovered(bill.invoice))
            self.take(booked)
            bill.due = bill.invoice.total_minor - bill.paid - self.credited(bill)
        if not (minor := bill.due + more):
            return
        payment_id = f"pi_{uuid4()}"
        self.once(lambda: ledger_events.payment_succeeded(bill.invoice, minor, payment_id=payment_id))
        self.cash += minor
        self.credit += more
        bill.paid, bill.due, bill.state = bill.paid + bill.due, 0, "paid"
        Invoice.objects.filter(pk=bill.invoice.pk).update(state="paid", paid_at=self.now)

    @rule(number=which, part=st.integers(1, 99))
    def use_credit(self, number: int, part: int) -> None:
        if (bill := self.some(number, "open")) is None or not (minor := min(self.credit, bill.due * part // 100)):
            return
        key = str(uuid4())
        self.once(lambda: ledger_events.credit_used(bill.invoice, minor, key=key))
        self.credit -= minor
        bill.due -= minor
        bill.paid += minor

    @rule(number=which, part=st.integers(1, 100))
    def credit_note(self, number: int, part: int) -> None:
        bill = self.some(number, "open", "paid")
        if bill is None or bill.dispute or not (given := {who: left * part // 100 for who, left in bill.left.items()}):
            return
        total, note = sum(given.values()), uuid4()
        if not total:
            return
        self.once(lambda: ledger_events.credit_noted(bill.invoice, note_id=note, shares=given, platform=0))
        for who, minor in given.items():
            bill.left[who] -= minor
            self.taken[who] += minor
        lowered = min(total, bill.due)
        bill.due -= lowered
        self.credit += total - lowered
        if bill.state == "open" and not bill.due:
            bill.state = "paid"
            Invoice.objects.filter(pk=bill.invoice.pk).update(state="paid", paid_at=self.now)

    @rule(part=st.integers(1, 100))
    def refund(self, part: int) -> None:
        if minor := self.credit * part // 100:
            name = f"re_{uuid4()}"
            self.once(lambda: ledger_events.refunded(self.tenant.pk, minor, currency="USD", refund_id=name))
            self.credit -= minor
            self.cash -= minor

    @rule(number=which)
    def write_off(self, number: int) -> None:
        if (bill := self.some(number, "open")) is None or not bill.due:
            return
        self.take(self.once(lambda: ledger_events.written_off(bill.invoice)))
        bill.due, bill.state = 0, "written_off"
        agreed(bill.invoice, "write_off")
        Invoice.objects.filter(pk=bill.invoice.pk).update(state="uncollectible", written_off_at=self.now)

    @rule(number=which)
    def void(self, number: int) -> None:
        bill = self.some(number, "open")
        if bill is None or bill.paid or bill.left != bill.shares:
            return
        self.once(lambda: ledger_events.invoice_voided(bill.invoice))
        for who, minor in bill.shares.items():
            self.earned[who] -= minor
        bill.due, bill.state = 0, "void"
        agreed(bill.invoice, "void")
        Invoice.objects.filter(pk=bill.invoice.pk).update(state="void", voided_at=self.now)

    @rule(number=which, lost=st.booleans(), fee=st.sampled_from([0, 1500]))
    def dispute(self, number: int, lost: bool, fee: int) -> None:
        """The first call opens it, the next one decides."""
        if (bill := self.some(number, "paid")) is None or not bill.paid or bill.dispute == "over":
            return
        if not bill.dispute:
            bill.dispute = f"dp_{uuid4()}"
            self.once(lambda: ledger_events.dispute_opened(bill.invoice, bill.paid, dispute_id=bill.dispute))
            self.cash -= bill.paid
            return
        name, minor = bill.dispute, bill.paid
        if lost:
            self.take(
                self.once(lambda: ledger_events.dispute_lost(bill.invoice, minor, dispute_id=name, fee=fee)), bill
            )
            self.cash -= fee
        else:
            self.once(lambda: ledger_events.dispute_won(bill.invoice, minor, dispute_id=name))
            self.cash += minor
        bill.dispute = "over"

    @rule(days=st.sampled_from([1, 13, 14, 31, 90]))
    def time_passes(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule(times=st.integers(1, 2))
    def release(self, times: int) -> None:
        with clock.frozen(self.now):
            for _ in range(times):
                earnings.plan_due()
                earnings.release_due()

    @rule()
    def build(self) -> None:
        with clock.frozen(self.now):
            payouts.build()
            payouts.build()

    @rule(yes=st.booleans())
    def decide(self, yes: bool) -> None:
        with clock.frozen(self.now):
            for batch in self.batches(PayoutBatch.State.WAITING):
                if yes:
                    for operator in self.operators:
                        payouts.approve(batch_id=batch.pk, operator=operator)
                else:
                    payouts.reject(batch_id=batch.pk, operator=self.operators[0], reason="as the machine says")

    @rule(status=st.sampled_from(list(ItemStatus)), lost=st.booleans(), fee=st.sampled_from([0, 25]))
    def send(self, status: ItemStatus, lost: bool, fee: int) -> None:
        for rail in self.rails.values():
            rail.status, rail.loses_answers, rail.fee = status, lost, fee
        with clock.frozen(self.now):
            for batch in self.batches(PayoutBatch.State.APPROVED, PayoutBatch.State.SENDING):
                payouts.send(batch.pk)

    @rule(status=st.sampled_from(list(ItemStatus)))
    def poll(self, status: ItemStatus) -> None:
        """What had ended badly stays so: a rail pays nothing that it has given back."""
        over = set(self.items(PayoutItem.State.FAILED).values_list("pk", flat=True))
        for rail in self.rails.values():
            rail.said |= dict.fromkeys(over, ItemStatus.FAILED)
            rail.status = status
        with clock.frozen(self.now):
            for batch in self.batches(PayoutBatch.State.SENT, PayoutBatch.State.FINISHED):
                if batch.pk in self.rails[batch.rail].batches:
                    payouts.poll(batch)
                    payouts.poll(batch)

    @precondition(lambda self: len(self.bills) % 3 == 2)
    @rule()
    def sum_up(self) -> None:
        ledger.snapshot()

    # -- What must hold

    @invariant()
    def everything_balances(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        assert sum(total for _, currency, total in reading.trial_balance() if currency == "USD") == 0

    @invariant()
    def what_is_owed_is_what_invoices_say(self) -> None:
        assert reading.balance(postings.of(postings.AR, self.tenant.pk)) == sum(bill.due for bill in self.bills)
        assert -reading.balance(postings.of(postings.CUSTOMER_CREDIT, self.tenant.pk)) == self.credit

    @invariant()
    def providers_have_what_they_earned(self) -> None:
        for provider in self.providers:
            held = [
                -reading.balance(postings.of(family, provider.pk))
                for family in (postings.PENDING, postings.AVAILABLE, postings.TRANSIT)
            ]
            done = self.items(PayoutItem.State.DONE).filter(provider=provider)
            paid = sum(done.values_list("minor", flat=True))
            assert self.earned[provider.pk] == sum(held) + paid + self.taken[provider.pk]
            flying = self.items(PayoutItem.State.RESERVED, PayoutItem.State.TRAVELLING).filter(provider=provider)
            assert held[2] == sum(flying.values_list("minor", flat=True))

    @invariant()
    def our_money_is_where_the_outside_says(self) -> None:
        """A rail charges its fee for what arrived, also when it comes back later."""
        out = {"paypal": 0, "connect": 0}
        for item in self.items(*PayoutItem.State.values):
            charged = LedgerTransaction.objects.filter(idempotency_key=f"po:{item.pk}:fee").exists()
            out[item.batch.rail] += (
                item.minor if item.state == PayoutItem.State.DONE else 0
            ) + charged * item.fee_minor
        assert reading.balance(postings.PAYPAL) - self.before[postings.PAYPAL] == -out["paypal"]
        assert reading.balance(postings.STRIPE) - self.before[postings.STRIPE] == self.cash - out["connect"]

    @invariant()
    def nobody_is_paid_from_what_was_not_collected(self) -> None:
        for bill in self.bills:
            if bill.state == "void" or (bill.state == "written_off" and not bill.paid):
                assert all(ledger_events.pending_of(bill.invoice.pk, who) == 0 for who in bill.shares)
        rows = EarningRelease.objects.filter(provider__in=self.providers, released_at__isnull=False)
        for row in rows.select_related("invoice"):
            assert row.released_at >= (row.invoice.paid_at or row.invoice.written_off_at) + HOLDBACK

    @invariant()
    def statements_agree_with_the_ledger(self) -> None:
        for statement in Statement.objects.filter(provider__in=self.providers).select_related("item"):
            assert payout_statements.agrees(statement)

    # -- Helpers

    def take(self, booked: LedgerTransaction | None, bill: Bill | None = None) -> None:
        """Note what a booking took from providers, or gave back to them."""
        for account, minor in ledger.entries_of(booked)[0] if booked else []:
            if postings.family_of(account) in {postings.PENDING, postings.AVAILABLE}:
                who = UUID(postings.owner_of(account).id)
                self.taken[who] += minor
                if bill is not None:
                    bill.left[who] -= minor

    def credited(self, bill: Bill) -> int:
        return sum(bill.shares[who] - bill.left[who] for who in bill.shares)

    def batches(self, *states: str) -> list[PayoutBatch]:
        found = PayoutBatch.objects.filter(items__provider__in=self.providers, state__in=states)
        return list(found.distinct().order_by("created_at"))

    def items(self, *states: str):
        return PayoutItem.objects.select_related("batch").filter(provider__in=self.providers, state__in=states)

    def teardown(self) -> None:
        """The next sequence finds no account of this one to pay."""
        if hasattr(self, "providers"):
            ProviderAccount.objects.filter(provider__in=self.providers).update(state="suspended")
            PayoutBatch.objects.filter(items__provider__in=self.providers, state="waiting").update(state="rejected")
