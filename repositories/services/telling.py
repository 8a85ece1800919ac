"""Telling who looks after a source that it cannot be read: once for each row of failures, however long it gets."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from core import clock
from core.jobs import enqueue
from notifications import services as notifications
from repositories.models import Repository
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import User
from tenants.selectors.people import holders

KIND = "repositories.source_failing"
# One failure is a bad minute of somebody's server.
FAILURES_MIN = 3


def tell_waiting() -> None:
    """Start the notices that wait, also those whose job was lost."""
    for repository_id in waiting().values_list("pk", flat=True):
        enqueue("repositories.tell_failing", repository_id=str(repository_id))


def tell(repository_id: UUID | str) -> None:
    """Whoever manages the sources of the owner, or the operators for one of the platform. A second time changes nothing."""
    with platform_scope(), transaction.atomic():
        source = waiting().select_for_update(of=("self",)).filter(pk=repository_id).first()
        if source is None:
            return
        source.failing_told_at = clock.now()
        source.save(update_fields=["failing_told_at"])
        if source.owner_tenant is None:
            operators = User.objects.filter(is_staff=True, is_active=True)
            _notify(source, list(operators), reverse("operations-source", args=[source.pk]))
        elif source.owner_tenant.suspended_at is None:
            people = holders(source.owner_tenant, Right.MANAGE_SOURCES)
            with tenant_scope(source.owner_tenant):
                _notify(source, people, reverse("org:source", args=[source.owner_tenant.slug, source.pk]))


def waiting() -> QuerySet[Repository]:
    """Sources that fail again and again and of which nobody was told."""
    rows = Repository.objects.select_related("owner_tenant")
    return rows.filter(failures__gte=FAILURES_MIN, failing_told_at=None, removed_at=None, enabled=True)


def _notify(source: Repository, people: list[User], url: str) -> None:
    last = f"It was last read on {source.last_sync:%d %b %Y, %H:%M} UTC. " if source.last_sync else ""
    body = (
        f"{source.failures} readings in a row failed. {last}The last one ended with: {source.sync_error} "
        "It is tried again with longer pauses, and what it listed stays listed. You are told of it once."
    )
    for person in people:
        notifications.notify(
            kind=KIND,
            title=f"The source {source.name} cannot be read",
            body=body,
            url=url,
            recipient_id=person.pk,
            email=person.email,
        )
