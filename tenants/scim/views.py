"""`/scim/v2/<organisation>/…`: closed. Without a live token of this organisation nobody learns even whether it exists."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from allauth.account.internal.decorators import login_not_required
from django.conf import settings
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from audit import services as audit
from core.errors import MarketplaceError
from tenants.models import ScimToken
from tenants.scim import documents, filters, groups, people, reading
from tenants.scim.errors import ScimError, invalid
from tenants.services import identity

CONTENT_TYPE = "application/scim+json"
BODY_BYTES = 1024 * 1024
_TYPES = {"", "application/json", CONTENT_TYPE}

Answer = tuple[int, dict[str, Any] | None]


class Call:
    """One request of a directory that showed its token."""

    def __init__(self, request: HttpRequest, token: ScimToken) -> None:
        self.request, self.tenant = request, token.tenant
        self.actor = audit.Party("directory", str(token.pk), f"SCIM token {token.name}")
        self.base = f"{settings.PUBLIC_URL}/scim/v2/{token.tenant.slug}"

    @property
    def query(self) -> dict[str, str]:
        return {name: str(value).replace("\x00", "") for name, value in self.request.GET.items()}

    def body(self) -> dict[str, Any]:
        if len(self.request.body) > BODY_BYTES:
            raise ScimError(413, "The request is too large.")
        try:
            found = json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise invalid("The body is no JSON.", "invalidSyntax") from error
        if not isinstance(found, dict) or "\\u0000" in json.dumps(found):
            raise invalid("The body is a JSON object without NUL characters.", "invalidSyntax")
        return found


Handler = Callable[..., Answer]


def _endpoint(**handlers: Handler) -> Callable[..., HttpResponse]:
    """A view of these methods, whose callers show a token of the organisation in the path."""

    @csrf_exempt
    @login_not_required
    @never_cache
    def view(request: HttpRequest, organisation: str, **parts: Any) -> HttpResponse:
        token = identity.token_of(organisation, _bearer(request))
        if token is None:
            return _refuse(ScimError(401, "Show a token of this organisation as Authorization: Bearer."))
        handler = handlers.get((request.method or "").lower())
        if handler is None:
            return _refuse(ScimError(405, "This is not done here."))
        try:
            if request.content_type not in _TYPES:
                raise ScimError(415, f"Send {CONTENT_TYPE}.")
            status, document = handler(Call(request, token), **parts)
        except ScimError as error:
            return _refuse(error)
        except MarketplaceError as error:
            return _refuse(ScimError(error.status, error.message))
        except IntegrityError:
            return _refuse(ScimError(409, "The same is being made at this moment.", "uniqueness"))
        return _answer(status, document)

    return view


def _bearer(request: HttpRequest) -> str:
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" and text.isascii() else ""


def _answer(status: int, document: dict[str, Any] | None) -> HttpResponse:
    if document is None:
        return HttpResponse(status=status)
    response = JsonResponse(document, status=status, content_type=CONTENT_TYPE)
    if status == 201:
        response["Location"] = document["meta"]["location"]
    return response


def _refuse(error: ScimError) -> HttpResponse:
    response = JsonResponse(error.document(), status=error.status, content_type=CONTENT_TYPE)
    if error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _page(call: Call, rows: QuerySet[Any], known: filters.Known, write: Callable[[Any], dict[str, Any]]) -> Answer:
    wanted = filters.condition_of(call.query.get("filter", ""), known)
    if wanted is not None:
        rows = rows.filter(wanted)
    page = reading.page_of(call.query)
    found = [write(row) for row in rows[page.start - 1 : page.start - 1 + page.count]]
    return 200, documents.listing(found, rows.count(), page)


def _list_users(call: Call) -> Answer:
    return _page(call, people.searchable(call.tenant), people.FILTERS, lambda row: documents.user(row, call.base))


def _create_user(call: Call) -> Answer:
    return 201, documents.user(people.create(call.tenant, call.body(), call.actor), call.base)


def _show_user(call: Call, scim_id: UUID) -> Answer:
    return 200, documents.user(people.find(call.tenant, scim_id), call.base)


def _put_user(call: Call, scim_id: UUID) -> Answer:
    return 200, documents.user(people.put(people.find(call.tenant, scim_id), call.body(), call.actor), call.base)


def _patch_user(call: Call, scim_id: UUID) -> Answer:
    return 200, documents.user(people.patch(people.find(call.tenant, scim_id), call.body(), call.actor), call.base)


def _remove_user(call: Call, scim_id: UUID) -> Answer:
    people.remove(people.find(call.tenant, scim_id), call.actor)
    return 204, None


def _group(call: Call, row: Any) -> dict[str, Any]:
    left_out = "members" in call.query.get("excludedAttributes", "").lower()
    return documents.group(row, None if left_out else groups.members_of(row), call.base)


def _list_groups(call: Call) -> Answer:
    return _page(call, groups.rows_of(call.tenant), groups.FILTERS, lambda row: _group(call, row))


def _create_group(call: Call) -> Answer:
    return 201, _group(call, groups.create(call.tenant, call.body(), call.actor))


def _show_group(call: Call, scim_id: UUID) -> Answer:
    return 200, _group(call, groups.find(call.tenant, scim_id))


def _put_group(call: Call, scim_id: UUID) -> Answer:
    return 200, _group(call, groups.put(groups.find(call.tenant, scim_id), call.body(), call.actor))


def _patch_group(call: Call, scim_id: UUID) -> Answer:
    return 200, _group(call, groups.patch(groups.find(call.tenant, scim_id), call.body(), call.actor))


def _remove_group(call: Call, scim_id: UUID) -> Answer:
    groups.remove(groups.find(call.tenant, scim_id), call.actor)
    return 204, None


def _config(call: Call) -> Answer:
    return 200, documents.config(call.tenant, call.base)


def _all(write: Callable[[str], list[dict[str, Any]]]) -> Handler:
    def handler(call: Call) -> Answer:
        found = write(call.base)
        return 200, documents.listing(found, len(found), reading.Page(1, len(found)))

    return handler


def _one(write: Callable[[str], list[dict[str, Any]]]) -> Handler:
    def handler(call: Call, name: str) -> Answer:
        found = next((each for each in write(call.base) if each["id"] == name), None)
        if found is None:
            raise ScimError(404, "There is no such document.")
        return 200, found

    return handler


users = _endpoint(get=_list_users, post=_create_user)
user = _endpoint(get=_show_user, put=_put_user, patch=_patch_user, delete=_remove_user)
group_list = _endpoint(get=_list_groups, post=_create_group)
group = _endpoint(get=_show_group, put=_put_group, patch=_patch_group, delete=_remove_group)
config = _endpoint(get=_config)
types = _endpoint(get=_all(documents.types))
type_of = _endpoint(get=_one(documents.types))
schemas = _endpoint(get=_all(documents.schemas))
schema = _endpoint(get=_one(documents.schemas))
