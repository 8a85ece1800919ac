"""Pages of cards and payments, and the addresses that payment providers call."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from audit import services as audit
from billing.gateways import paypal, stripe
from billing.models import AttemptState, Invoice, PaymentAttempt, ReceiptState, WebhookReceipt
from billing.services import inbox, methods, payments
from billing.web.tabs import tabs
from core.errors import MarketplaceError
from tenants.choices import Right
from tenants.context import platform_scope
from tenants.requests import MarketRequest, OrganisationRequest
from tenants.services.rights import who_can
from tenants.web.guards import needs, person

_SHOWN = 50
_WEBHOOK_BYTES_MAX = 256 * 1024


@require_safe
@needs(Right.VIEW_BILLING)
def card_list(request: OrganisationRequest, org: str) -> HttpResponse:
    can_manage = request.membership.can(Right.MANAGE_BILLING)
    context = {
        "cards": methods.of_tenant(request.organisation),
        "can_manage": can_manage,
        "can_save": bool(settings.STRIPE_KEY),
        "test_payments": settings.TEST_PAYMENTS,
        "tabs": tabs(request, org, "cards"),
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_BILLING),
    }
    return render(request, "billing/payment_methods.html", context)


@never_cache
@require_POST
@needs(Right.MANAGE_BILLING)
def card_add(request: OrganisationRequest, org: str) -> HttpResponse:
    """On to the provider's page. A form's answer may not lead elsewhere by itself (form-action), so a page does."""
    here = {"org": org}
    try:
        setup = methods.begin_setup(
            request.organisation,
            email=person(request).email,
            back=_full("org:card-saved", **here),
            leave=_full("org:cards", **here),
        )
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:cards", org)
    return _leave(request, setup.url, "You enter the card there and come back here.")


@never_cache
@require_GET
@needs(Right.MANAGE_BILLING)
def card_saved(request: OrganisationRequest, org: str) -> HttpResponse:
    """Back from the provider's page, which says nothing that is believed: the provider is asked."""
    setup = request.GET.get("session", "")
    try:
        method = methods.finish_setup(request.organisation, setup, actor=_party(request)) if setup else None
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        if method is None:
            messages.info(request, "No card was saved.")
        else:
            messages.success(request, f"{method} is saved.")
    return redirect("org:cards", org)


@require_POST
@needs(Right.MANAGE_BILLING)
def card_default(request: OrganisationRequest, org: str, method_id: UUID) -> HttpResponse:
    method = methods.find(request.organisation, method_id)
    methods.make_default(method, actor=_party(request))
    messages.success(request, f"Invoices are charged to {method} from now on.")
    return redirect("org:cards", org)


@require_http_methods(["GET", "HEAD", "POST"])
@needs(Right.MANAGE_BILLING)
def card_remove(request: OrganisationRequest, org: str, method_id: UUID) -> HttpResponse:
    method = methods.find(request.organisation, method_id)
    if request.method != "POST":
        return render(request, "billing/payment_method_remove.html", {"card": method})
    try:
        methods.remove(method, actor=_party(request))
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        messages.success(request, f"{method} is removed.")
    return redirect("org:cards", org)


@require_safe
@needs(Right.VIEW_BILLING)
def payment_list(request: OrganisationRequest, org: str) -> HttpResponse:
    attempts = PaymentAttempt.objects.filter(tenant=request.organisation).select_related("invoice", "method")
    context = {
        "attempts": attempts[:_SHOWN],
        "can_manage": request.membership.can(Right.MANAGE_BILLING),
        "test_payments": settings.TEST_PAYMENTS,
        "tabs": tabs(request, org, "payments"),
    }
    return render(request, "billing/payments.html", context)


@never_cache
@require_POST
@needs(Right.MANAGE_BILLING)
def payment_confirm(request: OrganisationRequest, org: str, attempt_id: UUID) -> HttpResponse:
    """The card's holder is here: on to the bank's page, when it still asks."""
    attempt = _attempt(request, attempt_id)
    back = _full("org:payment-confirmed", org=org, attempt_id=attempt.pk)
    try:
        url = payments.ask_holder(attempt, back=back)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:payments", org)
    return _leave(request, url, "Your bank asks you there and sends you back here.") if url else _told(request, attempt)


@never_cache
@require_GET
@needs(Right.MANAGE_BILLING)
def payment_confirmed(request: OrganisationRequest, org: str, attempt_id: UUID) -> HttpResponse:
    """Back from the bank's page: the provider is asked what became of the payment."""
    attempt = _attempt(request, attempt_id)
    try:
        payments.resolve(attempt.pk)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:payments", org)
    return _told(request, attempt)


def _told(request: OrganisationRequest, attempt: PaymentAttempt) -> HttpResponse:
    attempt.refresh_from_db()
    if attempt.state == AttemptState.SUCCEEDED:
        messages.success(request, f"{attempt.amount} are paid.")
    else:
        messages.error(request, f"The payment is not made. {attempt.message}".strip())
    return redirect("org:payments", request.organisation.slug)


