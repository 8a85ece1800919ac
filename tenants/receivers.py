"""What follows from facts that django-allauth and the channels of notifications tell."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from audit.signals import checkpoint_made
from audit.statements import Statement
from core import jobs
from notifications.services import webhooks as queue
from notifications.signals import webhooks_waiting
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant, User

_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


@receiver(authenticator_added)
def end_sessions_without_a_factor(request: HttpRequest, user: User, **_: Any) -> None:
    """The first second factor ends every other session of its owner: those were opened with a password alone."""
    if Authenticator.objects.filter(user=user, type__in=_FACTORS).count() != 1:
        return
    for session in UserSession.objects.filter(user=user).exclude(session_key=request.session.session_key or ""):
        session.end()


@receiver(checkpoint_made)
def tell_of_checkpoint(statement: Statement, **_: Any) -> None:
    """Whoever wants to keep the checkpoints of their log gets each."""
    with platform_scope():
        tenant = Tenant.objects.filter(schema_name=statement.log, suspended_at=None).first()
    if tenant is not None:
        with tenant_scope(tenant), transaction.atomic():
            queue.emit(tenant.pk, "audit.checkpoint.made", {"checkpoint": statement.as_json()})


@receiver(webhooks_waiting)
def deliver_webhooks(tenant_id: UUID, **_: Any) -> None:
    jobs.enqueue("tenants.deliver_webhooks", tenant_id=str(tenant_id))
