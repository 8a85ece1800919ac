"""Telling people that a connection of theirs ended. Runs inside the organisation's schema, in the transaction of the end."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import reverse

from access.models import UpstreamCredential
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from notifications import services as notifications
from tenants.choices import Right
from tenants.context import PLATFORM, viewer
from tenants.models import Membership, Tenant, User
from tenants.selectors.people import holders

ENDED = "access.connection_ended"


def tell_ended(tenant: Tenant, row: UpstreamCredential) -> None:
    """The person whose account it was; of a credential for everybody, those who look after keys."""
    with viewer(PLATFORM):
        server = visible_to(Viewer(platform=True)).get(pk=row.server_id)
    page = reverse("org:connection-create", args=[tenant.slug])
    kind = {"kind": "oauth"} if row.user_id is None else {}
    url = f"{page}?{urlencode({'server': server.slug, **kind})}"
    for person in _concerned(tenant, row):
        whose = "Your account" if row.user_id else f"The OAuth client of {tenant.name}"
        notifications.notify(
            kind=ENDED,
            title=f"{server.name}: {whose[0].lower()}{whose[1:]} has to be connected again",
            body=f"{whose} at {row.issuer} is no longer accepted. {row.status_detail} Calls that need it are refused until "
            "it is connected again.",
            url=url,
            recipient_id=person.pk,
            email=person.email,
        )


def _concerned(tenant: Tenant, row: UpstreamCredential) -> list[User]:
    if row.user_id is None:
        return holders(tenant, Right.MANAGE_KEYS)
    members = Membership.objects.filter(tenant=tenant, user_id=row.user_id, user__is_active=True)
    return [member.user for member in members.select_related("user")]
