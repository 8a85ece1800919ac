"""The call log of the API key's organisation. The key's schema is opened when the key is accepted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from calls.api.serializers import CallOut
from calls.models import Call
from calls.record import Outcome
from core.errors import InvalidError
from tenants.api.permissions import HasScope
from tenants.choices import Scope


class CallPagination(CursorPagination):
    """By the time-ordered key, so that a page costs the same however deep it is, and new calls shift nothing."""

    ordering = "-call_id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 100

    def decode_cursor(self, request: Request) -> Cursor | None:
        """A cursor comes back from outside: its position must be an id before the database sees it."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            _uuid("cursor", str(cursor.position))
        return cursor


class CallListAPI(ListAPIView[Call]):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN
    serializer_class = CallOut
    pagination_class = CallPagination
    queryset = Call.objects.none()  # for the schema; rows come from get_queryset

    @extend_schema(
        operation_id="calls_list",
        summary="Governed calls, newest first",
        parameters=[
            OpenApiParameter("server", OpenApiTypes.UUID, description="Calls of one server, by its id."),
            OpenApiParameter("outcome", OpenApiTypes.STR, enum=[outcome.value for outcome in Outcome]),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every call of the key's organisation that was decided, allowed or not."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Call]:
        rows = Call.objects.all()
        if server := self.request.query_params.get("server"):
            rows = rows.filter(server_id=_uuid("server", server))
        if outcome := self.request.query_params.get("outcome"):
            if outcome not in set(Outcome):
                raise InvalidError(f"There is no outcome {outcome[:40]!r}.", field="outcome")
            rows = rows.filter(outcome=outcome)
        return rows


class CallDetailAPI(RetrieveAPIView[Call]):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN
    serializer_class = CallOut
    queryset = Call.objects.none()
    lookup_field = "call_id"

    def get_queryset(self) -> QuerySet[Call]:
        return Call.objects.all()

    @extend_schema(operation_id="calls_retrieve", summary="One governed call")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidError(f"{field} must be an id.", field=field) from error
