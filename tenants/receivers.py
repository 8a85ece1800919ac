"""What follows from facts that django-allauth and the channels of notifications tell."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from allauth.usersessions.models import UserSession
from django.dispatch import receiver
from django.http import HttpRequest

from core import jobs
from notifications.signals import webhooks_waiting
from tenants.models import User

_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


@receiver(authenticator_added)
def end_sessions_without_a_factor(request: HttpRequest, user: User, **_: Any) -> None:
    """The first second factor ends every other session of its owner: those were opened with a password alone."""
    if Authenticator.objects.filter(user=user, type__in=_FACTORS).count() != 1:
        return
    for session in UserSession.objects.filter(user=user).exclude(session_key=request.session.session_key or ""):
        session.end()


@receiver(webhooks_waiting)
def deliver_webhooks(tenant_id: UUID, **_: Any) -> None:
    jobs.enqueue("tenants.deliver_webhooks", tenant_id=str(tenant_id))
