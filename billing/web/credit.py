"""Pages of prepaid credit: what is there, buying it, how it is used when it runs low, receipts, and sending it back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit import services as audit
from billing.models import UNDER_WAY, AttemptState, PaymentAttempt, Prepayment
from billing.selectors import credit
from billing.selectors import invoices as invoice_selectors
from billing.services import methods, prepaid, profiles, topups
from billing.web.tabs import tabs
from core.errors import MarketplaceError
from core.ids import uuid7
from core.money import Money, exponent
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import who_can
from tenants.web.guards import needs, person

PAGE_SIZE = 25


class MoneyField(forms.DecimalField):
    """Whole minor units, entered in major ones."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(decimal_places=exponent(settings.BILLING_CURRENCY), max_digits=12, min_value=0, **kwargs)

    def clean(self, value: Any) -> int | None:
        amount: Decimal | None = super().clean(value)
        return None if amount is None else int(amount.scaleb(exponent(settings.BILLING_CURRENCY)))


class _CreditForm(forms.Form):
    def refuse(self, error: MarketplaceError) -> None:
        field = error.data.get("field")
        self.add_error(field if field in self.fields else None, f"{error.message} {error.next_step}".strip())


class BuyForm(_CreditForm):
    amount = MoneyField()
    # Sent twice, a form buys once.
    once = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        least, most = (Money(each, settings.BILLING_CURRENCY) for each in (settings.TOP_UP_MIN, settings.TOP_UP_MAX))
        self.fields["amount"].label = f"Amount in {settings.BILLING_CURRENCY}"
        self.fields["amount"].help_text = f"From {least} to {most}."


class UseForm(_CreditForm):
    is_prepaid = forms.BooleanField(
        label="Pay ahead",
        required=False,
        help_text="Calls of tools with a price are refused when the credit does not cover them. Free tools go on.",
    )
    threshold = MoneyField(
        label="When less is left than", required=False, help_text="People are told then. Empty: nobody is."
    )
    amount = MoneyField(
        label="Buy by itself",
        required=False,
        help_text="Charged to your card then. Empty: nothing is bought by itself.",
    )
    daily = MoneyField(label="At most in a day", required=False, help_text="Days begin at midnight UTC.")


class SendBackForm(_CreditForm):
    amount = MoneyField()
    once = forms.UUIDField(widget=forms.HiddenInput)


@require_safe
@needs(Right.VIEW_BILLING)
def credit_page(request: OrganisationRequest, org: str) -> HttpResponse:
    return _page(request, org)


@never_cache
@require_POST
@needs(Right.MANAGE_BILLING)
def credit_buy(request: OrganisationRequest, org: str) -> HttpResponse:
    form = BuyForm(request.POST)
    if not form.is_valid():
        return _page(request, org, buy=form)
    given = form.cleaned_data
    try:
        attempt = topups.buy(request.organisation, given["amount"], once=str(given["once"]), actor=_party(request))
    except MarketplaceError as error:
        form.refuse(error)
        return _page(request, org, buy=form)
    _say(request, attempt)
    return redirect("org:credit", org)


@require_POST
@needs(Right.MANAGE_BILLING)
def credit_use(request: OrganisationRequest, org: str) -> HttpResponse:
    form = UseForm(request.POST)
    if not form.is_valid():
        return _page(request, org, use=form)
    given = form.cleaned_data
    terms = prepaid.Terms(given["is_prepaid"], given["threshold"], given["amount"], given["daily"])
    try:
        prepaid.change(request.organisation, terms, actor=_party(request))
    except MarketplaceError as error:
        form.refuse(error)
        return _page(request, org, use=form)
    messages.success(request, "Saved. It holds from this moment on.")
    return redirect("org:credit", org)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@needs(Right.MANAGE_BILLING)
