"""Which organisation a web request is about, and whether this person may be there.

The path says which (`/o/<org>/…`), the membership says whether. The answer for "no such organisation" and for "not yours" is
the same 404. An API key of another organisation that comes along gets it too: parts that disagree are refused, and audited.
A short name that the organisation had before leads its members to the present one.
The schema is set for the time of the request only and is public before and after, whatever happens between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote
from uuid import UUID

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from core.errors import ForbiddenError, NotFoundError
from core.problems import as_page
from tenants.api.authentication import find
from tenants.choices import Role
from tenants.context import PLATFORM, connection
from tenants.elevated import elevation_of
from tenants.models import APIKey, Elevation, FormerSlug, Membership, User
from tenants.models.tenant import SLUG_REGEX
from tenants.requests import MarketRequest
from tenants.services import disagreements, elevations

GetResponse = Callable[[MarketRequest], HttpResponse]

_SLUG = re.compile(SLUG_REGEX)
_ORGANISATION_PATH = re.compile(r"/o/(?P<slug>[^/]+)/")
_RECORD_PATHS = ("/admin/calls/", "/admin/access/", "/admin/audit/")


class OrganisationMiddleware:
    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: MarketRequest) -> HttpResponse:
        _reset()
        request.organisation = None
        request.membership = None
        try:
            match = _ORGANISATION_PATH.match(request.path_info)
            if match:
                if (refused := self._enter(request, match)) is not None:
                    return refused
            elif request.user.is_authenticated:
                _prefer_last_organisation(request)
            response = self.get_response(request)
            if hasattr(response, "render") and callable(response.render) and not getattr(response, "is_rendered", True):
                response = response.render()
            return response
        finally:
            _reset()

    def _enter(self, request: MarketRequest, match: re.Match[str]) -> HttpResponse | None:
        """Open the organisation of a path for who may be there; else the answer that everybody else gets."""
        slug = match["slug"]
        if stranger := _key_of_another(request, slug):
            disagreements.note_key(stranger, slug)
            return as_page(request, NotFoundError())
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        membership = _membership(request, slug)
        elevation = _elevation(request, slug) if membership is None else None
        if elevation is not None:
            if request.method not in {"GET", "HEAD"}:
                return as_page(request, _only_looking())
            membership = _as_auditor(request, elevation)
        if membership is None and (present := _present_name(request, slug)):
            return _to_present(request, match, present)
        if membership is None:
            disagreements.note_stranger(request.user, slug)
            return as_page(request, NotFoundError())
        request.organisation, request.membership = membership.tenant, membership
        connection.set_tenant(membership.tenant)
        connection.set_viewer(str(membership.tenant_id))
        _remember(request, membership, elevation)
        return None


class OperatorMiddleware:
    """Guards `/admin/` and `/operations/`: operators only, with a second factor, and every organisation's catalog rows."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: MarketRequest) -> HttpResponse:
        if not request.path_info.startswith(("/admin/", "/operations/")):
            return self.get_response(request)
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not request.user.is_staff:
            # Others need not learn that there is something here.
            return as_page(request, NotFoundError())
        if settings.STAFF_MFA_REQUIRED and not is_mfa_enabled(request.user):
            return HttpResponseRedirect(reverse("mfa_index") + "?reason=operator")
        connection.set_viewer(PLATFORM)
        if request.path_info.startswith(_RECORD_PATHS):
            elevation = elevation_of(request)
            if elevation is None:
                return HttpResponseRedirect(reverse("operations-records"))
            connection.set_tenant(elevation.tenant)
            elevations.note_view(elevation, request.path)
        return self.get_response(request)


def _key_of_another(request: MarketRequest, slug: str) -> APIKey | None:
    """A live key in the headers that belongs elsewhere than the path. Pages need no key; they mind a wrong one."""
    bearer = request.headers.get("Authorization", "").partition(" ")[2]
    found = [find(text.strip()) for text in (bearer, request.headers.get("X-API-Key", "")) if text]
    others = [key for key in found if key is not None and key.tenant.slug != slug]
    return next((key for key in others if not _was_named(key.tenant_id, slug)), None)


def _remember(request: MarketRequest, membership: Membership, elevation: Elevation | None) -> None:
    """A member's last organisation; of an operator, what they looked at. Parts of a page that refresh themselves are no looks."""
    if elevation is None:
        request.session["organisation"] = membership.tenant.slug
    elif not request.headers.get("HX-Request"):
        elevations.note_view(elevation, request.path)


def _elevation(request: MarketRequest, slug: str) -> Elevation | None:
    """The view that this operator has opened into this organisation, if it lasts still."""
    found = elevation_of(request)
    if found is None or found.tenant.slug != slug:
        return None
    return None if settings.STAFF_MFA_REQUIRED and not is_mfa_enabled(request.user) else found


def _as_auditor(request: MarketRequest, elevation: Elevation) -> Membership:
    """What an operator sees as, who opened a view for a reason; it is stored nowhere."""
    assert isinstance(request.user, User)
    return Membership(tenant=elevation.tenant, user=request.user, role=Role.AUDITOR)


def _only_looking() -> ForbiddenError:
    return ForbiddenError(
        "You look at this organisation as an operator of the platform, and change nothing in it.",
        code="tenants.elevation_reads",
        next_step="Ask one of its owners to do it.",
    )


def _was_named(tenant_id: UUID, slug: str) -> bool:
    return bool(_SLUG.match(slug)) and FormerSlug.objects.filter(slug=slug, tenant_id=tenant_id).exists()


def _present_name(request: MarketRequest, slug: str) -> str:
    """What the organisation is called that had this short name; empty for everybody who is no member of it."""
    if not _SLUG.match(slug):
        return ""
    former = FormerSlug.objects.select_related("tenant").filter(slug=slug).first()
    return former.tenant.slug if former is not None and _membership(request, former.tenant.slug) is not None else ""


def _to_present(request: MarketRequest, match: re.Match[str], present: str) -> HttpResponse:
    """The same page under the present name. Not for good, since a name may come back; with its method and body (307)."""
    path = f"/o/{present}/{request.path_info[match.end() :]}"
    query = request.META.get("QUERY_STRING", "")
    answer = HttpResponseRedirect(quote(path) + (f"?{query}" if query else ""))
    if request.method not in {"GET", "HEAD"}:
        answer.status_code = HTTPStatus.TEMPORARY_REDIRECT
    return answer


def _membership(request: MarketRequest, slug: str) -> Membership | None:
    if not _SLUG.match(slug):  # some of what a path can hold, Postgres would not even compare
        return None
    return (
        Membership.objects.select_related("tenant")
        .filter(user_id=str(request.user.pk), tenant__slug=slug, tenant__suspended_at=None)
        .first()
    )


def _prefer_last_organisation(request: MarketRequest) -> None:
    """Outside `/o/…` a person looks through the organisation that they used last; only catalog rows depend on it."""
    memberships = Membership.objects.select_related("tenant").filter(
        user_id=str(request.user.pk), tenant__suspended_at=None
    )
    last = request.session.get("organisation")
    chosen = next(iter(sorted(memberships, key=lambda m: (m.tenant.slug != last, m.created_at))), None)
    if chosen is not None:
        request.organisation, request.membership = chosen.tenant, chosen
        connection.set_viewer(str(chosen.tenant_id))


def _reset() -> None:
    connection.set_schema_to_public()
    connection.set_viewer("")
