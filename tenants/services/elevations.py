"""An operator's look into an organisation: for a reason, for hours at most, told to its owners, recorded on both sides.

Operators have no standing view of what organisations do. While an elevation lasts, they read the organisation's pages as an
auditor does, and its records in the admin; they change nothing.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.urls import reverse

from audit import services as audit
from core import clock
from core.errors import InvalidError, NotFoundError
from notifications import services as notifications
from notifications.services import webhooks
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Elevation, Tenant, User
from tenants.selectors.people import holders

STARTED = "operations.elevation_started"
MINUTES = (30, 60, 120, 240)
Ending = Elevation.Ending
_REASON_MIN, _REASON_MAX, _TICKET_MAX = 10, 300, 100


def start(*, operator: User, tenant: Tenant, reason: str, minutes: int, ticket: str = "") -> Elevation:
    """Let an operator look; an elevation that they had ends. The caller has made sure that it is them.

    Raises InvalidError for a reason that says nothing and for a time that may not be chosen.
    """
    reason, ticket = _one_line(reason)[:_REASON_MAX], _one_line(ticket)[:_TICKET_MAX]
    if len(reason) < _REASON_MIN:
        raise InvalidError(
            "Say why you look, in a sentence that the organisation understands.",
            code="tenants.elevation_reason",
            next_step="The organisation reads it in its audit log.",
            field="reason",
        )
    if minutes not in MINUTES:
        raise InvalidError("Choose one of the times.", code="tenants.elevation_time", field="minutes")
    with transaction.atomic():
        with platform_scope():
            # One at a time for each operator: two browsers that start at once wait for each other here.
            User.objects.select_for_update().get(pk=operator.pk)
            for former in Elevation.objects.filter(operator=operator, ended_at=None).select_related("tenant"):
                _end(former, Ending.REPLACED if former.is_live else Ending.TIME, operator)
            now = clock.now()
            elevation = Elevation.objects.create(
                operator=operator,
                operator_label=operator.email,
                tenant=tenant,
                reason=reason,
                ticket=ticket,
                created_at=now,
                ends_at=now + timedelta(minutes=minutes),
            )
        data = {"reason": reason, "ticket": ticket, "ends_at": elevation.ends_at}
        _record(elevation, "started", _party(operator), data)
        _tell(elevation)
    return elevation


def end(*, elevation_id: UUID, actor: User, tenant: Tenant | None = None) -> Elevation:
    """End an elevation now: by its operator, or by the organisation (`tenant`) that is looked at. Twice changes nothing.

    Raises NotFoundError for one of somebody else.
    """
    wanted = {"tenant": tenant} if tenant else {"operator": actor}
    with transaction.atomic(), platform_scope():
        rows = Elevation.objects.select_for_update(of=("self",)).select_related("tenant")
        elevation = rows.filter(pk=elevation_id, **wanted).first()
        if elevation is None:
            raise NotFoundError("There is no such view of an operator.")
        if elevation.ended_at is None:
            _end(elevation, Ending.ORGANISATION if tenant else Ending.OPERATOR, actor)
    return elevation


def end_overdue() -> int:
    """Note the end of what is over by its time; how many there were."""
    with platform_scope():
        overdue = list(Elevation.objects.filter(ended_at=None, ends_at__lte=clock.now()).values_list("pk", flat=True))
    for pk in overdue:
        with transaction.atomic(), platform_scope():
            rows = Elevation.objects.select_for_update(of=("self",)).select_related("tenant")
            elevation = rows.filter(pk=pk, ended_at=None).first()
            if elevation is not None:
                _end(elevation, Ending.TIME, None)
    return len(overdue)


def find_live(elevation_id: object, operator: User) -> Elevation | None:
    """The elevation of this id if it is this operator's and lasts still. Operators who are none any more have none."""
    if not isinstance(elevation_id, str) or not operator.is_staff or not operator.is_active:
        return None
    rows = Elevation.objects.select_related("tenant").filter(operator_id=operator.pk, ended_at=None)
    try:
        elevation = rows.filter(pk=UUID(elevation_id)).first()
    except ValueError:
        return None
    return elevation if elevation is not None and elevation.is_live else None


def note_view(elevation: Elevation, path: str) -> None:
    """Record in the organisation's log what its operator looked at. Inside the organisation's schema."""
    actor = audit.Party("operator", str(elevation.operator_id), elevation.operator_label)
    audit.record("operations:elevation:viewed", actor=actor, target=_target(elevation), data={"path": path[:500]})


def _end(elevation: Elevation, why: str, actor: User | None) -> None:
    elevation.ended_at, elevation.ended_why = clock.now(), why
    elevation.save(update_fields=["ended_at", "ended_why", "updated_at"])
    party = _actor(elevation, why, actor)
    _record(elevation, "ended", party, {"why": str(why)})


def _actor(elevation: Elevation, why: str, actor: User | None) -> audit.Party:
    if actor is None:
        return audit.SYSTEM
    return audit.Party("user", str(actor.pk), actor.email) if why == Ending.ORGANISATION else _party(actor)


def _record(elevation: Elevation, verb: str, actor: audit.Party, data: dict[str, object]) -> None:
    """On both sides: the organisation sees who looked, the platform sees where its operators looked."""
    tenant = elevation.tenant
    target = audit.Party("organisation", str(tenant.pk), tenant.name)
    for scope in (tenant_scope(tenant), platform_scope()):
        with scope:
            audit.record(f"operations:elevation:{verb}", actor=actor, target=target, data=data)
    with tenant_scope(tenant):
        told = {"operator": elevation.operator_label, "reason": elevation.reason, "ticket": elevation.ticket}
        url = reverse("org:operators", args=[tenant.slug])
        webhooks.emit(tenant.pk, f"operations.elevation.{verb}", {**told, **data, "url": url})


def _tell(elevation: Elevation) -> None:
    tenant = elevation.tenant
    with tenant_scope(tenant):
        for person in holders(tenant, Right.MANAGE_SETTINGS):
            notifications.notify(
                kind=STARTED,
                title=f"An operator of the platform looks into {tenant.name}",
                body=f"{elevation.operator_label}, until {elevation.ends_at:%Y-%m-%d %H:%M} UTC at the latest."
                f" The reason: {elevation.reason}{f' (ticket {elevation.ticket})' if elevation.ticket else ''}."
                " They see what an auditor sees and change nothing. You can end it on this page.",
                url=reverse("org:operators", args=[tenant.slug]),
                recipient_id=person.pk,
                email=person.email,
            )


def _party(operator: User) -> audit.Party:
    return audit.Party("operator", str(operator.pk), operator.email)


def _target(elevation: Elevation) -> audit.Party:
    return audit.Party("organisation", str(elevation.tenant_id), elevation.tenant.name)


def _one_line(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())
