"""Telling people (`messages`) and programs (`webhooks`)."""

from notifications.services.messages import MAIL_ATTEMPTS_MAX, mark_read, notify, send_waiting

__all__ = ["MAIL_ATTEMPTS_MAX", "mark_read", "notify", "send_waiting"]
