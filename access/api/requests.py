"""Requests for access, for programs that act for a member: reading, asking, and deciding with the same eyes as on the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from access.models import AccessRequest, RequestEvent, RequestState
from access.requests import deciding, opening, selectors
from access.requests.events import open_terms
from access.requests.opening import Ask
from access.requests.rules import Terms
from catalog.choices import SideEffect, TrustLevel
from catalog.selectors.listing import find_server
from catalog.types import Viewer
from core.errors import InvalidError, NotFoundError
from tenants.api.members import ForMembersAPI
from tenants.models import Membership

PAGE_SIZE = 100
ACTS = ("approve", "reject", "ask", "answer", "withdraw")


class TextField(serializers.CharField):
    """A text that can be stored."""

    def to_internal_value(self, data: Any) -> str:
        text: str = super().to_internal_value(data)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise serializers.ValidationError("This text holds half a character.")
        return text


class EventOut(serializers.ModelSerializer[RequestEvent]):
    class Meta:
        model = RequestEvent
        fields = ["kind", "created_at", "actor_label", "on_behalf_of", "stage", "comment", "terms", "via"]
        read_only_fields = fields


class StageOut(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]  # a field of this name, not the serializer's label
    any_of = serializers.ListField(child=serializers.CharField())


class RequestOut(serializers.ModelSerializer[AccessRequest]):
    server = serializers.CharField(source="server_name")
    tools = serializers.ListField(child=serializers.CharField(), source="tool_names")
    route = StageOut(many=True)
    side_effects = serializers.ListField(child=serializers.ChoiceField(choices=SideEffect.choices), read_only=True)

    class Meta:
        model = AccessRequest
        fields = ["id", "server_id", "server", "state", "digest", "version", "requester_label", "subject_label"]
        fields += ["subject_user", "subject_agent", "subject_team", "subject_key", "tools", "max_trust", "side_effects"]
        fields += ["reason", "duration_h", "wants_session", "route", "stage", "created_at", "due_at", "expires_at"]
        fields += ["decided_at", "grant_id", "session_id", "renews_id", "origin"]
        read_only_fields = fields


class RequestDetailOut(RequestOut):
    events = serializers.SerializerMethodField()

    class Meta(RequestOut.Meta):
        fields = [*RequestOut.Meta.fields, "events"]
        read_only_fields = fields

    @extend_schema_field(EventOut(many=True))
    def get_events(self, found: AccessRequest) -> Any:
        return EventOut(selectors.story(found), many=True).data


class RequestListOut(serializers.Serializer[Any]):
    requests = RequestOut(many=True)


class RequestIn(serializers.Serializer[Any]):
    server = TextField(max_length=200, help_text="The server's short name.")
    tools = serializers.ListField(
        child=TextField(max_length=128), required=False, max_length=500, help_text="None: every tool."
    )
    reason = TextField(max_length=1000)
    duration_h = serializers.IntegerField(min_value=1, max_value=24 * 366)
    agent = TextField(
        max_length=100, required=False, allow_blank=True, help_text="Without a subject: the key's person."
    )
    key = TextField(max_length=36, required=False, allow_blank=True)
    team = TextField(max_length=36, required=False, allow_blank=True)
    wants_session = serializers.BooleanField(default=False)
    trust = serializers.ChoiceField(
        choices=TrustLevel.choices, required=False, help_text="At least; as a refusal names it."
    )
    effect = serializers.ChoiceField(choices=SideEffect.choices, required=False)


class TermsIn(serializers.Serializer[Any]):
    tools = serializers.ListField(child=TextField(max_length=128), max_length=500)
    max_trust = serializers.ChoiceField(choices=TrustLevel.choices)
    side_effects = serializers.ListField(child=serializers.ChoiceField(choices=SideEffect.choices), max_length=3)
    duration_h = serializers.IntegerField(min_value=1, max_value=24 * 366)


class ActIn(serializers.Serializer[Any]):
    act = serializers.ChoiceField(choices=ACTS)
    digest = TextField(
        max_length=64,
        required=False,
        allow_blank=True,
        help_text="Of what was read; needed to approve, reject and ask.",
    )
    comment = TextField(max_length=1000, required=False, allow_blank=True)
    terms = TermsIn(required=False, help_text="To approve less than what is asked.")


class RequestListAPI(ForMembersAPI):
    @extend_schema(
        operation_id="access_requests_list",
        summary="Requests for access",
        responses=RequestListOut,
        parameters=[OpenApiParameter("state", OpenApiTypes.STR, enum=RequestState.values)],
    )
    def get(self, request: Request) -> Response:
        """Those that the key's person may read, the newest first."""
        rows = selectors.visible(self.actor(request))
        if state := request.query_params.get("state"):
            if state not in RequestState.values:
                raise InvalidError(f"There is no state {state[:20]!r}.", field="state")
            rows = rows.filter(state=state)
        return Response({"requests": RequestOut(rows[:PAGE_SIZE], many=True).data})

    @extend_schema(
        operation_id="access_requests_create",
        summary="Ask for access",
        request=RequestIn,
        responses={201: RequestDetailOut},
    )
    def post(self, request: Request) -> Response:
        """Trust and side effects follow from the tools. The organisation's rules say who decides."""
        actor, given = self.actor(request), _valid(RequestIn(data=request.data))
        teams = frozenset(actor.teams.values_list("pk", flat=True))
        server = find_server(Viewer(tenant_id=actor.tenant_id, team_ids=teams), given["server"])
        if server is None:
            raise NotFoundError("There is no server of that name that you may see.")
        parts = {name: given.get(name, "") for name in ("agent", "key", "team")}
        if not any(parts.values()):
            parts["user"] = str(actor.user_id)
        made = opening.open_request(
            actor=actor,
            server=server,
            origin="api",
            ask=Ask(
                tools=tuple(given.get("tools", ())),
                reason=given["reason"],
                duration_h=given["duration_h"],
                wants_session=given["wants_session"],
                trust=given.get("trust", ""),
                effect=given.get("effect", ""),
                agent=parts["agent"],
                key=parts["key"],
                team=parts["team"],
                user=parts.get("user", ""),
            ),
        )
        return Response(RequestDetailOut(made).data, status=status.HTTP_201_CREATED)


