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

from core.errors import NotFoundError
from core.problems import as_page
from tenants.api.authentication import find
from tenants.context import PLATFORM, connection
from tenants.models import APIKey, FormerSlug, Membership, Tenant
from tenants.models.tenant import SLUG_REGEX
from tenants.requests import MarketRequest
from tenants.services import disagreements

GetResponse = Callable[[MarketRequest], HttpResponse]

_SLUG = re.compile(SLUG_REGEX)
_ORGANISATION_PATH = re.compile(r"/o/(?P<slug>[^/]+)/")
RECORDS_SESSION_KEY = "operator_records_tenant"
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
                if stranger := _key_of_another(request, match["slug"]):
                    disagreements.note_key(stranger, match["slug"])
                    return as_page(request, NotFoundError())
                if not request.user.is_authenticated:
                    return redirect_to_login(request.get_full_path())
                membership = _membership(request, match["slug"])
                if membership is None and (present := _present_name(request, match["slug"])):
                    return _to_present(request, match, present)
                if membership is None:
                    disagreements.note_stranger(request.user, match["slug"])
                    return as_page(request, NotFoundError())
                request.organisation, request.membership = membership.tenant, membership
                connection.set_tenant(membership.tenant)
                connection.set_viewer(str(membership.tenant_id))
                request.session["organisation"] = membership.tenant.slug
            elif request.user.is_authenticated:
                _prefer_last_organisation(request)
            response = self.get_response(request)
            if hasattr(response, "render") and callable(response.render) and not getattr(response, "is_rendered", True):
                response = response.render()
            return response
        finally:
            _reset()


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
            tenant = Tenant.objects.filter(pk=str(request.session.get(RECORDS_SESSION_KEY) or UUID(int=0))).first()
            if tenant is None:
                return HttpResponseRedirect(reverse("operations-records"))
            connection.set_tenant(tenant)
        return self.get_response(request)


def _key_of_another(request: MarketRequest, slug: str) -> APIKey | None:
    """A live key in the headers that belongs elsewhere than the path. Pages need no key; they mind a wrong one."""
    bearer = request.headers.get("Authorization", "").partition(" ")[2]
    found = [find(text.strip()) for text in (bearer, request.headers.get("X-API-Key", "")) if text]
    others = [key for key in found if key is not None and key.tenant.slug != slug]
    return next((key for key in others if not _was_named(key.tenant_id, slug)), None)


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
