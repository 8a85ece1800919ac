"""The reads of the registry's API, `/v0.1/…` and the same under `/v0/…`. Errors have the body that the standard gives them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.models import Server, ServerVersion
from catalog.registry import documents, rows
from catalog.selectors import extras
from catalog.types import PUBLIC_VIEWER, Viewer
from core import clock
from core.errors import InvalidError, NotFoundError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.api.throttles import CallerThrottle
from tenants.choices import Scope

LIMIT, LIMIT_MAX = 30, 100
FRESH_S = 60
_WORDS = {"true": True, "1": True, "false": False, "0": False, "": False}


class VersionOut(serializers.Serializer[Any]):
    server = serializers.JSONField(help_text="server.json, schema 2025-12-11.")
    _meta = serializers.JSONField(
        help_text="What the registry says of the version, and ours under `com.mcp-marketplace/listing`."
    )


class PageOut(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    nextCursor = serializers.CharField(required=False, help_text="Absent at the end.")  # noqa: N815 - the standard's name


class ListOut(serializers.Serializer[Any]):
    servers = VersionOut(many=True)
    metadata = PageOut()


class ErrorOut(serializers.Serializer[Any]):
    error = serializers.CharField()
    code = serializers.CharField()
    next_step = serializers.CharField()


_ERRORS = dict.fromkeys((400, 401, 403, 404, 429), ErrorOut)
_OPEN: Any = [{}, {"apiKey": []}]  # a key shows more, and is not needed
_DELETED = OpenApiParameter("include_deleted", OpenApiTypes.BOOL, description="Deleted ones too.")
_NAME = OpenApiParameter(
    "registry_name", OpenApiTypes.STR, OpenApiParameter.PATH, description="The name, its slash written as %2F."
)


class AnybodyOrScope(BasePermission):
    """Without a credential what is public; with one that may read the catalog, also what is the organisation's."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.auth is None or HasScope().has_permission(request, view)


class RegistryView(APIView):
    permission_classes = [AnybodyOrScope]
    required_scope = Scope.CATALOG_READ
    throttle_classes = [CallerThrottle]
    throttle_name = "registry"

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        problem = response.data
        if isinstance(problem, dict) and "title" in problem:
            response.data = {"error": problem["title"], "code": problem["code"], "next_step": problem["next_step"]}
            response.content_type = "application/json"
        elif isinstance(exc, APIException):
            response.data = {"error": str(exc.detail)}
        return response

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """What a key may see is for that key only; what anybody may see may be kept by any cache for a minute."""
        final = super().finalize_response(request, response, *args, **kwargs)
        is_public = final.status_code == 200 and not _has_credential(request)
        final["Cache-Control"] = f"public, max-age={FRESH_S}" if is_public else "private, no-store"
        final["Vary"] = "Authorization, X-API-Key"
        final["Access-Control-Allow-Origin"] = "*"
        return final


class ServerListAPI(RegistryView):
    @extend_schema(
        operation_id="registry_list",
        summary="Versions of servers, as the MCP registry lists them",
        auth=_OPEN,
        parameters=[
            OpenApiParameter("cursor", OpenApiTypes.STR, description="`nextCursor` of the page before."),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT},
                description="Versions of a page.",
            ),
            OpenApiParameter("search", OpenApiTypes.STR, description="Part of a name."),
            OpenApiParameter(
                "updated_since",
                OpenApiTypes.DATETIME,
                description="Of servers that changed here since (RFC 3339), deleted ones too. Overlap polls by a minute.",
            ),
            OpenApiParameter("version", OpenApiTypes.STR, description="One version, or `latest`."),
            _DELETED,
        ],
        responses={200: ListOut} | _ERRORS,
    )
    def get(self, request: Request, **path: str) -> Response:
        """Public servers for anybody; with a key also those of its organisation and team. Pages are stable."""
        given = request.query_params
        asked = rows.Asked(
            search=given.get("search", "")[:200],
            version=given.get("version", "")[:255],
            since=_moment(given.get("updated_since", "")),
            deleted=_flag(given.get("include_deleted", "")),
        )
        page = rows.list_page(_viewer(request), asked, cursor=given.get("cursor", ""), limit=_limit(given.get("limit")))
        metadata: dict[str, Any] = {"count": len(page.rows)}
        if page.cursor:
            metadata["nextCursor"] = page.cursor
        return Response({"servers": _listed(request, page.rows), "metadata": metadata})


class VersionListAPI(RegistryView):
    @extend_schema(
        operation_id="registry_versions",
        summary="All versions of a server, the newest first",
        auth=_OPEN,
        parameters=[_NAME, _DELETED],
        responses={200: ListOut} | _ERRORS,
    )
    def get(self, request: Request, registry_name: str) -> Response:
        """Of each version what was read last."""
        deleted = _flag(request.query_params.get("include_deleted", ""))
        server = _server(request, registry_name, deleted=deleted)
        found = [(server, version) for version in rows.list_versions(server, deleted=deleted)]
        if not found:
            raise NotFoundError("The server has no version that you may see.")
        return Response({"servers": _listed(request, found), "metadata": {"count": len(found)}})


class VersionAPI(RegistryView):
    @extend_schema(
        operation_id="registry_version",
        summary="One version of a server",
        auth=_OPEN,
        parameters=[
            _NAME,
            OpenApiParameter("registry_version", OpenApiTypes.STR, OpenApiParameter.PATH, description="Or `latest`."),
            _DELETED,
        ],
        responses={200: VersionOut} | _ERRORS,
    )
    def get(self, request: Request, registry_name: str, registry_version: str) -> Response:
        """A deleted version is given with that status; a server that is gone only with `include_deleted`."""
        deleted = _flag(request.query_params.get("include_deleted", ""))
        server = _server(request, registry_name, deleted=deleted)
        version = rows.find_version(server, registry_version)
        if version is None:
            raise NotFoundError("The server has no such version.", next_step="Ask for its versions.")
        return Response(_listed(request, [(server, version)])[0])


class OlderServerListAPI(ServerListAPI):
    """The same under `/v0/`, which the document need not describe twice."""

    schema = None


class OlderVersionListAPI(VersionListAPI):
    schema = None


class OlderVersionAPI(VersionAPI):
    schema = None


def _viewer(request: Request) -> Viewer:
    caller = request.auth
    return Viewer(caller.tenant.pk, caller.team_ids) if isinstance(caller, Credential) else PUBLIC_VIEWER


def _server(request: Request, name: str, *, deleted: bool) -> Server:
    server = rows.find_server(_viewer(request), name, deleted=deleted)
    if server is None:
        raise NotFoundError("There is no server of this name that you may see.")
    return server


def _listed(request: Request, found: list[tuple[Server, ServerVersion]]) -> list[dict[str, Any]]:
    prices, now = extras.prices({server.pk for server, _ in found}, _viewer(request)), clock.now()
    return [
        documents.as_listed(server, version, price=prices.get(server.pk, extras.FREE).shown, now=now)
        for server, version in found
    ]


def _has_credential(request: Request) -> bool:
    return "Authorization" in request.headers or "X-API-Key" in request.headers


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise InvalidError(f"limit is a whole number from 1 to {LIMIT_MAX}.", field="limit")
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise InvalidError("include_deleted is true or false.", field="include_deleted")
    return _WORDS[text.lower()]


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign that was not escaped in the address
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidError("updated_since is a date as in RFC 3339.", field="updated_since") from error