class RequestAPI(ForMembersAPI):
    @extend_schema(
        operation_id="access_requests_retrieve", summary="One request, with its story", responses=RequestDetailOut
    )
    def get(self, request: Request, request_id: UUID) -> Response:
        return Response(RequestDetailOut(selectors.get_request(self.actor(request), request_id)).data)

    @extend_schema(
        operation_id="access_requests_act",
        summary="Decide, answer or withdraw",
        request=ActIn,
        responses=RequestDetailOut,
    )
    def post(self, request: Request, request_id: UUID) -> Response:
        """As the key's person. Nobody approves what they asked for, or what would be for themselves."""
        actor = self.actor(request)
        found = selectors.get_request(actor, request_id)
        _act(actor, found, _valid(ActIn(data=request.data)))
        return Response(RequestDetailOut(AccessRequest.objects.get(pk=found.pk)).data)


def _act(actor: Membership, found: AccessRequest, given: Mapping[str, Any]) -> None:
    act, comment = given["act"], given.get("comment", "")
    if act == "withdraw":
        opening.withdraw(actor=actor, request_id=found.pk)
        return
    if act == "answer":
        opening.answer(actor=actor, request_id=found.pk, comment=comment)
        return
    if not given.get("digest"):
        raise InvalidError("Name the digest of the request that you have read.", field="digest")
    common: dict[str, Any] = {
        "tenant": actor.tenant,
        "user": actor.user,
        "request_id": found.pk,
        "digest": given["digest"],
        "comment": comment,
    }
    if act == "approve":
        deciding.approve(**common, terms=_terms(found, given.get("terms")), via="api")
    elif act == "reject":
        deciding.reject(**common, via="api")
    else:
        deciding.ask_back(**common)


def _terms(found: AccessRequest, given: Mapping[str, Any] | None) -> Terms:
    if given is None:
        return open_terms(found)
    return Terms.of(given["tools"], given["max_trust"], given["side_effects"], given["duration_h"])


def _valid(serializer: serializers.Serializer[Any]) -> Mapping[str, Any]:
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data  # type: ignore[no-any-return]
