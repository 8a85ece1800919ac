"""Pages of operators about bills: the close of months, drafts that wait, and one invoice with what may be done about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods

from audit import services as audit
from billing.models import CreditTarget, Invoice, InvoiceState, Proposal, ProposalAct
from billing.selectors import closing as selectors
from billing.selectors import invoices as reading
from billing.selectors import reconciliation
from billing.services import credits as crediting
from billing.services import invoices, issuing, monthly, proposals
from billing.services.credits import LineCredit
from billing.web import steps
from core import clock
from core.errors import InvalidError, MarketplaceError
from core.money import Money
from tenants.requests import MarketRequest
from tenants.web.guards import person

PAGE_SIZE = 50
WAITS = "It is proposed. It is done when another operator approves it."


@require_http_methods(["GET", "HEAD", "POST"])
def cockpit(request: MarketRequest) -> HttpResponse:
    """Where each month stands. Posting opens the drafts that are chosen, warnings seen."""
    if request.method == "POST":
        return _open_chosen(request)
    context = {
        "months": selectors.months(),
        "red": reconciliation.red_count(),
        "drafts": reading.drafts(),
        "steps": steps.STEPS,
        "overdue": reading.past_due(clock.now())[:PAGE_SIZE],
        "page": Paginator(_sent(), PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return render(request, "operations/billing.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def operations_invoice(request: MarketRequest, invoice_id: UUID) -> HttpResponse:
    invoice = Invoice.objects.select_related("tenant").filter(pk=invoice_id).first()
    if invoice is None:
        raise Http404
    if request.method == "POST":
        return _act(request, invoice)
    lines = list(invoice.lines.all())
    left = crediting.left_of(invoice) if invoice.number else {}
    context: dict[str, Any] = {
        "invoice": invoice,
        "lines": [{"line": line, "left": Money(left.get(line.pk, 0), line.currency)} for line in lines],
        "notes": invoice.credit_notes.all(),
        "proposals": invoice.proposals.all(),
        "alone": Money(settings.BILLING_ALONE_MINOR, invoice.currency),
        "settlements": invoice.settlements.all(),
        "crumbs": [{"label": "Month close", "url": reverse("operations-billing")}, {"label": str(invoice)}],
    }
    return render(request, "operations/invoice.html", context)


def _sent() -> Any:
    return Invoice.objects.select_related("tenant").filter(number__isnull=False).order_by("-opened_at")


def _open_chosen(request: MarketRequest) -> HttpResponse:
    actor, opened = _operator(request), 0
    for invoice in reading.drafts().filter(pk__in=_uuids(request.POST.getlist("invoice"))):
        try:
            issuing.open_draft(invoice, actor=actor, despite_warnings=True)
            opened += 1
        except MarketplaceError as error:
            messages.error(request, f"{invoice.tenant.name}: {error.message} {error.next_step}".strip())
    if opened:
        messages.success(request, f"{opened} opened." if opened > 1 else "The invoice is open.")
    elif not request.POST.getlist("invoice"):
        messages.error(request, "Choose the drafts to open.")
    return redirect("operations-billing")


def _act(request: MarketRequest, invoice: Invoice) -> HttpResponse:
    acts: dict[str, Callable[[MarketRequest, Invoice], str]] = {
        "open": _open,
        "void": _void,
        "write_off": _write_off,
        "credit": _credit,
        "again": _again,
    }
    act = acts.get(request.POST.get("action", ""))
    if act is None:
        messages.error(request, "Choose what is to be done.")
        return redirect("operations-invoice", invoice.pk)
    try:
        messages.success(request, act(request, invoice))
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    return redirect("operations-invoice", invoice.pk)


def _open(request: MarketRequest, invoice: Invoice) -> str:
    opened = issuing.open_draft(invoice, actor=_operator(request), despite_warnings=True)
    return f"{opened.number} is open."


def _void(request: MarketRequest, invoice: Invoice) -> str:
    if invoice.state == InvoiceState.OPEN:
        proposals.propose(invoice, ProposalAct.VOID, reason=_reason(request), operator=person(request))
        return WAITS
    invoices.void(invoice, actor=_operator(request), reason=_reason(request))
    return "It is void. Its month may be billed again."


def _write_off(request: MarketRequest, invoice: Invoice) -> str:
    proposals.propose(invoice, ProposalAct.WRITE_OFF, reason=_reason(request), operator=person(request))
    return WAITS


def _again(request: MarketRequest, invoice: Invoice) -> str:
    if invoice.state != InvoiceState.VOID:
        raise InvalidError("Only the month of a void invoice is billed again.", code="billing.invoice_not_void")
    made = monthly.draft(invoice.tenant, invoice.month)
    return "The month has a draft again; it is on the page Month close." if made else "The month costs nothing."


def _credit(request: MarketRequest, invoice: Invoice) -> str:
    """Whole minor units of each line, from fields named by the line."""
    lines = [
        LineCredit(line.pk, _minor(request.POST.get(f"credit-{line.pk}", "")))
        for line in invoice.lines.exclude(kind="tax")
    ]
    made = proposals.credit(
        invoice,
        lines,
        reason=_reason(request),
        key=f"page:{request.POST.get('key', '')[:100] or request.request_id}",
        operator=person(request),
        to=CreditTarget.CARD if request.POST.get("to") == CreditTarget.CARD else CreditTarget.BALANCE,
    )
    return WAITS if isinstance(made, Proposal) else f"{made.number} gives back {made.total}."


def _minor(text: str) -> int:
    if not text.strip():
        return 0
    try:
        return int(text)
    except ValueError as error:
        raise InvalidError("Give whole minor units, such as 250 for 2.50.", code="billing.credit_amount") from error


def _reason(request: MarketRequest) -> str:
    reason = " ".join(request.POST.get("reason", "").replace("\x00", "").split())[:300]
    if not reason:
        raise InvalidError("Say why.", code="billing.reason_missing", next_step="Fill in the reason.")
    return reason


def _operator(request: MarketRequest) -> audit.Party:
    user = person(request)
    return audit.Party("operator", str(user.pk), user.email)


def _uuids(texts: list[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found


urls: list[URLPattern] = [
    path("", cockpit, name="operations-billing"),
    path("invoices/<uuid:invoice_id>/", operations_invoice, name="operations-invoice"),
    *steps.urls,
]
