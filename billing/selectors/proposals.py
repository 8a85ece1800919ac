"""Reading what one operator has proposed and another one decides."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Case, IntegerField, QuerySet, Value, When

from billing.models import InvoiceLine, Proposal
from core.money import Money

_WAITING_FIRST = Case(When(state=Proposal.State.WAITING, then=Value(0)), default=Value(1), output_field=IntegerField())


def proposals() -> QuerySet[Proposal]:
    return Proposal.objects.select_related("invoice__tenant").order_by(_WAITING_FIRST, "-created_at")


def waiting() -> QuerySet[Proposal]:
    return proposals().filter(state=Proposal.State.WAITING)


def proposal(proposal_id: UUID) -> Proposal | None:
    return Proposal.objects.select_related("invoice__tenant").filter(pk=proposal_id).first()


def lines(proposal: Proposal) -> list[tuple[InvoiceLine, Money]]:
    """What a credit note would take back, line by line; nothing for other acts."""
    wanted = {UUID(line): minor for line, minor in proposal.terms.get("lines", {}).items()}
    found = InvoiceLine.objects.filter(invoice=proposal.invoice_id, pk__in=wanted).order_by("position")
    return [(line, Money(wanted[line.pk], proposal.currency)) for line in found]
