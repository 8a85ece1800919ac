"""Pages of invoices: the list, one with its lines, a line with its very calls, documents, and who is billed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from audit import services as audit
from billing.core.rating import plain
from billing.models import CreditNote, Document, Invoice, Statement
from billing.selectors import invoices as selectors
from billing.selectors import owing
from billing.services import documents, exports, issuing, methods, profiles
from billing.web import closing
from billing.web.tabs import tabs
from calls.selectors import billed
from core.errors import MarketplaceError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require, who_can
from tenants.web.guards import needs

PAGE_SIZE = 25


@require_safe
@needs(Right.VIEW_BILLING)
def invoice_list(request: OrganisationRequest, org: str) -> HttpResponse:
    page = Paginator(selectors.of_tenant(request.organisation), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "billing/invoices.html", {"page": page, "tabs": tabs(request, org, "invoices")})


@require_safe
@needs(Right.VIEW_BILLING)
def invoice_detail(request: OrganisationRequest, org: str, invoice_id: UUID) -> HttpResponse:
    invoice = selectors.find(request.organisation, invoice_id)
    lines = list(invoice.lines.all())
    may_pay = bool(owing.payable(invoice)) and request.membership.can(Right.MANAGE_BILLING)
    has_card = may_pay and methods.default_of(request.organisation.pk) is not None
    context = {
        "invoice": invoice,
        "sections": selectors.sections(lines, invoice.currency),
        "taxes": [line for line in lines if line.kind == "tax"],
        "notes": invoice.credit_notes.all(),
        "settlements": invoice.settlements.all(),
        "document": selectors.document(invoice),
        "may_pay": has_card,
        "needs_card": may_pay and not has_card,
        "crumbs": _crumbs(org, invoice),
    }
    return render(request, "billing/invoice.html", context)


@require_safe
@needs(Right.VIEW_BILLING)
def line_calls(request: OrganisationRequest, org: str, invoice_id: UUID, line_id: UUID) -> HttpResponse:
    """The calls of a line, and that they sum to what it says."""
    invoice = selectors.find(request.organisation, invoice_id)
    line = selectors.find_line(invoice, line_id)
    which = selectors.billed(line, invoice.period_id)
    calls = billed.page_of(which, limit=PAGE_SIZE + 1, before=_uuid(request.GET.get("before"))) if which else []
    summed = billed.sum_of(which) if which else None
    context: dict[str, Any] = {
        "invoice": invoice,
        "line": line,
        "price": selectors.price_in_words(line),
        "calls": [(call, plain(call.quoted_price or Decimal(0))) for call in calls[:PAGE_SIZE]],
        "older": f"?before={calls[PAGE_SIZE - 1].pk}" if len(calls) > PAGE_SIZE else "",
        "is_first": "before" not in request.GET,
        "summed": summed,
        "agrees": summed is not None and summed.quantity == line.quantity,
        "sees_calls": request.membership.can(Right.VIEW_CALLS),
        "crumbs": [*_crumbs(org, invoice, link=True), {"label": line.label}],
    }
    return render(request, "billing/line.html", context)


@require_safe
@needs(Right.VIEW_BILLING)
def invoice_pdf(request: OrganisationRequest, org: str, invoice_id: UUID) -> HttpResponse:
    return download(documents.of_invoice(selectors.find(request.organisation, invoice_id)))


@require_safe
@needs(Right.VIEW_BILLING)
def credit_note_pdf(request: OrganisationRequest, org: str, note_id: UUID) -> HttpResponse:
    return download(documents.of_note(selectors.find_note(request.organisation, note_id)))


@require_safe
def invoice_csv(request: OrganisationRequest, org: str, invoice_id: UUID) -> HttpResponseBase:
    """Every call of an invoice, a row each."""
    require(request.membership, Right.VIEW_BILLING)
    invoice = selectors.find(request.organisation, invoice_id)
    return exports.deliver(request, request.organisation, invoice, request.user)


@require_safe
@needs(Right.VIEW_BILLING)
def preview(request: OrganisationRequest, org: str) -> HttpResponse:
    found = issuing.preview(request.organisation)
    context = {"preview": found, "tabs": tabs(request, org, "preview")}
    return render(request, "billing/preview.html", context)


class ProfileForm(forms.Form):
    """Lengths and forms are the service's rules."""

    legal_name = forms.CharField(label="Legal name", required=False, help_text="As your company is registered.")
    street = forms.CharField(label="Street and number", required=False)
    street_more = forms.CharField(label="Address, second line", required=False)
    postal_code = forms.CharField(label="Postal code", required=False)
    city = forms.CharField(required=False)
    region = forms.CharField(label="State or region", required=False)
    country = forms.CharField(required=False, help_text="Two letters, such as DE or US.")
    tax_id = forms.CharField(label="VAT or tax id", required=False, help_text="With its country, such as DE123456789.")
    emails = forms.CharField(
        label="Send invoices to",
        required=False,
        help_text="Mail addresses, separated by commas. Without any, everybody who may see bills gets them.",
    )
    reference = forms.CharField(
        label="Your reference", required=False, help_text="Such as an order number; it is printed."
    )

    def refuse(self, error: MarketplaceError) -> None:
        field = error.data.get("field")
        self.add_error(field if field in self.fields else None, f"{error.message} {error.next_step}".strip())


