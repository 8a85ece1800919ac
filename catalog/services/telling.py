"""Telling people what happened to a server of theirs."""

from __future__ import annotations

from django.db import transaction
from django.urls import reverse

from catalog.models import Server
from notifications import services as notifications
from notifications.models import Notification
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant, User
from tenants.selectors.people import holders

QUARANTINED = "catalog.tools_quarantined"


def tell_quarantine(server_id: str, tools: str) -> None:
    """Whoever runs the server and whoever runs the platform. Told twice, the second time changes nothing."""
    server = _find(server_id)
    with platform_scope():
        operators = list(User.objects.filter(is_staff=True, is_active=True))
    if server is None:
        return
    if server.owner_tenant is not None:
        _tell_members(server.owner_tenant, server, tools)
    with platform_scope(), transaction.atomic():
        for person in operators:
            _tell(person, server, tools, reverse("operations-quarantine"))


def tell_user(organisation: Tenant, server_id: str, tools: str) -> None:
    """An organisation that uses the server without owning it."""
    server = _find(server_id)
    if server is not None and server.owner_tenant_id != organisation.pk:
        _tell_members(organisation, server, tools)


def _find(server_id: str) -> Server | None:
    with platform_scope():
        return Server.objects.select_related("owner_tenant").filter(pk=server_id).first()


def _tell_members(organisation: Tenant, server: Server, tools: str) -> None:
    """Those who look after access in one organisation."""
    url = f"{reverse('catalog:server', args=[server.slug])}?tab=tools"
    with tenant_scope(organisation), transaction.atomic():
        for person in holders(organisation, Right.MANAGE_ACCESS):
            _tell(person, server, tools, url)


def _tell(person: User, server: Server, tools: str, url: str) -> None:
    title = f"{server.name}: a tool changed after approval and is closed"
    body = (
        f"The server now describes {tools} differently from what was approved. Calls of these tools are refused until "
        "the changed definition is approved; every other tool works as before."
    )
    told = Notification.objects.filter(kind=QUARANTINED, recipient_id=person.pk, title=title, body=body, read_at=None)
    if not told.exists():
        notifications.notify(
            kind=QUARANTINED, title=title, body=body, url=url, recipient_id=person.pk, email=person.email
        )
