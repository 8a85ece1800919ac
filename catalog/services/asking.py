"""Asking those who may give access."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from audit import services as audit
from catalog.models import Server
from core import clock
from core.errors import ConflictError
from notifications import services as notifications
from notifications.models import Notification
from tenants.choices import Right
from tenants.context import tenant_scope
from tenants.models import Tenant, User
from tenants.selectors.people import holders

KIND = "access.requested"
# Asking twice a day reminds; asking twice a minute annoys.
AGAIN_AFTER = timedelta(hours=12)


def ask_for_access(*, organisation: Tenant, person: User, server: Server, url: str) -> list[str]:
    """Tell everybody who may give access that a person wants to use a server; the addresses that were told.

    `url` is the page on which access is given. Raises ConflictError when this person asked a short while ago.
    """
    givers = holders(organisation, Right.MANAGE_ACCESS)
    title = f"{person.email} asks for access to {server.name}"[:200]
    with tenant_scope(organisation), transaction.atomic():
        recent = Notification.objects.filter(kind=KIND, title=title, created_at__gte=clock.now() - AGAIN_AFTER)
        if recent.exists():
            raise ConflictError(
                "You have asked already, and those who can give access were told.",
                code="catalog.access_asked",
                next_step="Wait for their answer, or speak to them.",
            )
        for giver in givers:
            notifications.notify(
                kind=KIND, title=title, url=url, recipient_id=giver.pk, email=giver.email, body=server.summary
            )
        audit.record(
            "catalog:access:asked",
            actor=audit.Party("user", str(person.pk), person.email),
            target=audit.Party("server", str(server.pk), server.name),
        )
    return [giver.email for giver in givers]
