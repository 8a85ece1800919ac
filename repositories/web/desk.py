"""Whose sources a page shows, and what this person may do with them: the platform's, or an organisation's."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.urls import reverse

from audit.services import Party
from repositories.services.sources import Keeper
from tenants.choices import Right
from tenants.models import Team
from tenants.requests import MarketRequest
from tenants.services import rights
from tenants.web.guards import person


@dataclass(frozen=True, slots=True)
class Desk:
    keeper: Keeper
    org: str  # short name; empty for the platform
    may_manage: bool
    helpers: str  # who can, for those who may not

    @property
    def layout(self) -> str:
        return "layouts/org.html" if self.org else "layouts/any.html"

    @property
    def owner(self) -> str:
        return self.keeper.tenant.name if self.keeper.tenant else "the platform"

    def url(self, page: str, source_id: UUID | None = None) -> str:
        """The address of one of the pages: sources, source, source-create …"""
        name = f"org:{page}" if self.org else f"operations-{page}"
        given = [self.org] if self.org else []
        return reverse(name, args=[*given, *([source_id] if source_id else [])])

    @property
    def list_url(self) -> str:
        return self.url("sources")

    @property
    def create_url(self) -> str:
        return self.url("source-create")

    def teams(self) -> list[tuple[str, str]]:
        if self.keeper.tenant is None:
            return []
        return [(str(team.pk), team.name) for team in Team.objects.filter(tenant=self.keeper.tenant).order_by("name")]


def desk_of(request: MarketRequest, org: str) -> Desk:
    """For pages of operators `org` is empty, and the middleware has let only operators through."""
    user = person(request)
    if not org:
        return Desk(Keeper(Party("operator", str(user.pk), user.email)), "", may_manage=True, helpers="")
    assert request.organisation is not None
    assert request.membership is not None
    may = request.membership.can(Right.MANAGE_SOURCES)
    helpers = "" if may else rights.who_can(request.membership, Right.MANAGE_SOURCES)
    return Desk(Keeper(Party("user", str(user.pk), user.email), request.organisation), org, may, helpers)


def managing_desk(request: MarketRequest, org: str) -> Desk:
    """The same for what only those who manage sources may do. Raises ForbiddenError."""
    if org:
        assert request.membership is not None
        rights.require(request.membership, Right.MANAGE_SOURCES)
    return desk_of(request, org)
