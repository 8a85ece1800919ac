"""Telling people: a row in their inbox, and a mail when the kind asks for one.

The row is the queue. Sending happens in a job after the commit and again in a sweep every minute, so that neither a lost job
nor an unreachable mail server loses a message.
"""

from __future__ import annotations

from smtplib import SMTPException
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import F
from django.template.loader import render_to_string

from core import clock, jobs
from notifications.models import Notification

MAIL_ATTEMPTS_MAX = 10
_BATCH = 100


def notify(
    *, kind: str, title: str, body: str = "", url: str = "", recipient_id: UUID | None = None, email: str = ""
) -> Notification:
    """Tell a person (inbox), an address (mail), or both. `url` is a path of ours or empty."""
    notification = Notification.objects.create(
        recipient_id=recipient_id,
        email=email,
        kind=kind,
        # One line: it becomes the subject of a mail, and a header with a line break is refused by the mailer for ever.
        title=" ".join(title.split())[:200],
        body=body,
        url=url,
        email_wanted=bool(email),
    )
    if email:
        jobs.enqueue("notifications.send_waiting", schema_name=_active_schema())
    return notification


def mark_read(recipient_id: UUID, notification_ids: list[UUID] | None = None) -> int:
    """Mark some, or all, of a person's notifications as read; how many changed."""
    rows = Notification.objects.filter(recipient_id=recipient_id, read_at=None)
    if notification_ids is not None:
        rows = rows.filter(pk__in=notification_ids)
    return rows.update(read_at=clock.now())


def send_waiting() -> int:
    """Send the mails that wait in the active schema; how many were sent. Two workers never send the same one."""
    sent = 0
    while sent < _BATCH:
        with transaction.atomic():
            waiting = (
                Notification.objects.select_for_update(skip_locked=True)
                .filter(email_wanted=True, emailed_at=None, email_attempts__lt=MAIL_ATTEMPTS_MAX)
                .order_by("email_attempts", "created_at")
                .first()
            )
            if waiting is None:
                return sent
            try:
                _send(waiting)
            except (OSError, SMTPException):
                Notification.objects.filter(pk=waiting.pk).update(email_attempts=F("email_attempts") + 1)
                return sent
            # A link that was mailed to an address alone may carry a token; it is not kept longer than the mail needs it.
            url = waiting.url if waiting.recipient_id else ""
            Notification.objects.filter(pk=waiting.pk).update(emailed_at=clock.now(), url=url)
        sent += 1
    return sent


def _active_schema() -> str:
    return connection.schema_name  # type: ignore[attr-defined,no-any-return]


def _send(notification: Notification) -> None:
    link = f"{settings.PUBLIC_URL}{notification.url}" if notification.url.startswith("/") else notification.url
    text = render_to_string("emails/notification.txt", {"notification": notification, "link": link})
    page = render_to_string("emails/notification.html", {"notification": notification, "link": link})
    send_mail(notification.title, text, settings.DEFAULT_FROM_EMAIL, [notification.email], html_message=page)
