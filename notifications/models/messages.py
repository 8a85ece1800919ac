from __future__ import annotations

from django.db import models

from core.models import Record


class Notification(Record):
    """Something that a person should know, on the web and perhaps by email.

    The recipient is a plain id and address: this app knows no people. `email_wanted` without `emailed_at` is the queue that
    the mail job works off, so a lost job loses no mail.
    """

    recipient_id = models.UUIDField(null=True, blank=True)
    email = models.EmailField(blank=True)
    kind = models.CharField(max_length=60)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    url = models.CharField(max_length=500, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    email_wanted = models.BooleanField(default=False)
    emailed_at = models.DateTimeField(null=True, blank=True)
    email_attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["recipient_id", "-created_at"], name="notification_inbox"),
            # The mail job looks for waiting mails only.
            models.Index(
                fields=["created_at"],
                condition=models.Q(email_wanted=True, emailed_at=None),
                name="notification_mail_queue",
            ),
        ]
