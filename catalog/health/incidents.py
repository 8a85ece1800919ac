"""Incidents: one from the moment a server's shown state turns bad until it is ready again, told of once at either end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse

from catalog.choices import Cause, Health
from catalog.health import rules
from catalog.health.checks import Finding
from catalog.health.models import Incident
from catalog.models import Server
from core import clock
from core.jobs import enqueue
from notifications import services as notifications
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import User
from tenants.selectors.people import holders

OPENED, CLOSED = "health.incident_opened", "health.incident_closed"


def follow(server_id: UUID, state: str, finding: Finding, recent: Sequence[tuple[str, str]]) -> None:
    """Open, worsen or close the incident of a server that is now shown as `state`. `recent` are the checks before this one."""
    if finding.outcome == Health.UNKNOWN and finding.cause != Cause.SIGN_IN:
        return
    present = Incident.objects.select_for_update().filter(server_id=server_id, closed_at=None).first()
    if present is None and rules.is_bad(state):
        _open(server_id, state, finding, recent)
    elif present is not None and not rules.is_bad(state):
        _close(present)
    elif present is not None and rules.is_worse(state, present.severity):
        present.severity, present.cause, present.detail = state, finding.cause, finding.detail[:300]
        present.save(update_fields=["severity", "cause", "detail"])


def close_unchecked(watched: QuerySet[Server]) -> None:
    """End incidents of servers that nobody checks any more. Nobody is told: it was somebody's decision."""
    now = clock.now()
    Incident.objects.filter(closed_at=None).exclude(server__in=watched).update(closed_at=now, told_closed_at=now)


def tell_waiting() -> None:
    """Start the notices that wait, also those whose job was lost."""
    waiting = Q(told_opened_at=None) | Q(closed_at__isnull=False, told_closed_at=None)
    for incident_id in Incident.objects.filter(waiting).values_list("pk", flat=True):
        enqueue("catalog.tell_incident", incident_id=str(incident_id))


def tell(incident_id: str) -> None:
    """Whoever runs the server and whoever runs the platform, of the beginning and of the end. A second time changes nothing."""
    with platform_scope(), transaction.atomic():
        incident = (
            Incident.objects.select_for_update(of=("self",))
            .select_related("server__owner_tenant")
            .filter(pk=incident_id)
            .first()
        )
        if incident is None:
            return
        now = clock.now()
        if incident.told_opened_at is None:
            incident.told_opened_at = now
            if incident.closed_at is None:  # over before anybody was told: one notice says both
                _tell_all(incident, OPENED)
        if incident.closed_at is not None and incident.told_closed_at is None:
            incident.told_closed_at = now
            _tell_all(incident, CLOSED)
        incident.save(update_fields=["told_opened_at", "told_closed_at"])


def _open(server_id: UUID, state: str, finding: Finding, recent: Sequence[tuple[str, str]]) -> None:
    now = finding.checked_at
    began = next((datetime.fromisoformat(at) for outcome, at in recent if rules.is_bad(outcome)), now)
    Incident.objects.create(
        server_id=server_id,
        severity=state,
        cause=finding.cause,
        detail=finding.detail[:300],
        began_at=min(began, now),
        opened_at=now,
    )


def _close(incident: Incident) -> None:
    incident.closed_at = clock.now()
    incident.save(update_fields=["closed_at"])


def _tell_all(incident: Incident, kind: str) -> None:
    server = incident.server
    title, body = _words(incident, kind)
    operators = User.objects.filter(is_staff=True, is_active=True)
    for person in operators:
        _notify(person, kind, title, body, reverse("operations-health"))
    if server.owner_tenant is not None:
        people = holders(server.owner_tenant, Right.MANAGE_ACCESS)
        with tenant_scope(server.owner_tenant):
            for person in people:
                _notify(person, kind, title, body, reverse("catalog:status", args=[server.slug]))


def _notify(person: User, kind: str, title: str, body: str, url: str) -> None:
    notifications.notify(kind=kind, title=title, body=body, url=url, recipient_id=person.pk, email=person.email)


def _words(incident: Incident, kind: str) -> tuple[str, str]:
    name = incident.server.name[:120]
    since = f"{incident.began_at:%d %b %Y, %H:%M} UTC"
    if kind == OPENED:
        state = Health(incident.severity).label.lower()
        title = f"{name} is {state}"
        return title, f"Since {since}. {incident.detail} You are told once more when it is ready again."
    assert incident.closed_at is not None
    minutes = max(round((incident.closed_at - incident.began_at).total_seconds() / 60), 1)
    lasted = f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
    worst = Health(incident.severity).label.lower()
    return f"{name} is ready again", f"It was {worst} since {since}, for {lasted}. {incident.detail}".strip()
