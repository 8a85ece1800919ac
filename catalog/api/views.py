"""The catalog for programs, seen through the organisation of the API key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog import facets
from catalog.api.serializers import ServerDetailOut, ServerOut
from catalog.models import Server
from catalog.selectors import detail, extras, search, usable
from catalog.selectors.search import Scene
from catalog.types import Viewer
from core.errors import InvalidError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Scope


class ServerPagination(PageNumberPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 100


def _narrowing(facet: facets.Facet) -> OpenApiParameter:
    return OpenApiParameter(
        facet.name,
        OpenApiTypes.STR,
        many=True,
        enum=[value for value, _ in facet.choices],
        description=f"{facet.label}; given more than once, any of them.",
    )


class ServerListAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.CATALOG_READ

    @extend_schema(
        operation_id="servers_list",
        summary="Search the catalog",
        parameters=[
            OpenApiParameter("q", OpenApiTypes.STR, description="Words in names, texts, tags, tools and providers."),
            *(_narrowing(facet) for facet in facets.ALL),
            OpenApiParameter("sort", OpenApiTypes.STR, enum=[value for value, _ in facets.SORTS]),
            OpenApiParameter("page", OpenApiTypes.INT),
            OpenApiParameter("page_size", OpenApiTypes.INT, description="At most 100."),
        ],
        responses=ServerOut(many=True),
    )
    def get(self, request: Request) -> Response:
        """Servers that the key's organisation may see, with their governance."""
        scene = _scene(request)
        given = dict(request.query_params.lists())
        _refuse_unknown(given)
        paging = ServerPagination()
        rows = paging.paginate_queryset(search.search(scene, facets.parse(given, personal=True)), request, view=self)
        assert rows is not None  # pages are always on
        return paging.get_paginated_response(ServerOut(rows, many=True, context=_context(scene, rows)).data)

    pagination_class = ServerPagination


class ServerDetailAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.CATALOG_READ

    @extend_schema(operation_id="servers_retrieve", summary="One server with its tools", responses=ServerDetailOut)
    def get(self, request: Request, slug: str) -> Response:
        """The server that the name means for the key's organisation: an own one before a public one."""
        scene = _scene(request)
        server = detail.get_server(scene.viewer, slug)
        context = _context(scene, [server]) | {"tools": detail.list_tools(server)}
        return Response(ServerDetailOut(server, context=context).data)


def _scene(request: Request) -> Scene:
    caller = request.auth
    assert isinstance(caller, Credential)  # HasScope let nobody else in
    return Scene(Viewer(caller.tenant.pk, caller.team_ids), frozenset(usable.usable_servers(caller.tenant)))


def _context(scene: Scene, servers: Iterable[Server]) -> dict[str, Any]:
    return {
        "public_url": settings.PUBLIC_URL,
        "usable": scene.usable,
        "prices": extras.prices(server.pk for server in servers),
    }


def _refuse_unknown(given: dict[str, list[str]]) -> None:
    """A page forgives an old link; a program is told that its filter does not exist."""
    for facet in facets.ALL:
        known = [value for value, _ in facet.choices]
        for value in given.get(facet.name, ()):
            if value not in known:
                raise InvalidError(
                    f"{facet.name} cannot be {value[:40]!r}; it is one of {', '.join(known)}.", field=facet.name
                )
