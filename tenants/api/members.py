"""Members on the interfaces that take a browser's session beside keys: as what they come, with their own rights and teams.

The organisation is the one that the query names (`organisation`), else the one whose pages the person used last. A session is no
credential for changes without the token against forgery.
"""

from __future__ import annotations

import re
from uuid import UUID

from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from core.errors import ForbiddenError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Right, Scope
from tenants.context import connection
from tenants.models import Membership, User
from tenants.models.tenant import SLUG_REGEX
from tenants.requests import MarketRequest

_SLUG = re.compile(SLUG_REGEX)


class MemberAuthentication(SessionAuthentication):
    """Sets `request.auth` and opens the organisation's schema. Raises ForbiddenError for a person without an organisation."""

    def authenticate(self, request: Request) -> tuple[User, Credential] | None:  # type: ignore[override]
        found = super().authenticate(request)
        if found is None:
            return None
        user: User = found[0]
        membership = _membership(request, user)
        if membership is None:
            raise ForbiddenError(
                "You belong to no such organisation.",
                code="tenants.no_organisation",
                next_step="Name one of yours with the parameter organisation, or send an API key.",
            )
        connection.set_tenant(membership.tenant)
        connection.set_viewer(str(membership.tenant_id))
        teams = frozenset(membership.teams.values_list("pk", flat=True))
        return user, Credential(membership.tenant, user, _scopes(membership), teams=teams)

    def enforce_csrf(self, request: Request) -> None:  # type: ignore[override]
        """Before the body is parsed: whoever has no token learns nothing of what the body may be."""
        super().enforce_csrf(request._request)  # type: ignore[arg-type]


def _membership(request: Request, user: User) -> Membership | None:
    wanted = request.query_params.get("organisation", "")
    if not wanted:
        web: MarketRequest = request._request  # type: ignore[assignment]
        return web.membership
    if not _SLUG.match(wanted):
        return None
    rows = Membership.objects.select_related("tenant")
    return rows.filter(user=user, tenant__slug=wanted, tenant__suspended_at=None).first()


def _scopes(membership: Membership) -> frozenset[str]:
    scopes = {Scope.CATALOG_READ.value, Scope.INVOKE.value}
    if membership.can(Right.MANAGE_ACCESS):
        scopes.add(Scope.ADMIN.value)
    return frozenset(scopes)


def membership_of(credential: Credential) -> Membership:
    """The membership of the person behind a credential. Raises ForbiddenError where there is none."""
    user_id: UUID | None = credential.user.pk if credential.user is not None else None
    rows = Membership.objects.select_related("tenant", "user")
    member = rows.filter(tenant=credential.tenant, user_id=user_id, user__is_active=True).first() if user_id else None
    if member is None:
        raise ForbiddenError(
            "This key stands for no member of the organisation.",
            code="tenants.person_missing",
            next_step="Use a key that a member has made.",
        )
    return member


class ForMembersAPI(APIView):
    """What only a member may do, by a key with the scope `admin` that the member has made."""

    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @staticmethod
    def actor(request: Request) -> Membership:
        """The member behind the key. Raises ForbiddenError when there is none: nobody decides in nobody's name."""
        assert isinstance(request.auth, Credential)  # HasScope let nobody else in
        return membership_of(request.auth)