@never_cache
@require_POST
@needs(Right.MANAGE_BILLING)
def invoice_pay(request: OrganisationRequest, org: str, invoice_id: UUID) -> HttpResponse:
    """Pay an open invoice now, without waiting for the next day of the schedule."""
    invoice = Invoice.objects.filter(tenant=request.organisation, pk=invoice_id).exclude(state="draft").first()
    if invoice is None:
        raise Http404
    try:
        attempt = payments.collect(invoice.pk, actor=_party(request))
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect("org:payments", org)
    if attempt is None:
        messages.info(request, "Nothing is due on this invoice.")
        return redirect("org:payments", org)
    return _told(request, attempt)


def _leave(request: OrganisationRequest, url: str, words: str) -> HttpResponse:
    return render(request, "billing/leave.html", {"url": url, "host": urlsplit(url).netloc, "words": words})


def _attempt(request: OrganisationRequest, attempt_id: UUID) -> PaymentAttempt:
    found = PaymentAttempt.objects.select_related("method").filter(tenant=request.organisation, pk=attempt_id).first()
    if found is None:
        raise Http404
    return found


def _full(name: str, **parts: object) -> str:
    return settings.PUBLIC_URL + reverse(name, kwargs=parts)


def _party(request: OrganisationRequest) -> audit.Party:
    user = person(request)
    return audit.Party("user", str(user.pk), user.email)


# -- Operators


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_inbox(request: MarketRequest) -> HttpResponse:
    """Events of payment providers that could not be handled, and those that wait."""
    if request.method == "POST":
        receipt = _dead(request.POST.get("receipt", ""))
        if receipt is None:
            raise Http404
        inbox.again(receipt)
        messages.success(request, "The event is tried again.")
        return redirect("operations-payment-events")
    rows = WebhookReceipt.objects.exclude(state=ReceiptState.HANDLED).defer("body")[:_SHOWN]
    return render(request, "operations/payment_events.html", {"rows": rows})


def _dead(text: str) -> WebhookReceipt | None:
    try:
        receipt_id = UUID(text)
    except ValueError:
        return None
    return WebhookReceipt.objects.filter(pk=receipt_id, state=ReceiptState.DEAD).first()


# -- Providers


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Verified on the bytes as they came, stored, acknowledged; handled by a job."""
    if not settings.STRIPE_KEY:
        raise Http404
    if int(request.META.get("CONTENT_LENGTH") or 0) > _WEBHOOK_BYTES_MAX:
        return HttpResponse(status=413)
    try:
        event = stripe.gateway().verified(request.body, request.headers.get("Stripe-Signature", ""))
        with platform_scope():
            inbox.receive("stripe", event, request.body)
    except MarketplaceError as error:
        return HttpResponse(status=error.status)
    return HttpResponse(status=200)


@csrf_exempt
@require_POST
def paypal_webhook(request: HttpRequest) -> HttpResponse:
    """PayPal itself is asked whether an event is its own and meant for our webhook."""
    if not settings.PAYPAL_CLIENT_ID:
        raise Http404
    if int(request.META.get("CONTENT_LENGTH") or 0) > _WEBHOOK_BYTES_MAX:
        return HttpResponse(status=413)
    try:
        event = paypal.event_of(request.body)
        if not paypal.gateway().is_genuine(request.body, request.headers):
            return HttpResponse(status=400)
        with platform_scope():
            inbox.receive("paypal", event, request.body)
    except MarketplaceError as error:
        return HttpResponse(status=error.status)
    return HttpResponse(status=200)


urls: list[URLPattern] = [
    path("billing/payment-methods/", card_list, name="cards"),
    path("billing/payment-methods/new/", card_add, name="card-add"),
    path("billing/payment-methods/saved/", card_saved, name="card-saved"),
    path("billing/payment-methods/<uuid:method_id>/default/", card_default, name="card-default"),
    path("billing/payment-methods/<uuid:method_id>/remove/", card_remove, name="card-remove"),
    path("billing/payments/", payment_list, name="payments"),
    path("billing/payments/<uuid:attempt_id>/confirm/", payment_confirm, name="payment-confirm"),
    path("billing/payments/<uuid:attempt_id>/confirmed/", payment_confirmed, name="payment-confirmed"),
    path("billing/invoices/<uuid:invoice_id>/pay/", invoice_pay, name="invoice-pay"),
]
operations: list[URLPattern] = [
    path("payment-events/", webhook_inbox, name="operations-payment-events"),
]
callbacks: list[URLPattern] = [
    path("stripe/", stripe_webhook, name="webhook-stripe"),
    path("paypal/", paypal_webhook, name="webhook-paypal"),
]
