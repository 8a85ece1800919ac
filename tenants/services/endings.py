"""Telling people that an application they rely on is refused from a moment on: taken back by somebody else, or past its time."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.urls import reverse

from core import clock
from notifications import services as notifications
from notifications.models import Notification
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Consent, Membership, Tenant, User
from tenants.selectors.people import holders

ENDED = "tenants.application_ended"
# How long after its end an application is still news: longer than any pause of the job.
_NEWS_FOR = timedelta(days=7)
# An application that nobody used this long before its end is missed by nobody.
_MISSED = timedelta(days=30)


def tell_revoked(consent: Consent, *, actor: User | None) -> None:
    """The person whose application somebody else took back. Inside the transaction of that."""
    if consent.kind == Consent.Kind.PERSON and actor is not None and consent.user_id != actor.pk:
        _tell(consent, f"{actor.email} has ended it. Ask them before you allow it again from the application.")


def tell_expired(tenant: Tenant) -> int:
    """Tell whoever used an application that its time is over; how many applications there were. Told twice, nothing changes."""
    now = clock.now()
    with platform_scope():
        over = Consent.objects.filter(
            tenant=tenant,
            revoked_at=None,
            expires_at__lte=now,
            expires_at__gt=now - _NEWS_FOR,
            last_used_at__gt=now - _NEWS_FOR - _MISSED,
        )
        found = [consent for consent in over.select_related("tenant") if _was_missed(consent)]
    for consent in found:
        again = (
            "Sign in from the application once more, and it works as before."
            if consent.kind == Consent.Kind.PERSON
            else "Make another OAuth client under Keys, and give the agent its id and secret."
        )
        _tell(consent, f"What was agreed to has come to its end. {again}")
    return len(found)


def _was_missed(consent: Consent) -> bool:
    assert consent.expires_at is not None  # asked for
    return consent.last_used_at is not None and consent.last_used_at > consent.expires_at - _MISSED


def _tell(consent: Consent, body: str) -> None:
    tenant = consent.tenant
    page = reverse("applications") if consent.kind == Consent.Kind.PERSON else reverse("org:keys", args=[tenant.slug])
    # The mark at the end names the application, so that a second run finds what the first one told.
    url = f"{page}#{consent.key_id}"
    with tenant_scope(tenant), transaction.atomic():
        for person in _concerned(consent):
            if not Notification.objects.filter(kind=ENDED, recipient_id=person.pk, url=url).exists():
                notifications.notify(
                    kind=ENDED,
                    title=f"“{consent.name}” may no longer act in {tenant.name}",
                    body=body,
                    url=url,
                    recipient_id=person.pk,
                    email=person.email,
                )


def _concerned(consent: Consent) -> list[User]:
    if consent.kind == Consent.Kind.MACHINE:
        return holders(consent.tenant, Right.MANAGE_KEYS)
    return _member(consent.tenant, consent.user_id) if consent.user_id else []


def _member(tenant: Tenant, user_id: UUID) -> list[User]:
    members = Membership.objects.filter(tenant=tenant, user_id=user_id, user__is_active=True)
    return [member.user for member in members.select_related("user")]
