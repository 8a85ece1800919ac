"""What time does: requests that nobody decided are escalated and end, and people hear of rights that are about to end."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse

from access.models import AccessRequest, EventKind, Grant, GrantReminder, RequestState
from access.models.request import UNDECIDED
from access.requests import providers, routing, telling
from access.requests.events import audited, noted
from access.services.grants import event_data
from audit import services as audit
from core import clock
from notifications import services as notifications
from notifications.services import webhooks
from tenants.choices import Right
from tenants.models import Membership, Tenant, User
from tenants.selectors.people import holders

_BATCH = 200
_EXPIRED = "expired"
# An end that was noted by nobody for so long, because no worker ran, is no news.
_NEWS_FOR = timedelta(days=7)
# Kind, how long before the end, and how long a right must have been given for that to be worth a word.
_REMINDERS = (
    ("week", timedelta(days=7), timedelta(days=14)),
    ("day", timedelta(days=1), timedelta(days=2)),
)


def escalate_due(tenant: Tenant) -> int:
    """Let owners and admins decide as well where nobody has decided in time; how many requests."""
    due = AccessRequest.objects.filter(
        state=RequestState.OPEN, escalated_at=None, escalate_at__lte=clock.now(), expires_at__gt=clock.now()
    )
    return sum(_escalate(tenant, pk) for pk in list(due.values_list("pk", flat=True)[:_BATCH]))


def _escalate(tenant: Tenant, request_id: UUID) -> bool:
    with transaction.atomic():
        request = AccessRequest.objects.select_for_update(skip_locked=True).filter(pk=request_id).first()
        if request is None or request.state != RequestState.OPEN or request.escalated_at:
            return False
        request.escalated_at = clock.now()
        request.save(update_fields=["escalated_at", "updated_at"])
        noted(request, EventKind.ESCALATED, actor=None, comment="Nobody decided in time; owners and admins were told.")
        audited("access:request:escalated", None, request, {"stage": request.stage})
        telling.tell_approvers(tenant, request, "escalated")
        return True


def refresh_deciders(tenant: Tenant) -> None:
    """People come, go, change roles and go away: write down again who may decide what waits."""
    for request in AccessRequest.objects.filter(state=RequestState.OPEN)[:_BATCH]:
        routing.keep_deciders(tenant, request)


def expire_due(tenant: Tenant) -> int:
    """End the requests that nobody decided; how many."""
    due = AccessRequest.objects.filter(state__in=UNDECIDED, expires_at__lte=clock.now())
    return sum(_expire(tenant, pk) for pk in list(due.values_list("pk", flat=True)[:_BATCH]))


def _expire(tenant: Tenant, request_id: UUID) -> bool:
    with transaction.atomic():
        request = AccessRequest.objects.select_for_update(skip_locked=True).filter(pk=request_id).first()
        if request is None or not request.undecided:
            return False
        request.state, request.decided_at = RequestState.EXPIRED, clock.now()
        request.save(update_fields=["state", "decided_at", "updated_at"])
        noted(request, EventKind.EXPIRED, actor=None)
        audited("access:request:expired", None, request, {})
        providers.close(tenant, request)
        telling.tell_requester(tenant, request, "expired", "Ask again if the access is still needed.")
        return True


def remind_expiring(tenant: Tenant) -> int:
    """Tell those who act with a right that it ends soon, a week and a day before; how many rights."""
    told = 0
    for kind, before, lifetime in _REMINDERS:
        for grant in _ending(kind, before)[:_BATCH]:
            if grant.expires_at and grant.expires_at - grant.created_at >= lifetime:
                told += _remind(tenant, grant, kind)
    return told


def _ending(kind: str, before: timedelta) -> QuerySet[Grant]:
    now = clock.now()
    reminded = GrantReminder.objects.filter(kind=kind).values("grant_id")
    return Grant.objects.filter(
        Q(expires_at__gt=now, expires_at__lte=now + before), revoked_at=None, disabled_at=None
    ).exclude(pk__in=reminded)


def _remind(tenant: Tenant, grant: Grant, kind: str) -> bool:
    assert grant.expires_at is not None
    with transaction.atomic():
        _, created = GrantReminder.objects.get_or_create(grant=grant, kind=kind)
        if not created:
            return False
        name = grant.subject_label or "An agent"
        if kind == _REMINDERS[-1][0]:
            webhooks.emit(tenant.pk, "access.grant.expiring", {"grant_id": grant.pk, "subject": name})
        for person in _concerned(tenant, grant):
            notifications.notify(
                kind="access.grant_expiring",
                title=f"Access of {name} ends {grant.expires_at:%-d %B %Y, %H:%M} UTC",
                body="After that, calls are refused. One click asks for the same again.",
                url=reverse("org:grant-renew", args=[tenant.slug, grant.pk]),
                recipient_id=person.pk,
                email=person.email,
            )
        return True


def note_expired(tenant: Tenant) -> int:
    """Record the ends that time brought to grants, once each, and tell the organisation's systems; how many."""
    now = clock.now()
    noted_already = GrantReminder.objects.filter(kind=_EXPIRED).values("grant_id")
    over = Grant.objects.filter(
        expires_at__lte=now, expires_at__gt=now - _NEWS_FOR, revoked_at=None, disabled_at=None
    ).exclude(pk__in=noted_already)
    return sum(_note_expired(tenant, grant) for grant in over[:_BATCH])


def _note_expired(tenant: Tenant, grant: Grant) -> bool:
    with transaction.atomic():
        _, created = GrantReminder.objects.get_or_create(grant=grant, kind=_EXPIRED)
        if created:
            target = audit.Party("grant", str(grant.pk), grant.who[:254])
            audit.record("access:grant:expired", actor=audit.SYSTEM, target=target, data=event_data(grant))
            webhooks.emit(tenant.pk, "access.grant.expired", event_data(grant))
        return created


def _concerned(tenant: Tenant, grant: Grant) -> list[User]:
    """Those who act with the right and are still here, and who asked for it; else those who manage access."""
    ids = routing.beneficiaries(
        tenant,
        user=grant.subject_user,
        team=grant.subject_team,
        key=grant.subject_key,
    )
    if grant.request_id:
        ids |= set(AccessRequest.objects.filter(pk=grant.request_id).values_list("requester_id", flat=True))
    members = Membership.objects.filter(tenant=tenant, user_id__in=ids, user__is_active=True).select_related("user")
    return [member.user for member in members] or holders(tenant, Right.MANAGE_ACCESS)
