from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from core import clock
from core.ids import uuid7
from core.models import Record, SealedField
from notifications.webhooks import EVERY_EVENT, QUIET_EVENTS


class WebhookEndpoint(Record):
    """An address of the organisation's own that hears of events, signed with a secret that only the two of them know.

    After a change of the secret the former one signs beside it until `former_until`. `failing_since` is the first failure
    after the last success; an endpoint that is off keeps what waits for it.
    """

    class Form(models.TextChoices):
        STANDARD = "standard", "Standard (JSON)"
        SLACK = "slack", "Slack-compatible"

    class Off(models.TextChoices):
        PERSON = "person", "Turned off"
        FAILED = "failed", "Turned off after failing for days"
        GONE = "gone", "Turned off because it answered 410 Gone"

    name = models.CharField(max_length=100)
    url = models.CharField(max_length=2048)
    events = models.JSONField(default=list)
    form = models.CharField("format", max_length=10, choices=Form.choices, default=Form.STANDARD)
    secret = SealedField(default=b"")
    secret_set_at = models.DateTimeField(default=clock.now)
    former_secret = SealedField(default=b"")
    former_until = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_why = models.CharField(max_length=10, choices=Off.choices, blank=True)

    class Meta:
        ordering = ["name", "created_at"]

    def __str__(self) -> str:
        return self.name

    def hears(self, event: str) -> bool:
        return event in self.events or (EVERY_EVENT in self.events and event not in QUIET_EVENTS)


class WebhookDelivery(Record):
    """An event on its way to one endpoint. `waiting` rows are the queue: what is due is what `next_at` has passed.

    `event_id` is the same for every attempt and every endpoint, so that receivers recognise what they have had.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.UUIDField()
    event = models.CharField(max_length=60)
    occurred_at = models.DateTimeField()
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    attempt_count = models.PositiveIntegerField(default=0)
    # Attempts since it was last asked for by hand; the pause before the next one follows from it.
    round_count = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, default=clock.now)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["endpoint", "-created_at"], name="webhook_log"),
            # The job looks for what is due only.
            models.Index(
                fields=["endpoint", "next_at"], condition=models.Q(state="waiting"), name="webhook_delivery_queue"
            ),
            models.Index(fields=["created_at"], name="webhook_delivery_age"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint_id}"


class WebhookAttempt(models.Model):
    """One try: what came back, or why nothing did. `status` is None when there was no answer; `excerpt` is its beginning."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    at = models.DateTimeField(default=clock.now)
    status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=300, blank=True)
    latency_ms = models.FloatField()
    excerpt = models.TextField(blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="webhook_attempt_numbered")]
