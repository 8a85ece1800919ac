"""From a request to the catalog's words for who looks."""

from __future__ import annotations

from catalog.cards import Standing
from catalog.selectors import usable
from catalog.selectors.search import Scene
from catalog.types import PUBLIC_VIEWER, Viewer
from tenants.choices import Right
from tenants.requests import MarketRequest


def viewer_of(request: MarketRequest) -> Viewer:
    """This person through the organisation that they look through; everybody else is the public."""
    if request.organisation is None or request.membership is None:
        return PUBLIC_VIEWER
    teams = request.membership.teams.values_list("pk", flat=True)
    return Viewer(tenant_id=request.organisation.pk, team_ids=frozenset(teams))


def scene_of(request: MarketRequest) -> Scene:
    return Scene(viewer_of(request), frozenset(usable.usable_servers(request.organisation)))


def standing_of(request: MarketRequest) -> Standing:
    membership = request.membership
    return Standing(
        signed_in=request.user.is_authenticated,
        organisation=membership is not None,
        may_give=membership is not None and membership.can(Right.MANAGE_ACCESS),
    )
