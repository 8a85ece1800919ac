"""The catalog for programs, seen through the organisation of the API key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.http import QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from catalog import facets
from catalog.api.filters import CatalogFilter, ServerFilter, ToolFilter
from catalog.api.serializers import (
    FacetsOut,
    FoundOut,
    FoundToolsOut,
    ServerDetailOut,
    ServerOut,
    ToolEntryOut,
    choices_of,
)
from catalog.facets import Choices, Facet, Query
from catalog.models import Server
from catalog.selectors import detail, extras, search, tool_directory, usable
from catalog.selectors.search import Scene
from catalog.types import Viewer
from core.errors import InvalidError, NotFoundError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Scope

PAGE_SIZE, PAGE_SIZE_MAX = 50, 100
FEATURED_MAX = 6

Row = TypeVar("Row")


class CatalogThrottle(SimpleRateThrottle):
    """So many questions a minute for each organisation, whichever of its keys asks. Without the broker nobody is counted."""

    scope = "catalog"

    def get_rate(self) -> str:
        return f"{settings.CATALOG_API_PER_MINUTE}/min"

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        return f"catalog-api-{request.auth.tenant.pk}" if isinstance(request.auth, Credential) else None

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            return super().allow_request(request, view)
        except OSError:  # the broker is away: reading goes on
            return True


def _parameters(known: tuple[Facet, ...], sorts: Choices, about: str, *, paged: bool = True) -> list[OpenApiParameter]:
    narrowing = [
        OpenApiParameter(
            facet.name,
            OpenApiTypes.STR,
            many=True,
            enum=[value for value, _ in facet.choices] or None,
            description=f"{facet.label}; given more than once, any of them.",
        )
        for facet in known
    ]
    asked = [OpenApiParameter("q", OpenApiTypes.STR, description=about), *narrowing]
    if not paged:
        return asked
    return [
        *asked,
        OpenApiParameter("sort", OpenApiTypes.STR, enum=[value for value, _ in sorts]),
        OpenApiParameter("page", {"type": "integer", "minimum": 1, "maximum": facets.PAGES_MAX}),
        OpenApiParameter("page_size", {"type": "integer", "minimum": 1}, description=f"At most {PAGE_SIZE_MAX}."),
    ]


_WORDS = "Words in names, tags, tools, texts and publishers; beginnings of words do, and typos are forgiven."
_SERVERS = _parameters(facets.ALL, facets.SORTS, _WORDS)


class CatalogAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.CATALOG_READ
    throttle_classes = [CatalogThrottle]


class ServerListAPI(CatalogAPI):
    @extend_schema(operation_id="servers_list", summary="Search the catalog", parameters=_SERVERS, responses=FoundOut)
    def get(self, request: Request) -> Response:
        """Servers that the key's organisation may see, with their governance."""
        scene, query = _scene(request), _query(request, ServerFilter)
        found = search.search(scene, query)
        rows, paging = _page(request, found)
        featured = search.featured(scene, FEATURED_MAX)
        context = _context(scene, [*rows, *featured])
        return Response(
            {
                "servers": ServerOut(rows, many=True, context=context).data,
                "total_count": search.totals(scene.viewer).servers,
                "filtered_count": len(found),
                "categories": choices_of(found.choices(facets.CATEGORY)),
                "featured_servers": ServerOut(featured, many=True, context=context).data,
                "corrected": list(found.corrected),
                **paging,
            }
        )


class ServerDetailAPI(CatalogAPI):
    @extend_schema(operation_id="servers_retrieve", summary="One server with its tools", responses=ServerDetailOut)
    def get(self, request: Request, slug: str) -> Response:
        """The server that the name means for the key's organisation: an own one before a public one."""
        scene = _scene(request)
        server = detail.get_server(scene.viewer, slug)
        context = _context(scene, [server]) | {"tools": detail.list_tools(server)}
        return Response(ServerDetailOut(server, context=context).data)


class ToolListAPI(CatalogAPI):
    @extend_schema(
        operation_id="tools_list",
        summary="Search the tools of all servers",
        parameters=_parameters(facets.TOOL_FACETS, facets.TOOL_SORTS, "Words in names and descriptions of tools."),
        responses=FoundToolsOut,
    )
    def get(self, request: Request) -> Response:
        """Tools of servers that the key's organisation may see."""
        found = tool_directory.tools(_scene(request), _query(request, ToolFilter))
        rows, paging = _page(request, found)
        counts = {facet.name: choices_of(found.choices(facet)) for facet in facets.TOOL_FACETS}
        listed = ToolEntryOut(list(rows), many=True).data  # type: ignore[arg-type]  # the stubs know of one row only
        answer = {"tools": listed, "filtered_count": len(found), "facets": counts}
        return Response(answer | paging)


class FacetsAPI(CatalogAPI):
    @extend_schema(
        operation_id="facets_retrieve",
        summary="What the catalog can be narrowed by",
        parameters=_parameters(facets.ALL, facets.SORTS, _WORDS, paged=False),
        responses=FacetsOut,
    )
    def get(self, request: Request) -> Response:
        """Every facet with its choices, and how many servers each would show with all other choices as they are."""
        found = search.search(_scene(request), _query(request, ServerFilter))
        every = [
            {"name": facet.name, "label": facet.label, "choices": choices_of(found.choices(facet))}
            for facet in facets.ALL
        ]
        return Response({"filtered_count": len(found), "facets": every})


def _scene(request: Request) -> Scene:
    caller = request.auth
    assert isinstance(caller, Credential)  # HasScope let nobody else in
    return Scene(Viewer(caller.tenant.pk, caller.team_ids), frozenset(usable.usable_servers(caller.tenant)))


def _query(request: Request, kind: type[CatalogFilter]) -> Query:
    return kind(request.query_params, queryset=Server.objects.none()).query()


def _page(request: Request, found: Sequence[Row]) -> tuple[Sequence[Row], dict[str, Any]]:
    """One page and where it is. Raises InvalidError for what is no number, NotFoundError behind the last page."""
    size = min(_number(request.query_params, "page_size", PAGE_SIZE), PAGE_SIZE_MAX)
    number = _number(request.query_params, "page", 1)
    pages = max(1, math.ceil(len(found) / size))
    if number > pages:
        raise NotFoundError(f"There are {pages} pages.", next_step="Begin with page=1.")
    url = request.build_absolute_uri()
    return found[(number - 1) * size : number * size], {
        "page": number,
        "pages": pages,
        "next": replace_query_param(url, "page", number + 1) if number < pages else None,
        "previous": replace_query_param(url, "page", number - 1) if number > 1 else None,
    }


def _number(given: QueryDict, name: str, default: int) -> int:
    text = given.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) > 0):
        raise InvalidError(f"{name} is a whole number from 1 on.", field=name)
    return int(text)


def _context(scene: Scene, servers: Iterable[Server]) -> dict[str, Any]:
    return {
        "public_url": settings.PUBLIC_URL,
        "usable": scene.usable,
        "prices": extras.prices((server.pk for server in servers), scene.viewer),
    }
