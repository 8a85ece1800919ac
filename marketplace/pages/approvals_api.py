"""Calls that wait for a person, for programs that act for a member: with the same eyes as on the pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from access.api.requests import TextField
from access.approvals import deciding
from access.models import ApprovalState, CallApproval
from core.errors import InvalidError
from marketplace.pages.approvals import shown_arguments
from tenants.api.members import ForMembersAPI

PAGE_SIZE = 100


class CallApprovalOut(serializers.ModelSerializer[CallApproval]):
    state = serializers.ChoiceField(choices=ApprovalState.choices, source="stands")
    server = serializers.CharField(source="server_slug")

    class Meta:
        model = CallApproval
        fields = [
            "id",
            "state",
            "binding",
            "server_id",
            "server",
            "tool",
            "side_effect",
            "trust_required",
            "api_key_id",
        ]
        fields += ["key_label", "agent", "session", "arguments_digest", "created_at", "expires_at", "decided_at"]
        fields += ["decided_by_label", "comment", "asked_call_id", "used_call_id", "used_at"]
        read_only_fields = fields


class CallApprovalDetailOut(CallApprovalOut):
    arguments = serializers.SerializerMethodField()

    class Meta(CallApprovalOut.Meta):
        fields = [*CallApprovalOut.Meta.fields, "arguments"]
        read_only_fields = fields

    @extend_schema_field(serializers.JSONField(allow_null=True, help_text="Masked; null once they are erased."))
    def get_arguments(self, found: CallApproval) -> Any:
        return shown_arguments(self.context["member"], found)


class CallApprovalListOut(serializers.Serializer[Any]):
    approvals = CallApprovalOut(many=True)


class CallApprovalIn(serializers.Serializer[Any]):
    act = serializers.ChoiceField(choices=["approve", "reject"])
    binding = TextField(max_length=64, help_text="Of the call that was read.")
    comment = TextField(max_length=1000, required=False, allow_blank=True, default="", help_text="Needed to reject.")


class CallApprovalListAPI(ForMembersAPI):
    @extend_schema(
        operation_id="call_approvals_list",
        summary="Calls that wait for a person",
        responses=CallApprovalListOut,
        parameters=[OpenApiParameter("state", OpenApiTypes.STR, enum=ApprovalState.values)],
    )
    def get(self, request: Request) -> Response:
        """Those that the key's person may read, the newest first."""
        rows = deciding.visible(self.actor(request))
        if state := request.query_params.get("state"):
            if state not in ApprovalState.values:
                raise InvalidError(f"There is no state {state[:20]!r}.", field="state")
            rows = rows.filter(state=state)
        return Response({"approvals": CallApprovalOut(rows[:PAGE_SIZE], many=True).data})


class CallApprovalAPI(ForMembersAPI):
    @extend_schema(
        operation_id="call_approvals_retrieve",
        summary="One call that waits, with its arguments",
        responses=CallApprovalDetailOut,
    )
    def get(self, request: Request, approval_id: UUID) -> Response:
        member = self.actor(request)
        return Response(CallApprovalDetailOut(deciding.get(member, approval_id), context={"member": member}).data)

    @extend_schema(
        operation_id="call_approvals_act",
        summary="Approve or reject the call",
        request=CallApprovalIn,
        responses=CallApprovalDetailOut,
    )
    def post(self, request: Request, approval_id: UUID) -> Response:
        """As the key's person. Nobody decides about a call of a key that they made, or that acts for them."""
        member, given = self.actor(request), CallApprovalIn(data=request.data)
        given.is_valid(raise_exception=True)
        data = given.validated_data
        found = deciding.get(member, approval_id)
        act = deciding.approve if data["act"] == "approve" else deciding.reject
        found = act(member=member, approval_id=found.pk, binding=data["binding"], comment=data["comment"])
        return Response(CallApprovalDetailOut(found, context={"member": member}).data)
