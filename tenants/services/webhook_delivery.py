"""Sending webhooks: what is due, to all endpoints of an organisation side by side, each within a deadline.

The network is used outside any transaction. A sender that dies leaves what it took to the next one after the lease, so an event
may arrive twice and never not at all.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random, SystemRandom

import httpx
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from audit import services as audit
from core import clock, http
from core.errors import MarketplaceError
from notifications import services as notifications
from notifications import webhooks as rules
from notifications.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from notifications.services import webhooks as queue
from tenants.choices import Right
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.selectors.people import holders
from tenants.services import webhooks

DISABLED = "tenants.webhook_disabled"
# An endpoint is turned off when nothing reached it for so long and so often.
FAILING_MAX, FAILURES_MIN = timedelta(days=3), 10
# Seconds for one attempt from the look-up to the end of the answer, and for one endpoint in one run.
ATTEMPT_S, RUN_S = 15.0, 60.0
# How soon the rest of a batch is tried when the endpoint could not be reached.
_AFTER_FAILURE = timedelta(seconds=30)
_EXCERPT_BYTES, _REPLY_BYTES = 1000, 65_536
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt; `status` is None when nothing answered."""

    latency_ms: float
    status: int | None = None
    error: str = ""
    excerpt: str = ""

    @property
    def delivered(self) -> bool:
        return self.status is not None and httpx.codes.is_success(self.status)


@dataclass
class Batch:
    """What one endpoint gets in one run, and what became of it; a delivery without an outcome was not tried."""

    endpoint: WebhookEndpoint
    secrets: list[str] = field(repr=False)
    deliveries: list[WebhookDelivery]
    bodies: list[bytes] = field(default_factory=list, repr=False)
    outcomes: list[Outcome] = field(default_factory=list)


def deliver_due(tenant: Tenant, random: Random | None = None) -> int:
    """Send what is due in an organisation; how many attempts were made. Safe beside others and to run twice."""
    with tenant_scope(tenant):
        batches = [_prepare(tenant, endpoint) for endpoint in _endpoints_with_work()]
    batches = [batch for batch in batches if batch.deliveries]
    if batches:
        asyncio.run(_send_all(batches))
    with tenant_scope(tenant):
        for batch in batches:
            _record(tenant, batch, random or SystemRandom())
    return sum(len(batch.outcomes) for batch in batches)


def _endpoints_with_work() -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.filter(pk__in=queue.due().values("endpoint_id"))


def _prepare(tenant: Tenant, endpoint: WebhookEndpoint) -> Batch:
    batch = Batch(endpoint, webhooks.secrets_in_use(tenant, endpoint), queue.claim(endpoint))
    batch.bodies = [_body(tenant, endpoint, each) for each in batch.deliveries]
    return batch


def _body(tenant: Tenant, endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> bytes:
    organisation = {"id": str(tenant.pk), "slug": tenant.slug, "name": tenant.name}
    if endpoint.form == WebhookEndpoint.Form.SLACK:
        return rules.slack_body(delivery.event, organisation, delivery.data, settings.PUBLIC_URL)
    message = rules.message_id(delivery.event_id)
    return rules.standard_body(delivery.event, delivery.occurred_at, message, organisation, delivery.data)


async def _send_all(batches: list[Batch]) -> None:
    async with http.async_client(webhooks.egress_allow(), timeout=_TIMEOUT, max_reply_bytes=_REPLY_BYTES) as client:
        await asyncio.gather(*(_send_batch(client, batch) for batch in batches))


async def _send_batch(client: httpx.AsyncClient, batch: Batch) -> None:
    """One after the other, in order, until the endpoint cannot be reached or its time in this run is over."""
    ends = clock.monotonic_ms() + RUN_S * 1000
    for delivery, body in zip(batch.deliveries, batch.bodies, strict=True):
        outcome = await _send(client, batch, delivery, body)
        batch.outcomes.append(outcome)
        if outcome.status is None or outcome.status == _GONE or clock.monotonic_ms() > ends:
            return


async def _send(client: httpx.AsyncClient, batch: Batch, delivery: WebhookDelivery, body: bytes) -> Outcome:
    began = clock.monotonic_ms()
    outcome = functools.partial(_outcome, began)
    headers = rules.signature_headers(rules.message_id(delivery.event_id), clock.now(), body, batch.secrets)
    try:
        async with asyncio.timeout(ATTEMPT_S):
            request = client.build_request(
                "POST", batch.endpoint.url, content=body, headers={"content-type": "application/json", **headers}
            )
            response = await client.send(request, stream=True)
            try:
                excerpt = await _beginning(response)
            finally:
                await response.aclose()
    except TimeoutError:
        return outcome(error=f"No complete answer within {ATTEMPT_S:.0f} seconds.")
    except httpx.TimeoutException:
        return outcome(error="The receiver did not answer in time.")
    except httpx.HTTPError as error:
        return outcome(error=f"The connection failed: {type(error).__name__}.")
    except MarketplaceError as error:
        return outcome(error=error.message)
    if response.is_redirect:
        return outcome(response.status_code, "It redirects, and redirects are not followed.", excerpt)
    return outcome(response.status_code, "", excerpt)


def _outcome(began: float, status: int | None = None, error: str = "", excerpt: str = "") -> Outcome:
    return Outcome(clock.monotonic_ms() - began, status, error, excerpt)


async def _beginning(response: httpx.Response) -> str:
    """The first bytes of an answer as text; the rest is nobody's business."""
    data = b""
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) >= _EXCERPT_BYTES:
            break
    return data[:_EXCERPT_BYTES].decode(errors="replace").replace("\x00", "")


