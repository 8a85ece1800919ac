"""An organisation's access as files, over the API: export, plan, apply."""

from __future__ import annotations

import codecs
from typing import IO, Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.api.requests import TextField
from access.filing import apply, plan
from access.filing.plan import Plan
from access.filing.rows import export
from access.formats import files
from access.formats.files import BYTES_MAX, Found, bounded
from core.errors import InvalidError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.api.throttles import CallerThrottle
from tenants.choices import Scope
from tenants.models import Tenant


class YAMLParser(BaseParser):
    """Leaves the body as it is: it is read within bounds where it is needed."""

    media_type = "application/yaml"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        return {"yaml": stream.read(BYTES_MAX + 1)}


class FileIn(serializers.Serializer[Any]):
    name = TextField(max_length=200)
    content = TextField(help_text="YAML or JSON, one document or several.")


class PlanIn(serializers.Serializer[Any]):
    files = FileIn(many=True)
    prune = serializers.BooleanField(default=False, help_text="Revoke what the files do not name.")


class ApplyIn(PlanIn):
    digest = TextField(help_text="Of the plan that is to be carried out.")


class ChangeOut(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(["grant", "session", "policy", "server"])
    action = serializers.ChoiceField(["create", "replace", "update", "revoke", "unchanged", "elsewhere"])
    namespace = serializers.CharField()
    name = serializers.CharField()
    server = serializers.CharField()
    fields_changed = serializers.ListField(child=serializers.CharField(), source="fields")
    note = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class ProblemOut(serializers.Serializer[Any]):
    file = serializers.CharField()
    entry = serializers.CharField()
    field = serializers.CharField()
    reason = serializers.CharField()


class LintOut(serializers.Serializer[Any]):
    file = serializers.CharField()
    entry = serializers.CharField()
    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    fix = serializers.CharField()


class PlanOut(serializers.Serializer[Plan]):
    digest = serializers.CharField()
    prune = serializers.BooleanField()
    counts = serializers.DictField(child=serializers.IntegerField())
    changes = ChangeOut(many=True)
    problems = ProblemOut(many=True, help_text="While there are any, nothing can be applied.")
    lints = LintOut(many=True)


class FilesAPI(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN
    throttle_classes = [CallerThrottle]
    throttle_name = "access-files"
    parser_classes = [JSONParser, YAMLParser]


class ExportAPI(FilesAPI):
    @extend_schema(
        operation_id="access_export",
        summary="The organisation's access as YAML",
        responses={(200, "application/yaml"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponse:
        """Policies of own servers, grants and sessions; always the same text for the same access."""
        return HttpResponse(export(_tenant(request)), content_type="application/yaml; charset=utf-8")


class PlanAPI(FilesAPI):
    @extend_schema(operation_id="access_plan", summary="What files would change", request=PlanIn, responses=PlanOut)
    def post(self, request: Request) -> Response:
        """Changes nothing. The body is JSON, or YAML with the parameter `prune`."""
        found, prune = read_body(request)
        return Response(PlanOut(plan.make(_tenant(request), found, prune=prune)).data)


class ApplyAPI(FilesAPI):
    @extend_schema(
        operation_id="access_apply",
        summary="Make access what files say",
        parameters=[OpenApiParameter("digest", OpenApiTypes.STR, description="For a body in YAML.")],
        request=ApplyIn,
        responses=PlanOut,
    )
    def post(self, request: Request) -> Response:
        """All of the plan that the digest names, or nothing: 409 when it would now be another plan."""
        found, prune = read_body(request)
        data = request.data if isinstance(request.data, dict) else {}
        digest = request.query_params.get("digest", "") or data.get("digest", "")
        if not isinstance(digest, str) or not digest:
            raise InvalidError("digest is missing.", code="access.digest_missing", field="digest")
        credential = request.auth
        assert isinstance(credential, Credential)  # HasScope let nobody else in
        done = apply.apply(tenant=credential.tenant, found=found, digest=digest, actor=credential.user, prune=prune)
        return Response(PlanOut(done).data)


def read_body(request: Request) -> tuple[Found, bool]:
    """The files of a request, and whether what they leave out is revoked. Raises InvalidError and TooLargeError."""
    data = request.data
    if isinstance(data, dict) and isinstance(data.get("yaml"), bytes):
        prune = request.query_params.get("prune", "").lower()
        if prune not in {"", "true", "false"}:
            raise InvalidError("prune is true or false.", code="access.body_invalid", field="prune")
        return files.read_files(bounded([("access.yaml", data["yaml"])])), prune == "true"
    body = PlanIn(data=data)
    body.is_valid(raise_exception=True)
    given = body.validated_data
    contents = [(each["name"], codecs.encode(each["content"], "utf-8", "replace")) for each in given["files"]]
    return files.read_files(bounded(contents)), given["prune"]


def _tenant(request: Request) -> Tenant:
    credential = request.auth
    assert isinstance(credential, Credential)  # HasScope let nobody else in
    return credential.tenant