def credit_send_back(request: OrganisationRequest, org: str) -> HttpResponse:
    most = Money(credit.refundable(request.organisation), settings.BILLING_CURRENCY)
    form = SendBackForm(request.POST or None, initial={"amount": most.major, "once": uuid7()})
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            rows = topups.send_back(
                request.organisation, given["amount"], once=str(given["once"]), actor=_party(request)
            )
        except MarketplaceError as error:
            form.refuse(error)
        else:
            total = Money(sum(row.minor for row in rows), settings.BILLING_CURRENCY)
            messages.success(request, f"{total} are on their way back. Banks take some days to show it.")
            return redirect("org:credit", org)
    context = {"form": form, "most": most, "back": reverse("org:credit", args=[org])}
    return render(request, "billing/credit_send_back.html", context, status=422 if form.errors else 200)


@require_safe
@needs(Right.VIEW_BILLING)
def credit_receipt(request: OrganisationRequest, org: str, top_up_id: UUID) -> HttpResponse:
    attempt = topups.find(request.organisation, top_up_id)
    if attempt.state != AttemptState.SUCCEEDED:
        raise Http404
    context = {
        "attempt": attempt,
        "seller": profiles.seller(),
        "buyer": invoice_selectors.profile(request.organisation),
        "test_payments": settings.TEST_PAYMENTS,
        "crumbs": [{"label": "Credit", "url": reverse("org:credit", args=[org])}, {"label": "Receipt"}],
    }
    return render(request, "billing/credit_receipt.html", context)


def _page(
    request: OrganisationRequest, org: str, *, buy: BuyForm | None = None, use: UseForm | None = None
) -> HttpResponse:
    tenant, can_manage = request.organisation, request.membership.can(Right.MANAGE_BILLING)
    page = Paginator(credit.history(tenant), PAGE_SIZE).get_page(request.GET.get("page"))
    terms = credit.prepayment(tenant.pk)
    refused = any(form is not None and form.errors for form in (buy, use))
    context = {
        "standing": credit.standing(tenant),
        "terms": terms,
        "page": page,
        "changes": credit.changes(list(page)),
        "waiting": credit.top_ups(tenant).filter(state__in=UNDER_WAY).first(),
        "can_manage": can_manage,
        "can_buy": can_manage and methods.default_of(tenant.pk) is not None,
        "card": methods.default_of(tenant.pk),
        "refundable": Money(credit.refundable(tenant), settings.BILLING_CURRENCY) if can_manage else None,
        "buy": buy or BuyForm(initial={"once": uuid7()}),
        "use": use or UseForm(initial=_initial(terms)),
        "test_payments": settings.TEST_PAYMENTS,
        "tabs": tabs(request, org, "credit"),
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_BILLING),
    }
    return render(request, "billing/credit.html", context, status=422 if refused else 200)


def _initial(terms: Prepayment) -> dict[str, Any]:
    def major(minor: int | None) -> Decimal | None:
        return None if minor is None else Money(minor, settings.BILLING_CURRENCY).major

    return {
        "is_prepaid": terms.is_prepaid,
        "threshold": major(terms.threshold_minor),
        "amount": major(terms.amount_minor),
        "daily": major(terms.daily_minor),
    }


def _say(request: OrganisationRequest, attempt: PaymentAttempt) -> None:
    if attempt.state == AttemptState.SUCCEEDED:
        messages.success(request, f"{attempt.amount} of credit are there.")
    elif attempt.state == AttemptState.NEEDS_HOLDER:
        messages.warning(request, "Your bank asks you to confirm the payment.")
    elif attempt.state in UNDER_WAY:
        messages.info(request, "The payment is under way. The credit is there as soon as the bank has said so.")
    else:
        messages.error(request, f"The payment is not made. {attempt.message}".strip())


def _party(request: OrganisationRequest) -> audit.Party:
    user = person(request)
    return audit.Party("user", str(user.pk), user.email)


urls: list[URLPattern] = [
    path("billing/credit/", credit_page, name="credit"),
    path("billing/credit/buy/", credit_buy, name="credit-buy"),
    path("billing/credit/use/", credit_use, name="credit-use"),
    path("billing/credit/send-back/", credit_send_back, name="credit-send-back"),
    path("billing/credit/receipts/<uuid:top_up_id>/", credit_receipt, name="credit-receipt"),
]
