"""The one door to catalog rows: whatever is shown or used passes `visible_to`."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from catalog.choices import Origin, Status, Visibility
from catalog.models import Server
from catalog.types import Viewer

_LISTED = (Status.LISTED, Status.APPROVED, Status.DEPRECATED)


def visible_to(viewer: Viewer) -> QuerySet[Server]:
    """Servers that this viewer may know of: own ones in any state, public ones once approved or listed, all for the platform.

    A server of one team, or of chosen teams, is known to those teams only. The row policy of Postgres holds the organisation's
    border a second time.
    """
    rows = _rows()
    if viewer.platform:
        return rows
    public = Q(visibility=Visibility.PUBLIC, status__in=_LISTED)
    if viewer.tenant_id is None:
        return rows.filter(public)
    return rows.filter(public | (_own(viewer) & ~Q(status=Status.REMOVED)))


def removed_from(viewer: Viewer) -> QuerySet[Server]:
    """Servers that this viewer could know of before they were removed; who keeps a copy of the catalog has to learn it."""
    rows = _rows().filter(status=Status.REMOVED)
    if viewer.platform:
        return rows
    # What was never approved here nor listed by a source was never public, whatever its visibility says.
    public = Q(visibility=Visibility.PUBLIC) & (Q(origin=Origin.IMPORTED) | Q(approved_at__isnull=False))
    return rows.filter(public if viewer.tenant_id is None else public | _own(viewer))


def _rows() -> QuerySet[Server]:
    return Server.objects.select_related("provider", "owner_tenant", "owner_team", "current_version")


def _own(viewer: Viewer) -> Q:
    """Servers of the viewer's organisation that are not for other teams of it."""
    team = (
        Q(visibility__in=[Visibility.ORG, Visibility.PUBLIC])
        | Q(visibility=Visibility.TENANT) & (Q(owner_team=None) | Q(owner_team_id__in=viewer.team_ids))
        | Q(visibility=Visibility.GROUP, allowed_teams__overlap=list(viewer.team_ids))
    )
    return Q(owner_tenant_id=viewer.tenant_id) & team


def is_listed(server: Server) -> bool:
    """Whether a public server is there for others than its owner."""
    return server.status in _LISTED


def find_server(viewer: Viewer, slug: str) -> Server | None:
    """The server that this name means for this viewer: a governed one before a listed one, an own one before a public one."""
    rows = visible_to(viewer).filter(slug=slug)

    def order(server: Server) -> tuple[bool, bool]:
        return server.status == Status.LISTED, server.owner_tenant_id != viewer.tenant_id

    return min(rows, key=order, default=None)
