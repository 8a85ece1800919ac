"""What two operators do in tests: one proposes it, another one approves it."""

from __future__ import annotations

from billing.models import Invoice, Proposal, ProposalAct
from billing.services import proposals
from core.ids import uuid7
from tenants.models import User
from tests.support.cast import make_person


def operator() -> User:
    """One whom no other test knows."""
    return make_person("Otto", f"{uuid7().hex}@marketplace.example", operator=True)


def agree(invoice: Invoice, act: ProposalAct, reason: str = "Wrong price") -> Proposal:
    made = proposals.propose(invoice, act, reason=reason, operator=operator())
    return proposals.approve(proposal_id=made.pk, operator=operator())


def void(invoice: Invoice) -> None:
    agree(invoice, ProposalAct.VOID)


def write_off(invoice: Invoice) -> None:
    agree(invoice, ProposalAct.WRITE_OFF)


def agreed(invoice: Invoice, act: str) -> None:
    """The row alone, for tests that do the rest themselves."""
    made = Proposal.objects.create(
        act=act, invoice=invoice, minor=1, currency="USD", reason="x", proposed_by=operator(), proposed_label="x"
    )
    Proposal.objects.filter(pk=made.pk).update(state=Proposal.State.APPROVED, decided_by=operator())
