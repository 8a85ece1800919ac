"""What takes back billed money is proposed by one operator and decided by another one, and Postgres holds it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from audit.models import AuditEvent
from audit.services import SYSTEM
from billing.core.postings import AR, of
from billing.models import (
    CreditNote,
    CreditTarget,
    Invoice,
    InvoiceState,
    PaymentAttempt,
    Proposal,
    ProposalAct,
    Refund,
)
from billing.selectors import ledger
from billing.services import credits as crediting
from billing.services import dunning, invoices, proposals, refunds
from billing.services.credits import LineCredit
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError
from notifications.models import Notification
from tenants.context import platform_scope
from tenants.models import Membership
from tests.support.four_eyes import agree, operator
from tests.support.invoices import draft, usage
from tests.support.operators import prove


@pytest.fixture
def ground(cast):
    with platform_scope():
        yield cast


@pytest.fixture
def invoice(ground) -> Invoice:
    return invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 50_000)]))


@pytest.fixture
def otto(ground):
    return operator()


def lines(invoice, minor: int) -> list[LineCredit]:
    return [LineCredit(invoice.lines.get(kind="usage").pk, minor)]


def credit(invoice, minor, person, key="one", to=CreditTarget.BALANCE):
    return proposals.credit(invoice, lines(invoice, minor), reason="Outage", key=key, operator=person, to=to)


def state(invoice) -> str:
    return Invoice.objects.get(pk=invoice.pk).state


class TestDeciding:
    def test_another_operator_s_yes_does_it(self, ground, invoice, otto):
        made = proposals.propose(invoice, ProposalAct.VOID, reason="Wrong price", operator=ground.olga)
        assert state(invoice) == InvoiceState.OPEN
        with pytest.raises(ConflictError, match="yourself"):
            proposals.approve(proposal_id=made.pk, operator=ground.olga)

        proposals.approve(proposal_id=made.pk, operator=otto)

        assert state(invoice) == InvoiceState.VOID
        assert ledger.of_invoice(invoice.pk, of(AR, ground.acme.pk)) == 0
        said = AuditEvent.objects.filter(target_id=str(made.pk)).values_list("action", "actor_label")
        assert sorted(said) == [
            ("billing:proposal:approved", otto.email),
            ("billing:proposal:made", ground.olga.email),
        ]

    def test_both_are_told(self, ground, invoice, otto):
        made = proposals.propose(invoice, ProposalAct.WRITE_OFF, reason="Insolvent", operator=ground.olga)
        waits = Notification.objects.filter(kind="billing.proposal_waits", title__contains=str(invoice))
        assert otto.pk in set(waits.values_list("recipient_id", flat=True))
        assert ground.olga.pk not in set(waits.values_list("recipient_id", flat=True))
        proposals.reject(proposal_id=made.pk, operator=otto, reason="They pay on Monday")

        [told] = Notification.objects.filter(kind="billing.proposal_decided", recipient_id=ground.olga.pk)
        assert "They pay on Monday" in told.body
        assert state(invoice) == InvoiceState.OPEN

    def test_who_proposed_it_may_withdraw_it_and_nothing_is_decided_twice(self, ground, invoice, otto):
        made = proposals.propose(invoice, ProposalAct.VOID, reason="Wrong", operator=ground.olga)
        with pytest.raises(ConflictError, match="waits for another operator already"):
            proposals.propose(invoice, ProposalAct.WRITE_OFF, reason="Wrong", operator=otto)
        assert proposals.reject(proposal_id=made.pk, operator=ground.olga, reason="Right").state == "withdrawn"
        with pytest.raises(ConflictError, match="withdrawn"):
            proposals.approve(proposal_id=made.pk, operator=otto)
        assert proposals.propose(invoice, ProposalAct.WRITE_OFF, reason="Gone", operator=otto).state == "waiting"

    def test_nobody_decides_who_is_no_operator_or_belongs_to_the_organisation(self, ground, invoice, otto):
        made = proposals.propose(invoice, ProposalAct.VOID, reason="Wrong", operator=ground.olga)
        with pytest.raises(ForbiddenError):
            proposals.approve(proposal_id=made.pk, operator=ground.charlie)
        Membership.objects.create(tenant=ground.acme, user=otto, role="member")
        with pytest.raises(ForbiddenError, match="member of"):
            proposals.approve(proposal_id=made.pk, operator=otto)
        assert state(invoice) == InvoiceState.OPEN

    def test_what_cannot_be_done_any_more_is_not_approved(self, ground, invoice, otto):
        made = proposals.propose(invoice, ProposalAct.VOID, reason="Wrong", operator=ground.olga)
        invoices.settle(invoice, 1, key="pi:1")
        with pytest.raises(ConflictError, match="Money has moved"):
            proposals.approve(proposal_id=made.pk, operator=otto)

        assert Proposal.objects.get(pk=made.pk).state == "waiting"

    @pytest.mark.parametrize("reason", ["", "  "])
    def test_a_reason_is_asked_for(self, ground, invoice, reason):
        with pytest.raises(InvalidError):
            proposals.propose(invoice, ProposalAct.VOID, reason=reason, operator=ground.olga)


class TestCreditNotes:
    def test_small_ones_need_one_operator_until_they_are_large_together(self, ground, invoice, otto):
        assert isinstance(credit(invoice, 9_000, ground.olga), CreditNote)
        assert isinstance(credit(invoice, 9_000, ground.olga), CreditNote), "the same note again"
        made = credit(invoice, 2_000, ground.olga, "two")
        assert isinstance(made, Proposal)
        with pytest.raises(ForbiddenError, match="at most"):
            crediting.issue(invoice, lines(invoice, 2_000), reason="Outage", key="three", actor=SYSTEM)
        proposals.approve(proposal_id=made.pk, operator=otto)

        notes = CreditNote.objects.filter(invoice=invoice).order_by("total_minor")
        assert [(note.total_minor, note.proposal_id) for note in notes] == [(2_000, made.pk), (9_000, None)]
        assert invoices.lock(invoice.pk).owed_minor == 39_000

    def test_what_was_agreed_leaves_the_limit_as_it_was(self, ground, invoice, otto):
        made = credit(invoice, 20_000, ground.olga)
        proposals.approve(proposal_id=made.pk, operator=otto)

        assert isinstance(credit(invoice, 10_000, ground.olga, "two"), CreditNote)

    def test_a_refund_without_a_note_is_small(self, ground, invoice, settings):
        attempt = paid(invoice)
        with pytest.raises(ForbiddenError, match="at most"):
            refunds.ask(attempt, 10_001, key="r1", reason="Wrong", actor=SYSTEM)
        refunds.ask(attempt, 6_000, key="r2", reason="Wrong", actor=SYSTEM)
        with pytest.raises(ForbiddenError):
            refunds.ask(attempt, 6_000, key="r3", reason="Wrong", actor=SYSTEM)
        settings.BILLING_ALONE_MINOR = 1_000_000
        row = refunds.ask(attempt, 6_000, key="r3", reason="Wrong", actor=SYSTEM)
        with refused("beyond its limit"):
            Refund.objects.filter(pk=row.pk).update(minor=6_000, alone_minor=11_999)

    def test_a_large_one_to_the_card_takes_its_refunds_along(self, ground, invoice, otto):
        attempt = paid(invoice)
        made = credit(invoice, 30_000, ground.olga, to=CreditTarget.CARD)
        assert not Refund.objects.filter(attempt=attempt).exists()
        proposals.approve(proposal_id=made.pk, operator=otto)

        [row] = Refund.objects.filter(attempt=attempt)
        assert (row.minor, row.note.proposal_id) == (30_000, made.pk)


def paid(invoice) -> PaymentAttempt:
    """By card, as far as books and rows go."""
    from billing.models import PaymentMethod
    from billing.services import ledger_events

    card = PaymentMethod.objects.create(
        tenant=invoice.tenant, external_id="pm_x", brand="visa", last4="4242", exp_month=1, exp_year=2040
    )
    invoices.settle(invoice, 50_000, key="pi:1")
    ledger_events.payment_succeeded(invoice, 50_000, payment_id="pi_x")
    return PaymentAttempt.objects.create(
        tenant=invoice.tenant, invoice=invoice, method=card, customer="cus_x", minor=50_000, currency="USD",
        key=f"attempt:{invoice.pk}", state="succeeded", external_id="pi_x",
    )  # fmt: skip


class refused:  # noqa: N801 - reads as a word
    """Postgres refuses it, with these words."""

    def __init__(self, words: str) -> None:
        self._raises, self._point = pytest.raises(IntegrityError, match=words), transaction.atomic()

    def __enter__(self) -> None:
        self._raises.__enter__()
        self._point.__enter__()

    def __exit__(self, *error) -> bool:
        self._point.__exit__(*error)
        return bool(self._raises.__exit__(*error))


class TestPostgres:
    """Whoever asks, past the services."""

    def test_no_open_invoice_is_voided_or_written_off_without_two(self, ground, invoice):
        with refused("voided by two operators"):
            Invoice.objects.filter(pk=invoice.pk).update(state="void", voided_at=clock.now())
        for moment in (None, invoice.give_up_at - timedelta(seconds=1)):
            with refused("before its time"):
                Invoice.objects.filter(pk=invoice.pk).update(state="uncollectible", written_off_at=moment)
        with refused("is a document"):
            Invoice.objects.filter(pk=invoice.pk).update(give_up_at=clock.now())

    def test_an_agreement_is_for_its_act_alone(self, ground, invoice):
        agree(invoice, ProposalAct.WRITE_OFF)
        other = invoices.open(draft(ground.globex, [usage(ground.payments.provider_id, 50_000)]))

        with refused("two operators"):
            Invoice.objects.filter(pk=other.pk).update(state="void")
        with refused("two operators"):
            Invoice.objects.filter(pk=other.pk).update(state="uncollectible", written_off_at=clock.now())

    def test_one_person_is_not_two(self, ground, invoice, otto):
        made = proposals.propose(invoice, ProposalAct.VOID, reason="Wrong", operator=ground.olga)
        row = Proposal.objects.filter(pk=made.pk)
        for decided_by in (None, ground.olga, ground.charlie):
            with refused("by another operator"):
                row.update(state="approved", decided_by=decided_by)
        with refused("stays what it is"):
            row.update(minor=1)
        with refused("stays what it is"):
            row.update(proposed_by=otto)
        with refused("stays what it is"):
            row.delete()
        row.update(state="approved", decided_by=otto)
        with refused("stays what it is"):
            row.update(state="waiting")

    def test_none_is_born_approved(self, ground, invoice, otto):
        with refused("begins by waiting"):
            Proposal.objects.create(
                act="void", invoice=invoice, minor=1, currency="USD", reason="x", state="approved",
                proposed_by=ground.olga, proposed_label="x", decided_by=otto,
            )  # fmt: skip

    def test_no_note_is_larger_than_its_limit_or_than_what_was_agreed(self, ground, invoice, otto, settings):
        made = credit(invoice, 20_000, ground.olga)
        form = {
            "invoice": invoice, "tenant": invoice.tenant, "currency": "USD", "net_minor": 20_000, "tax_minor": 0,
            "total_minor": 20_000, "owed_minor": 20_000, "reason": "x", "issued_by": "x", "target": "balance",
        }  # fmt: skip
        with refused("beyond its limit"):
            CreditNote.objects.create(key="n1", number="n1", alone_minor=19_999, **form)
        with refused("two operators agreed"):
            CreditNote.objects.create(key="n2", number="n2", proposal=made, **form)
        Proposal.objects.filter(pk=made.pk).update(state="approved", decided_by=otto)
        with refused("two operators agreed"):
            more = form | {"net_minor": 20_001, "total_minor": 20_001, "owed_minor": 20_001}
            CreditNote.objects.create(key="n3", number="n3", proposal=made, **more)


def test_what_nobody_paid_in_time_is_given_up_without_anybody(ground, invoice):
    with clock.frozen(invoice.give_up_at - timedelta(seconds=1)):
        with pytest.raises(ForbiddenError):
            invoices.write_off(invoice, actor=SYSTEM, reason="Not paid in time.")
        assert not dunning.is_given_up(invoice)
    with clock.frozen(invoice.give_up_at):
        dunning.dun(invoice.pk)

    assert state(invoice) == InvoiceState.UNCOLLECTIBLE


def test_operators_walk_it_on_their_pages(cast, settings):
    settings.STAFF_MFA_REQUIRED = False
    with platform_scope():
        invoice = invoices.open(draft(cast.acme, [usage(cast.payments.provider_id, 50_000)]))
    first, second = browser(cast.olga), browser(operator())
    here = f"/operations/billing/invoices/{invoice.pk}/"
    line = invoice.lines.get(kind="usage")
    form = {"action": "credit", "reason": "Outage of a day", f"credit-{line.pk}": "20000", "key": "k"}
    assert "another operator approves it" in first.post(here, form, follow=True).content.decode()

    page = first.get(here).content.decode()
    assert "Outage of a day" in page
    made = invoice.proposals.get()
    there = f"/operations/billing/proposals/{made.pk}/"
    assert there in page
    assert there in second.get("/operations/billing/proposals/").content.decode()
    assert "Withdraw" in first.get(there).content.decode()
    assert "200.00" in second.get(there).content.decode()
    assert "yourself" in first.post(there, {"decision": "approve"}, follow=True).content.decode()
    assert "approved" in second.post(there, {"decision": "approve"}, follow=True).content.decode()
    assert CreditNote.objects.get(invoice=invoice).total_minor == 20_000


def test_who_decides_proves_that_it_is_them(cast, settings):
    settings.STAFF_MFA_REQUIRED = False
    with platform_scope():
        invoice = invoices.open(draft(cast.acme, [usage(cast.payments.provider_id, 50_000)]))
        made = proposals.propose(invoice, ProposalAct.VOID, reason="Wrong", operator=cast.olga)
    otto = operator()
    client = Client()
    client.force_login(otto)
    session = client.session
    session.pop("account_authentication_methods", None)
    session.save()
    answer = client.post(f"/operations/billing/proposals/{made.pk}/", {"decision": "approve"})

    assert "reauthenticate" in answer["Location"]
    assert state(invoice) == InvoiceState.OPEN


def browser(person) -> Client:
    made = Client()
    made.force_login(person)
    prove(made, person)
    return made
