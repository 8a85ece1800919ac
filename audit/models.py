from __future__ import annotations

from django.db import models

from core import clock
from core.ids import uuid7


class AuditEvent(models.Model):
    """Who did what: append-only, and chained by hash within its schema so that a change or gap is found.

    Actor and target are plain text, so that every app may write here and no deletion elsewhere touches the record.
    `sequence` has no gaps; `hash` covers the row and the hash before it (see `audit.chain`).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sequence = models.BigIntegerField(unique=True)
    occurred_at = models.DateTimeField(default=clock.now)
    actor_type = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_label = models.CharField(max_length=254, blank=True)
    action = models.CharField(max_length=100)
    target_type = models.CharField(max_length=50, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    target_label = models.CharField(max_length=254, blank=True)
    data = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    previous_hash = models.BinaryField(max_length=32)
    hash = models.BinaryField(max_length=32)

    class Meta:
        verbose_name = "audit event"
        ordering = ["-sequence"]
        indexes = [
            # The audit tab of one thing.
            models.Index(fields=["target_type", "target_id", "-sequence"], name="audit_by_target"),
        ]


class AuditHead(models.Model):
    """The end of the chain of this schema, in one row, marked with the key of the chain: rows cut off there are missed."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    sequence = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)
    mark = models.BinaryField(max_length=32)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audit_one_head")]


class AuditCheckpoint(models.Model):
    """A signed statement about the chain (`audit.statements`), kept here as well as outside.

    Rows up to a `cut` were removed when their time was over; the statement says what the last of them was.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=10)
    sequence = models.BigIntegerField()
    at = models.DateTimeField(default=clock.now)
    statement = models.TextField()

    class Meta:
        ordering = ["-sequence", "-at"]
        indexes = [models.Index(fields=["-sequence"], name="audit_checkpoint_newest")]
