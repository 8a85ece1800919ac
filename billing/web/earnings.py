"""Pages of what providers earn: for their organisation, and for operators who pay them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.models import PayoutRail, ProviderAccount
from billing.selectors import earnings as reading
from billing.selectors import payouts as batches
from billing.services import connecting, documents, payouts, provider_accounts, unbilled
from billing.web import ledger
from billing.web.invoices import download
from billing.web.proof import proof_url
from catalog.models import Provider
from core import clock
from core.errors import MarketplaceError
from core.money import Money
from tenants.choices import Right
from tenants.requests import MarketRequest, OrganisationRequest
from tenants.services.rights import require, who_can
from tenants.web.forms import show_error
from tenants.web.guards import needs, person

_MONTHS_SHOWN = 12
_PER_PAGE = 25


class PayeeForm(forms.Form):
    """Who earns, as statements and tax offices name them."""

    legal_name = forms.CharField(max_length=200)
    address = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), max_length=500)
    country = forms.CharField(max_length=2, min_length=2, help_text="Two letters, such as DE.")
    tax_id = forms.CharField(label="Tax number", max_length=40, required=False)


class MethodForm(forms.Form):
    """Where earnings are paid to."""

    destination = forms.EmailField(
        label="PayPal address", max_length=254, help_text="We mail a link there to prove it."
    )


# -- Of the provider


@require_safe
@needs(Right.VIEW_BILLING)
def overview(request: OrganisationRequest, org: str) -> HttpResponse:
    provider = reading.provider_of(request.organisation)
    if provider is None:
        return render(request, "billing/earnings.html", {"provider": None})
    rows = reading.by_server(provider)
    months = sorted({row.month for row in rows})[-_MONTHS_SHOWN:]
    chart = [(f"{month:%b %Y}", sum(row.share.major for row in rows if row.month == month)) for month in months]
    context = {
        "provider": provider,
        "standing": reading.standing(provider),
        "unbilled": unbilled.of_provider(provider),
        "rows": [row for row in rows if row.month in months],
        "chart": chart,
        "currency": rows[0].share.currency if rows else "",
        "customers": reading.customers(provider),
        "coming": reading.coming(provider),
        "account": reading.account(provider),
        "manages": request.membership.can(Right.MANAGE_BILLING),
    }
    return render(request, "billing/earnings.html", context)


@require_safe
@needs(Right.VIEW_BILLING)
def payout_list(request: OrganisationRequest, org: str) -> HttpResponse:
    provider = reading.provider_of(request.organisation)
    if provider is None:
        return redirect("org:earnings", org)
    page = Paginator(reading.payouts(provider), _PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "billing/earnings_payouts.html", {"page": page})


@require_safe
@needs(Right.VIEW_BILLING)
def statement(request: OrganisationRequest, org: str, payout_id: UUID) -> HttpResponse:
    """The self-billed statement of a payout, as a page that prints."""
    found = reading.statement(_provider(request), payout_id)
    if found is None:
        raise Http404
    lines = [line | {"amount": Money(line["minor"], found.currency)} for line in found.lines]
    context = {"statement": found, "item": found.item, "lines": lines, "summary": reading.summary(found)}
    return render(request, "billing/earnings_statement.html", context)


@require_safe
@needs(Right.VIEW_BILLING)
def statement_pdf(request: OrganisationRequest, org: str, payout_id: UUID) -> HttpResponse:
    """The statement as it is kept, made when it is first asked for."""
    found = reading.statement(_provider(request), payout_id)
    if found is None:
        raise Http404
    return download(documents.of_statement(found))


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Right.VIEW_BILLING)
def account(request: OrganisationRequest, org: str) -> HttpResponse:
    provider = _provider(request)
    if request.method == "POST":
        require(request.membership, Right.MANAGE_BILLING)
    # Looking makes no row.
    found = reading.account(provider) or ProviderAccount(provider=provider)
    known = {name: getattr(found, name) for name in ("legal_name", "address", "country", "tax_id")}
    what = request.POST.get("what", "") if request.method == "POST" else ""
    payee = PayeeForm(request.POST if what == "payee" else None, initial=known)
    method = MethodForm(request.POST if what == "method" else None)
    if what:
        if what != "payee" and not did_recently_reauthenticate(request):
            return redirect(proof_url(reverse("org:earnings-account", args=[org])))
        if what == "connect":
            return _connect(request, provider)
        if _save(request, provider, what, payee if what == "payee" else method):
            return redirect("org:earnings-account", org)
    manages = request.membership.can(Right.MANAGE_BILLING)
    context = {
        "account": found,
        "rests": found.rests_until is not None and found.rests_until > clock.now(),
        "payee": payee,
        "method": method,
        "manages": manages,
        "who_can": "" if manages else who_can(request.membership, Right.MANAGE_BILLING),
        "proven": did_recently_reauthenticate(request),
        "proof_url": proof_url(reverse("org:earnings-account", args=[org])),
        "can_connect": bool(settings.STRIPE_KEY),
    }
    return render(
        request, "billing/earnings_account.html", context, status=422 if payee.errors or method.errors else 200
    )


def _save(request: OrganisationRequest, provider: Provider, what: str, form: forms.Form) -> bool:
    if what == "again":
        found = provider_accounts.account_of(provider)
        if found.rail == PayoutRail.CONNECT:
            _ask(request, found)
        elif found.rail == PayoutRail.PAYPAL and not found.destination_verified_at:
            provider_accounts.ask_for_proof(found)
            messages.success(request, f"A link is on its way to {found.destination}.")
        return True
    if not form.is_valid():
        return False
    try:
        if what == "payee":
            provider_accounts.save_tax_form(provider=provider, actor=request.user, **form.cleaned_data)
            messages.success(request, "Saved. An operator checks who you are before the first payout.")
        else:
            provider_accounts.choose_method(
                provider=provider, rail=PayoutRail.PAYPAL, actor=request.user, **form.cleaned_data
            )
            messages.success(request, "Changed. Open the link that we mailed to that address.")
    except MarketplaceError as error:
        show_error(form, error)
        return False
    return True


def _connect(request: OrganisationRequest, provider: Provider) -> HttpResponse:
    """On to Stripe's page. A form's answer may not lead elsewhere by itself (form-action), so a page does."""
    slug = request.organisation.slug
    back, again = (
        settings.PUBLIC_URL + reverse(name, args=[slug]) for name in ("org:earnings-connected", "org:earnings-account")
    )
    try:
        url = connecting.begin(provider=provider, actor=request.user, back=back, again=again)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:earnings-account", slug)
    words = "Stripe asks there who you are and which bank account is yours, and sends you back here."
    return render(request, "billing/leave.html", {"url": url, "host": urlsplit(url).netloc, "words": words})


@never_cache
@require_safe
@needs(Right.MANAGE_BILLING)
def connected(request: OrganisationRequest, org: str) -> HttpResponse:
    """Back from Stripe's page, which says nothing that is believed: Stripe is asked."""
    found = reading.account(_provider(request))
    if found is not None:
        _ask(request, found)
    return redirect("org:earnings-account", org)


