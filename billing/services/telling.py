"""Telling organisations that a price of a server which they use will rise."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.urls import reverse

from billing.core.wording import words
from billing.models import PriceVersion
from calls import selectors as calls
from catalog.selectors import extras
from core import clock
from notifications import services as notifications
from notifications.models import Notification
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.jobs import each_tenant
from tenants.models import Tenant
from tenants.selectors.people import holders

RISING = "billing.price_rises"
USED_LATELY = timedelta(days=90)


def tell_price(price_id: UUID) -> None:
    """Tell those who see to money and access, by web and mail, unless the price was withdrawn meanwhile."""
    with platform_scope():
        price = PriceVersion.objects.select_related("server", "tenant").filter(pk=price_id).first()
    if price is None or price.effective_to == price.effective_from:
        return
    for tenant in [price.tenant] if price.tenant else each_tenant():
        if tenant.pk == price.server.owner_tenant_id:
            continue
        with tenant_scope(tenant):
            if price.tenant or _relies_on(price.server_id):
                _tell(tenant, price)


def _relies_on(server_id: UUID) -> bool:
    """Whether the organisation whose schema is open may call a server, or did lately, with a grant or by a policy."""
    return extras.is_used(server_id) or calls.has_called(server_id, clock.now() - USED_LATELY)


def _tell(tenant: Tenant, price: PriceVersion) -> None:
    what = f"{price.tool} of {price.server.name}" if price.tool else price.server.name
    title = f"{what}: another price from {price.effective_from:%d %B %Y} on"
    body = (
        f"From {price.effective_from:%d %B %Y %H:%M} UTC on calls cost {words(price.terms, price.currency)}, which can be more "
        "than now. Until then the present price holds. If that is too much, revoke the grants or set a spending cap."
    )
    people = {
        person.pk: person for right in (Right.VIEW_BILLING, Right.MANAGE_ACCESS) for person in holders(tenant, right)
    }
    with transaction.atomic():
        for person in people.values():
            if Notification.objects.filter(kind=RISING, recipient_id=person.pk, title=title, body=body).exists():
                continue
            notifications.notify(
                kind=RISING,
                title=title,
                body=body,
                url=reverse("catalog:server", args=[price.server.slug]),
                recipient_id=person.pk,
                email=person.email,
            )
