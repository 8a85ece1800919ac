"""The webhooks of an organisation: where events go, under which secret, and what became of each.

Sending is `tenants.services.webhook_delivery`; events come in by `notifications.services.webhooks.emit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from audit import services as audit
from core import clock, egress
from core.errors import ConflictError, InvalidError, NotFoundError
from notifications import webhooks as rules
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.services import webhooks as queue
from tenants.context import tenant_scope
from tenants.models import Tenant, User
from tenants.services import vault

ENDPOINTS_MAX = 20
# How long the former secret signs beside the present one, so that a receiver may change over without losing a message.
OVERLAP = timedelta(hours=24)
_NAME_MAX = 100

Form = WebhookEndpoint.Form
Off = WebhookEndpoint.Off


@dataclass(frozen=True, slots=True)
class IssuedWebhook:
    """An endpoint and its secret: the only moment at which the secret is shown."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


def create(
    *, tenant: Tenant, name: str, url: str, events: Sequence[str], form: str = Form.STANDARD, actor: User | None
) -> IssuedWebhook:
    """Raises InvalidError for a bad name, format, event or address, ConflictError when there are too many."""
    terms = _checked(name, url, events, form)
    with tenant_scope(tenant), transaction.atomic():
        if WebhookEndpoint.objects.count() >= ENDPOINTS_MAX:
            raise ConflictError(
                f"There are {ENDPOINTS_MAX} webhooks already.",
                code="tenants.webhooks_too_many",
                next_step="Remove one that nobody needs, or let one address hear of more events.",
            )
        endpoint = WebhookEndpoint(**terms)
        secret = _put_secret(tenant, endpoint)
        endpoint.save(force_insert=True)
        _audit(endpoint, "created", actor, {"host": _host(endpoint.url), "events": endpoint.events})
    return IssuedWebhook(endpoint, secret)


def change(
    *, tenant: Tenant, endpoint_id: UUID, name: str, url: str, events: Sequence[str], form: str, actor: User | None
) -> WebhookEndpoint:
    """Raises NotFoundError, and InvalidError as `create` does."""
    terms = _checked(name, url, events, form)
    with tenant_scope(tenant), transaction.atomic():
        endpoint = _locked(endpoint_id)
        changed = sorted(key for key, value in terms.items() if getattr(endpoint, key) != value)
        if changed:
            for key in changed:
                setattr(endpoint, key, terms[key])
            endpoint.save(update_fields=[*changed, "updated_at"])
            _audit(endpoint, "changed", actor, {"fields": changed, "host": _host(endpoint.url)})
    return endpoint


def rotate(*, tenant: Tenant, endpoint_id: UUID, actor: User | None) -> IssuedWebhook:
    """Give an endpoint another secret; the former one signs too for a day. Raises NotFoundError."""
    with tenant_scope(tenant), transaction.atomic():
        endpoint = _locked(endpoint_id)
        former = vault.unseal(vault.place_of(endpoint, "secret", tenant), bytes(endpoint.secret))
        endpoint.former_secret = vault.seal(vault.place_of(endpoint, "former_secret", tenant), former)
        endpoint.former_until = clock.now() + OVERLAP
        secret = _put_secret(tenant, endpoint)
        endpoint.save()
        _audit(endpoint, "secret_changed", actor, {"former_until": endpoint.former_until})
    return IssuedWebhook(endpoint, secret)


def switch(*, tenant: Tenant, endpoint_id: UUID, on: bool, actor: User | None) -> WebhookEndpoint:
    """Turn an endpoint on or off; what waited meanwhile is sent when it is on again. Raises NotFoundError."""
    with tenant_scope(tenant), transaction.atomic():
        endpoint = _locked(endpoint_id)
        if on != (endpoint.disabled_at is None):
            endpoint.disabled_at, endpoint.disabled_why = (None, "") if on else (clock.now(), Off.PERSON)
            endpoint.failing_since = None
            endpoint.save(update_fields=["disabled_at", "disabled_why", "failing_since", "updated_at"])
            _audit(endpoint, "turned_on" if on else "turned_off", actor, {})
    return endpoint


def remove(*, tenant: Tenant, endpoint_id: UUID, actor: User | None) -> None:
    """Forget an endpoint with everything that waited for it. Raises NotFoundError."""
    with tenant_scope(tenant), transaction.atomic():
        endpoint = _locked(endpoint_id)
        _audit(endpoint, "removed", actor, {"host": _host(endpoint.url)})
        endpoint.delete()