def _ask(request: OrganisationRequest, found: ProviderAccount) -> None:
    try:
        is_ready = connecting.refresh(found)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return
    if is_ready:
        messages.success(request, "Stripe pays out to your bank account. It is used once it has rested.")
    else:
        messages.info(request, "Stripe does not pay out to your account yet. Continue there, or ask again later.")


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Right.MANAGE_BILLING)
def proof(request: OrganisationRequest, org: str, token: str) -> HttpResponse:
    """What the mailed link opens: a button, because programs that look at mail open links too."""
    provider = _provider(request)
    found = reading.account(provider)
    if found is None or not provider_accounts.proves(found, token):
        raise Http404
    if request.method == "POST":
        provider_accounts.confirm_method(provider=provider, token=token, actor=request.user)
        messages.success(request, "The address is yours. Payouts go there once it has rested.")
        return redirect("org:earnings-account", org)
    return render(request, "billing/earnings_proof.html", {"account": found})


def _provider(request: OrganisationRequest) -> Provider:
    provider = reading.provider_of(request.organisation)
    if provider is None:
        raise Http404
    return provider


# -- Of operators


@require_safe
def operations_payouts(request: MarketRequest) -> HttpResponse:
    """Every batch, those that wait for a decision first."""
    page: Any = Paginator(batches.batches(), _PER_PAGE).get_page(request.GET.get("page"))
    rows = [(batch, Money(batch.minor or 0, batch.currency)) for batch in page]
    return render(request, "billing/operations_payouts.html", {"page": page, "rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
def operations_payout(request: MarketRequest, batch_id: UUID) -> HttpResponse:
    """One batch: who is paid what, and the decision. To decide, operators have just proven that it is them."""
    batch = batches.batch(batch_id)
    if batch is None:
        raise Http404
    here = reverse("operations-billing-payout", args=[batch_id])
    if request.method == "POST":
        if not did_recently_reauthenticate(request):
            return redirect(proof_url(here))
        _decide(request, batch_id)
        return redirect(here)
    context = {
        "batch": batch,
        "items": batches.items(batch),
        "total": batches.total(batch),
        "needed": payouts.APPROVALS - batch.approvals.count(),
        "approved": batch.approvals.filter(operator=person(request)).exists(),
        "proven": did_recently_reauthenticate(request),
        "proof_url": proof_url(here),
    }
    return render(request, "billing/operations_payout.html", context)


def _decide(request: HttpRequest, batch_id: UUID) -> None:
    operator = person(request)
    try:
        if request.POST.get("decision") == "approve":
            decided = payouts.approve(batch_id=batch_id, operator=operator)
        else:
            decided = payouts.reject(batch_id=batch_id, operator=operator, reason=request.POST.get("reason", ""))
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        messages.success(request, f"{decided}: {decided.get_state_display().lower()}.")


@require_http_methods(["GET", "HEAD", "POST"])
def operations_payees(request: MarketRequest) -> HttpResponse:
    """Who is paid: what each still has to do, and the check of who they are."""
    if request.method == "POST":
        _check(request)
        return redirect("operations-billing-payees")
    page = Paginator(batches.payees(request.GET.get("q", "")), _PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "billing/operations_payees.html", {"page": page, "q": request.GET.get("q", "")})


def _check(request: HttpRequest) -> None:
    found = ProviderAccount.objects.select_related("provider").filter(pk=_uuid(request.POST.get("account", ""))).first()
    if found is None:
        raise Http404
    operator, action = person(request), request.POST.get("action", "")
    try:
        if action in {"check", "uncheck"}:
            provider_accounts.check_identity(provider=found.provider, known=action == "check", operator=operator)
        elif action in {"suspend", "resume"}:
            provider_accounts.suspend(provider=found.provider, suspended=action == "suspend", operator=operator)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        messages.success(request, f"{found.provider.name} is changed.")


def _uuid(text: str) -> Any:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


urls: list[URLPattern] = [
    path("earnings/", overview, name="earnings"),
    path("earnings/payouts/", payout_list, name="earnings-payouts"),
    path("earnings/payouts/<uuid:payout_id>/", statement, name="earnings-statement"),
    path("earnings/payouts/<uuid:payout_id>/statement.pdf", statement_pdf, name="earnings-statement-pdf"),
    path("earnings/account/", account, name="earnings-account"),
    path("earnings/account/connected/", connected, name="earnings-connected"),
    path("earnings/account/confirm/<str:token>/", proof, name="earnings-proof"),
]
operations: list[URLPattern] = [
    path("payouts/", operations_payouts, name="operations-billing-payouts"),
    path("payouts/<uuid:batch_id>/", operations_payout, name="operations-billing-payout"),
    path("payees/", operations_payees, name="operations-billing-payees"),
    *ledger.operations,
]
