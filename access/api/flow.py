"""The flow rule of the key's organisation, its labels of tools, and what sessions have touched."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from access.api.requests import TextField
from access.api.rights import RightsAPI
from access.filing.directory import Directory
from access.flows import rules, state
from access.flows.rules import Terms
from access.models import FlowSession
from access.models.flow import WINDOW_LEAST_S, WINDOW_MOST_S
from access.types import FlowMode, FlowScope
from catalog.labels import LABELS
from catalog.models import Server
from catalog.selectors import labels as confirmed
from catalog.selectors.listing import find_server
from catalog.types import Viewer
from core.errors import NotFoundError
from tenants.api.credential import Credential
from tenants.choices import Scope


class FlowRuleIO(serializers.Serializer[Any]):
    """What must not meet in one session of an agent, and what happens to the call that would bring it together."""

    mode = serializers.ChoiceField([mode.value for mode in FlowMode])
    forbidden = serializers.ListField(
        child=serializers.ListField(child=serializers.ChoiceField(list(LABELS)), allow_empty=False)
    )
    session = serializers.ChoiceField([scope.value for scope in FlowScope], default="caller")
    window_s = serializers.IntegerField(min_value=WINDOW_LEAST_S, max_value=WINDOW_MOST_S, default=3_600)
    unlabelled = serializers.ChoiceField(["nothing", "suggested"], default="nothing")
    exempt_agents = serializers.ListField(child=TextField(max_length=200), default=list, max_length=100)
    exempt_grants = serializers.ListField(
        child=TextField(max_length=320), default=list, max_length=100, help_text="As namespace/name."
    )


class FlowToolOut(serializers.Serializer[Any]):
    tool = serializers.CharField(help_text="Empty for resources and prompts.")
    confirmed = serializers.ListField(child=serializers.CharField(), allow_null=True)
    own = serializers.ListField(child=serializers.CharField(), allow_null=True)
    suggested = serializers.ListField(child=serializers.CharField())


class FlowLabelsOut(serializers.Serializer[Any]):
    server = serializers.CharField()
    name = serializers.CharField()
    tools = FlowToolOut(many=True)


class FlowToolIn(serializers.Serializer[Any]):
    tool = TextField(max_length=128, allow_blank=True, help_text="Empty for resources and prompts.")
    labels = serializers.ListField(
        child=serializers.ChoiceField(list(LABELS)),
        allow_null=True,
        help_text="null goes by the provider's word again.",
    )


class FlowLabelsIn(serializers.Serializer[Any]):
    tools = FlowToolIn(many=True, allow_empty=False)


class FlowTouchedOut(serializers.Serializer[Any]):
    call = serializers.UUIDField()
    server = serializers.CharField()
    tool = serializers.CharField()
    at = serializers.DateTimeField()


class FlowSessionOut(serializers.ModelSerializer[FlowSession]):
    touched = serializers.DictField(child=FlowTouchedOut(), help_text="By label: the first call that touched it.")

    class Meta:
        model = FlowSession
        fields = ["id", "kind", "api_key_id", "agent", "agent_session_id", "touched", "began_at", "last_at", "ends_at"]
        read_only_fields = fields


class FlowSessionListOut(serializers.Serializer[Any]):
    sessions = FlowSessionOut(many=True)


class FlowRuleAPI(RightsAPI):
    @extend_schema(operation_id="flow_rule_retrieve", summary="The flow rule", responses=FlowRuleIO)
    def get(self, request: Request) -> Response:
        """The one that holds, the platform's default included."""
        return Response(rules.terms().told())

    @extend_schema(
        operation_id="flow_rule_replace", summary="Set the flow rule", request=FlowRuleIO, responses=FlowRuleIO
    )
    def put(self, request: Request) -> Response:
        """All of it. Gateways follow within a second."""
        data, caller = _given(FlowRuleIO, request), _whose(request)
        wanted = Terms(
            data["mode"],
            tuple(tuple(each) for each in data["forbidden"]),
            data["session"],
            data["window_s"],
            data["unlabelled"],
            tuple(data["exempt_agents"]),
            tuple(data["exempt_grants"]),
        )
        rules.change(tenant=caller.tenant, wanted=wanted, actor=caller.user)
        return Response(rules.terms().told())


class FlowLabelsAPI(RightsAPI):
    @extend_schema(operation_id="flow_labels_retrieve", summary="Labels of a server's tools", responses=FlowLabelsOut)
    def get(self, request: Request, slug: str) -> Response:
        """What was confirmed, what the organisation says for its own calls, and what is suggested. null: nobody has said so."""
        return Response(_told(request, slug))

    @extend_schema(
        operation_id="flow_labels_update", summary="Label tools", request=FlowLabelsIn, responses=FlowLabelsOut
    )
    def patch(self, request: Request, slug: str) -> Response:
        """For the organisation's own calls. Tools that are not named stay as they are."""
        data, caller = _given(FlowLabelsIn, request), _whose(request)
        rules.label(
            tenant=caller.tenant,
            server=_server(request, slug),
            wanted={row["tool"]: row["labels"] for row in data["tools"]},
            actor=caller.user,
        )
        return Response(_told(request, slug))


class FlowSessionListAPI(RightsAPI):
    required_scope = Scope.ADMIN  # which servers others use is for those who administer the organisation

    @extend_schema(
        operation_id="flow_sessions_list", summary="What sessions have touched", responses=FlowSessionListOut
    )
    def get(self, request: Request) -> Response:
        """Those that go on, the newest first, 200 at most."""
        return Response({"sessions": FlowSessionOut(state.live()[:200], many=True).data})


def _whose(request: Request) -> Credential:
    caller = request.auth
    assert isinstance(caller, Credential)  # HasScope let nobody else in
    return caller


def _given(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _server(request: Request, slug: str) -> Server:
    """Raises NotFoundError for one that the key may not see."""
    caller = _whose(request)
    is_admin = Scope.ADMIN in caller.scopes
    viewer = Directory(caller.tenant).viewer if is_admin else Viewer(caller.tenant.pk, caller.team_ids)
    server = find_server(viewer, slug)
    if server is None:
        raise NotFoundError("There is no such server that the organisation may see.")
    return server


def _told(request: Request, slug: str) -> dict[str, Any]:
    server = _server(request, slug)
    said, own = confirmed.of_server(server.pk), rules.own_labels_at(server.pk)
    tools = list(server.current_version.tools.all()) if server.current_version else []
    suggested = {"": frozenset[str]()} | {tool.name: confirmed.suggested(tool) for tool in tools}
    return {
        "server": server.slug,
        "name": server.name,
        "tools": [
            {
                "tool": name,
                "confirmed": sorted(said[name].labels) if name in said else None,
                "own": sorted(own[name].labels) if name in own else None,
                "suggested": sorted(likely),
            }
            for name, likely in suggested.items()
        ],
    }
