"""Pages of webhooks: for those who manage settings, and to read for auditors. The address is shown to the former only."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import ConflictError, InvalidError
from notifications.models import WebhookEndpoint
from notifications.webhooks import EVENTS, EVERY_EVENT
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.selectors import webhooks as selectors
from tenants.services import webhooks
from tenants.services.rights import require, who_can
from tenants.services.webhooks import IssuedWebhook
from tenants.web.forms import show_error


class WebhookForm(forms.Form):
    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    url = forms.CharField(
        label="Address",
        max_length=2048,
        help_text="A public address that begins with https://.",
        widget=forms.URLInput(attrs={"autocomplete": "off", "inputmode": "url"}),
    )
    form = forms.ChoiceField(
        label="Format",
        choices=WebhookEndpoint.Form.choices,
        initial=WebhookEndpoint.Form.STANDARD,
        help_text="Slack-compatible messages are a text for a channel.",
    )
    events = forms.MultipleChoiceField(
        choices=[(EVERY_EVENT, "Every event but checkpoints, also those that are added later"), *EVENTS.items()],
        initial=[EVERY_EVENT],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one event."},
    )


@require_safe
def webhook_list(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.VIEW_AUDIT)
    context = {"endpoints": selectors.list_endpoints(), "crumbs": _crumbs(org, "Webhooks"), **_frame(request)}
    return render(request, "tenants/webhooks.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_create(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_SETTINGS)
    form = WebhookForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            issued = webhooks.create(tenant=request.organisation, actor=request.user, **form.cleaned_data)
        except (InvalidError, ConflictError) as error:
            show_error(form, error)
        else:
            return _show_secret(request, issued)
    return render(request, "tenants/webhook_form.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_change(request: OrganisationRequest, org: str, webhook_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_SETTINGS)
    endpoint = selectors.get_endpoint(webhook_id)
    known = {name: getattr(endpoint, name) for name in ("name", "url", "form", "events")}
    form = WebhookForm(request.POST if request.method == "POST" else None, initial=known)
    if request.method == "POST" and form.is_valid():
        try:
            webhooks.change(
                tenant=request.organisation, endpoint_id=webhook_id, actor=request.user, **form.cleaned_data
            )
        except InvalidError as error:
            show_error(form, error)
        else:
            messages.success(request, "The webhook is changed. What waits for it goes to the address that it has now.")
            return redirect("org:webhook", org, webhook_id)
    context = {"form": form, "endpoint": endpoint}
    return render(request, "tenants/webhook_form.html", context, status=422 if form.errors else 200)


@require_safe
def webhook_detail(request: OrganisationRequest, org: str, webhook_id: UUID) -> HttpResponse:
    require(request.membership, Right.VIEW_AUDIT)
    endpoint = selectors.get_endpoint(webhook_id)
    before = _uuid(request.GET.get("before"))
    found = selectors.list_deliveries(endpoint, before=before)
    shown = found[: selectors.PAGE]
    context = {
        "endpoint": endpoint,
        "crumbs": _crumbs(org, "Webhooks", endpoint.name),
        "origin": f"{urlsplit(endpoint.url).scheme}://{urlsplit(endpoint.url).netloc}",
        "events": [EVENTS.get(name, "Every event") for name in endpoint.events],
        "deliveries": [{"row": each, "title": EVENTS.get(each.event, "A test")} for each in shown],
        "older": f"?before={shown[-1].pk}" if len(found) > selectors.PAGE else "",
        "is_first": before is None,
        **_frame(request),
    }
    return render(request, "tenants/webhook.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_secret(request: OrganisationRequest, org: str, webhook_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_SETTINGS)
    endpoint = selectors.get_endpoint(webhook_id)
    if request.method == "POST":
        issued = webhooks.rotate(tenant=request.organisation, endpoint_id=webhook_id, actor=request.user)
        return _show_secret(request, issued)
    question = {
        "title": f"Change the secret of “{endpoint.name}”?",
        "consequence": "Messages are signed with both secrets for 24 hours; after that the former one counts no more.",
        "confirm": "Change the secret",
    }
    return _confirm(request, endpoint, question)


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_remove(request: OrganisationRequest, org: str, webhook_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_SETTINGS)
    endpoint = selectors.get_endpoint(webhook_id)
    if request.method == "POST":
        webhooks.remove(tenant=request.organisation, endpoint_id=webhook_id, actor=request.user)
        messages.success(request, f"The webhook “{endpoint.name}” is gone.")
        return redirect("org:webhooks", org)
    question = {
        "title": f"Remove “{endpoint.name}”?",
        "consequence": "Nothing is sent to it any more, and its log goes too. This cannot be undone.",
        "confirm": "Remove webhook",
    }
    return _confirm(request, endpoint, question)


@require_POST
def webhook_switch(request: OrganisationRequest, org: str, webhook_id: UUID) -> HttpResponse:
    """Turns it on when the form says so, and off otherwise."""
    require(request.membership, Right.MANAGE_SETTINGS)
    on = request.POST.get("on") == "1"
    webhooks.switch(tenant=request.organisation, endpoint_id=webhook_id, on=on, actor=request.user)
    messages.success(
        request, "The webhook is on." if on else "The webhook is off. What happens meanwhile waits for it."
    )
    return redirect("org:webhook", org, webhook_id)


@require_POST
def webhook_test(request: OrganisationRequest, org: str, webhook_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_SETTINGS)
    webhooks.send_test(tenant=request.organisation, endpoint_id=webhook_id)
    messages.success(request, "A test is on its way. Reload in a few seconds to see what became of it.")
    return redirect("org:webhook", org, webhook_id)


@require_POST
def webhook_again(request: OrganisationRequest, org: str, webhook_id: UUID, delivery_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_SETTINGS)
    selectors.get_delivery(webhook_id, delivery_id)
    webhooks.redeliver(tenant=request.organisation, delivery_id=delivery_id)
    messages.success(request, "The message is on its way again, under the same id.")
    return redirect("org:webhook", org, webhook_id)


def _frame(request: OrganisationRequest) -> dict[str, Any]:
    manages = request.membership.can(Right.MANAGE_SETTINGS)
    return {"manages": manages, "who_can": "" if manages else who_can(request.membership, Right.MANAGE_SETTINGS)}


def _crumbs(org: str, *names: str) -> list[dict[str, str]]:
    """The way to a page from the settings; the last name is the page itself."""
    urls = [reverse("org:settings", args=[org]), reverse("org:webhooks", args=[org])]
    labels = ["Settings", *names]
    return [{"label": label, "url": url} for label, url in zip(labels, [*urls[: len(labels) - 1], ""], strict=True)]


def _show_secret(request: OrganisationRequest, issued: IssuedWebhook) -> HttpResponse:
    """The one page that shows the secret; no cache and no history keeps it."""
    response = render(request, "tenants/webhook_secret.html", {"issued": issued})
    response["Cache-Control"] = "no-store"
    return response


def _confirm(request: OrganisationRequest, endpoint: WebhookEndpoint, question: dict[str, str]) -> HttpResponse:
    back = reverse("org:webhook", args=[request.organisation.slug, endpoint.pk])
    context = {"question": {**question, "action": request.path, "back_url": back}}
    return render(request, "tenants/confirm.html", context)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