def _record(tenant: Tenant, batch: Batch, random: Random) -> None:
    for delivery, outcome in zip(batch.deliveries, batch.outcomes, strict=False):
        _record_one(tenant, delivery, outcome, random)
    queue.release(batch.deliveries[len(batch.outcomes) :], _AFTER_FAILURE)


@transaction.atomic
def _record_one(tenant: Tenant, delivery: WebhookDelivery, outcome: Outcome, random: Random) -> None:
    endpoint = WebhookEndpoint.objects.select_for_update().filter(pk=delivery.endpoint_id).first()
    row = WebhookDelivery.objects.select_for_update().filter(pk=delivery.pk).first()
    if endpoint is None or row is None:
        return  # removed while it was sent
    row.attempt_count += 1
    row.round_count += 1
    WebhookAttempt.objects.create(
        delivery=row,
        number=row.attempt_count,
        status=outcome.status,
        error=outcome.error[:300],
        latency_ms=outcome.latency_ms,
        excerpt=outcome.excerpt,
    )
    pause = None if outcome.delivered else rules.pause_after(row.round_count, random)
    row.next_at = clock.now() + pause if pause else None
    if outcome.delivered:
        row.state, row.delivered_at = row.State.DELIVERED, clock.now()
    else:
        row.state = row.State.WAITING if pause else row.State.FAILED
    row.save()
    _judge(tenant, endpoint, outcome)


def _judge(tenant: Tenant, endpoint: WebhookEndpoint, outcome: Outcome) -> None:
    """Remember that an endpoint works or fails, and turn off one that never works any more."""
    now = clock.now()
    if outcome.delivered:
        endpoint.succeeded_at, endpoint.failing_since = now, None
    else:
        endpoint.failing_since = endpoint.failing_since or now
    if why := _reason_to_turn_off(endpoint, outcome):
        endpoint.disabled_at, endpoint.disabled_why = now, why
        _tell(tenant, endpoint)
    endpoint.save(update_fields=["succeeded_at", "failing_since", "disabled_at", "disabled_why", "updated_at"])


def _reason_to_turn_off(endpoint: WebhookEndpoint, outcome: Outcome) -> str:
    if outcome.delivered or endpoint.disabled_at is not None:
        return ""
    if outcome.status == _GONE:
        return WebhookEndpoint.Off.GONE
    assert endpoint.failing_since is not None  # it failed just now
    if clock.now() - endpoint.failing_since < FAILING_MAX:
        return ""
    failures = WebhookAttempt.objects.filter(delivery__endpoint=endpoint, at__gte=endpoint.failing_since).count()
    return WebhookEndpoint.Off.FAILED if failures >= FAILURES_MIN else ""


def _tell(tenant: Tenant, endpoint: WebhookEndpoint) -> None:
    target = audit.Party("webhook", str(endpoint.pk), endpoint.name)
    audit.record(
        "tenants:webhook:turned_off", actor=audit.SYSTEM, target=target, data={"why": str(endpoint.disabled_why)}
    )
    for person in holders(tenant, Right.MANAGE_SETTINGS):
        notifications.notify(
            kind=DISABLED,
            title=f"The webhook “{endpoint.name}” of {tenant.name} is off",
            body=f"{endpoint.get_disabled_why_display()}. What happens meanwhile waits for it."
            " Repair the receiver, then turn the webhook on.",
            url=reverse("org:webhook", args=[tenant.slug, endpoint.pk]),
            recipient_id=person.pk,
            email=person.email,
        )
