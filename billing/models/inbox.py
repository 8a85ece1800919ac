"""What payment providers told us: each event once, as it came, until it was handled or given up."""

from __future__ import annotations

from django.db import models

from core import clock
from core.models import Record


class ReceiptState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    HANDLED = "handled", "Handled"
    DEAD = "dead", "Given up"


class WebhookReceipt(Record):
    """One event of a provider. `body` is what was signed, byte for byte; of it only ids are used, the object is asked for."""

    provider = models.CharField(max_length=20)
    event_id = models.CharField(max_length=255)
    kind = models.CharField(max_length=100)
    subject = models.CharField(max_length=255, blank=True)
    body = models.BinaryField()
    state = models.CharField(max_length=10, choices=ReceiptState, default=ReceiptState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=clock.now)
    handled_at = models.DateTimeField(null=True)
    # The code of the error, never its text: that may quote what was sent.
    error = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = "webhook receipt"
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["provider", "event_id"], name="webhook_receipt_once")]
        indexes = [models.Index(fields=["state", "next_at"], name="webhook_receipt_waiting")]