@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.VIEW_BILLING)
    if request.method == "POST":
        require(request.membership, Right.MANAGE_BILLING)
    stored = selectors.profile(request.organisation)
    initial = {name: getattr(stored, name) for name in ProfileForm.base_fields} | {"emails": ", ".join(stored.emails)}
    form = ProfileForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        actor = audit.Party("user", str(request.user.pk), request.user.email)
        try:
            profiles.change(tenant=request.organisation, values=form.cleaned_data, actor=actor)
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, "Saved. Invoices from now on are addressed like this.")
            return redirect("org:billing-profile", org)
    may = request.membership.can(Right.MANAGE_BILLING)
    context = {
        "form": form,
        "stored": stored,
        "may_change": may,
        "helpers": "" if may else who_can(request.membership, Right.MANAGE_BILLING),
        "tabs": tabs(request, org, "profile"),
    }
    return render(request, "billing/profile.html", context, status=422 if form.errors else 200)


def download(document: Document) -> HttpResponse:
    """The stored bytes; a name without anything of the user's."""
    about: Invoice | CreditNote | Statement | None = document.invoice or document.note or document.statement
    assert about is not None
    headers = {
        "Content-Disposition": f'attachment; filename="{about.number}.pdf"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return HttpResponse(bytes(document.content), content_type=document.media_type, headers=headers)


def _crumbs(org: str, invoice: Invoice, *, link: bool = False) -> list[dict[str, str]]:

    here = {"label": str(invoice)} | ({"url": reverse("org:invoice", args=[org, invoice.pk])} if link else {})
    return [{"label": "Invoices", "url": reverse("org:invoices", args=[org])}, here]


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


urls: list[URLPattern] = [
    path("billing/invoices/", invoice_list, name="invoices"),
    path("billing/invoices/next/", preview, name="invoice-preview"),
    path("billing/invoices/<uuid:invoice_id>/", invoice_detail, name="invoice"),
    path("billing/invoices/<uuid:invoice_id>/document.pdf", invoice_pdf, name="invoice-pdf"),
    path("billing/invoices/<uuid:invoice_id>/calls.csv", invoice_csv, name="invoice-csv"),
    path("billing/invoices/<uuid:invoice_id>/lines/<uuid:line_id>/", line_calls, name="invoice-line"),
    path("billing/credit-notes/<uuid:note_id>/document.pdf", credit_note_pdf, name="credit-note-pdf"),
    path("billing/profile/", profile, name="billing-profile"),
]
operations: list[URLPattern] = closing.urls
