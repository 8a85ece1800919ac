"""The logs of an organisation for programs: exports that go on where the last one ended, and signed checkpoints."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.services import checkpoints
from core.errors import NotFoundError
from marketplace.exports import reading
from marketplace.pages.decisions import deliver
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.api.throttles import CallerThrottle
from tenants.choices import Scope


class CheckpointOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=["head", "cut"])
    log = serializers.CharField()
    sequence = serializers.IntegerField()
    hash = serializers.CharField(help_text="Of that row, in hexadecimal.")
    at = serializers.DateTimeField()
    key = serializers.CharField(help_text="The id of the key that signed.")
    signature = serializers.CharField(help_text="Ed25519 over the canonical JSON of the other members, in base64.")


class ExportThrottle(CallerThrottle):
    """Exports have a count of their own."""


class AuditExportAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN
    throttle_classes = [ExportThrottle]
    throttle_name = "export"

    @extend_schema(
        operation_id="audit_export",
        summary="The audit log, or the decisions about calls, oldest first",
        parameters=[
            OpenApiParameter(
                "what", OpenApiTypes.STR, enum=list(reading.WHAT), description="Which log; audit if not given."
            ),
            OpenApiParameter("format", OpenApiTypes.STR, enum=list(reading.FORMATS), description="jsonl if not given."),
            OpenApiParameter(
                "after", OpenApiTypes.STR, description="`sequence` or `call_id` of the last row that you have."
            ),
            OpenApiParameter("limit", OpenApiTypes.INT, description=f"Rows, {reading.ROWS_MAX} at most."),
        ],
        responses={
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            (200, "text/csv"): OpenApiTypes.STR,
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Streamed. Ask again with the last row's key as `after`; an answer without rows means that there is nothing yet.

        Decisions appear a few minutes after their call began, when no older one can come any more.
        """
        caller = request.auth
        assert isinstance(caller, Credential)  # HasScope let nobody else in
        export = reading.make(caller.tenant, request.query_params.dict())
        return deliver(request._request, export, caller.user)


class AuditCheckpointAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @extend_schema(
        operation_id="audit_checkpoint",
        summary="The newest signed checkpoint of the audit log",
        responses=CheckpointOut,
    )
    def get(self, request: Request) -> Response:
        """Keep it outside: with it nobody rewrites or shortens the log unnoticed."""
        statement = checkpoints.newest()
        if statement is None:
            raise NotFoundError(
                "No checkpoint was made yet.", next_step="One is made within a minute of the first event."
            )
        return Response(statement.as_json())