def send_test(*, tenant: Tenant, endpoint_id: UUID) -> WebhookDelivery:
    """Send an event that only says that it is a test. Raises NotFoundError, ConflictError for an endpoint that is off."""
    with tenant_scope(tenant), transaction.atomic():
        endpoint = _locked(endpoint_id)
        _need_on(endpoint)
        return queue.emit_test(tenant.pk, endpoint)


def redeliver(*, tenant: Tenant, delivery_id: UUID) -> WebhookDelivery:
    """Send an event once more, under the same message id. Raises NotFoundError, ConflictError for an endpoint that is off."""
    with tenant_scope(tenant), transaction.atomic():
        delivery = WebhookDelivery.objects.select_for_update().filter(pk=delivery_id).first()
        if delivery is None:
            raise NotFoundError("There is no such delivery in this organisation.")
        _need_on(delivery.endpoint)
        queue.again(tenant.pk, delivery)
    return delivery


def secrets_in_use(tenant: Tenant, endpoint: WebhookEndpoint) -> list[str]:
    """What signs now: the present secret, and the former one during the overlap."""
    found = [vault.unseal(vault.place_of(endpoint, "secret", tenant), bytes(endpoint.secret)).decode()]
    if endpoint.former_secret and endpoint.former_until and endpoint.former_until > clock.now():
        place = vault.place_of(endpoint, "former_secret", tenant)
        found.append(vault.unseal(place, bytes(endpoint.former_secret)).decode())
    return found


def egress_allow() -> egress.AllowList:
    return egress.parse_allow_list(settings.EGRESS_ALLOW)


def _checked(name: str, url: str, events: Sequence[str], form: str) -> dict[str, object]:
    name = " ".join(name.replace("\x00", "").split())[:_NAME_MAX]
    if not name:
        raise InvalidError("A webhook needs a name.", code="tenants.webhook_name_missing", field="name")
    if form not in Form.values:
        raise InvalidError("Choose one of the formats.", code="tenants.webhook_form_unknown", field="form")
    chosen = sorted(set(events))
    if not chosen or not set(chosen) <= {rules.EVERY_EVENT, *rules.EVENTS}:
        raise InvalidError("Choose at least one event.", code="tenants.webhook_events_unknown", field="events")
    if rules.EVERY_EVENT in chosen:
        chosen = [rules.EVERY_EVENT, *(event for event in chosen if event in rules.QUIET_EVENTS)]
    return {"name": name, "url": _checked_url(url.strip()), "events": chosen, "form": form}


def _checked_url(url: str) -> str:
    """The address in its one spelling, if the marketplace may connect to it. It is checked again at every delivery."""
    allow = egress_allow()
    try:
        endpoint = egress.parse_url(url, allow)
        if endpoint.scheme != "https" and (endpoint.host, endpoint.port) not in allow:
            raise egress.EgressRefusedError("A webhook's address must begin with https://.")
        egress.resolve(endpoint, allow)
    except (egress.EgressRefusedError, egress.NameUnresolvedError) as error:
        raise InvalidError(
            error.message,
            code="tenants.webhook_url_refused",
            next_step="Use a public https address that exists already.",
            field="url",
        ) from error
    return endpoint.url


def _put_secret(tenant: Tenant, endpoint: WebhookEndpoint) -> str:
    secret = rules.mint_secret()
    endpoint.secret = vault.seal(vault.place_of(endpoint, "secret", tenant), secret)
    endpoint.secret_set_at = clock.now()
    return secret


def _locked(endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = WebhookEndpoint.objects.select_for_update().filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFoundError("There is no such webhook in this organisation.")
    return endpoint


def _need_on(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise ConflictError(
            "This webhook is off.", code="tenants.webhook_off", next_step="Turn it on, and what waits is sent."
        )


def _host(url: str) -> str:
    """What the audit log shows of an address: paths of such addresses are often secrets."""
    return egress.parse_url(url, egress_allow()).origin


def _audit(endpoint: WebhookEndpoint, verb: str, actor: User | None, data: dict[str, object]) -> None:
    audit.record(
        f"tenants:webhook:{verb}",
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        target=audit.Party("webhook", str(endpoint.pk), endpoint.name),
        data=data,
    )
