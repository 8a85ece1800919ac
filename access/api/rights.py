"""Grants, sessions, policies and teams of the key's organisation. People, teams and keys are named as files name them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.api.requests import TextField
from access.filing import rows
from access.filing.directory import Directory
from access.formats import manifests
from access.formats.entries import SubjectEntry
from access.models import AgentSession, Grant, Origin
from access.services import grants, sessions
from audit import services as audit
from catalog.choices import SideEffect, TrustLevel
from catalog.models import Server
from catalog.policies import COMPATS, DECISIONS, ENFORCE_ON, PolicySettings
from catalog.selectors.listing import visible_to
from catalog.services import policies
from catalog.types import Viewer
from core.errors import InvalidError, NotFoundError
from tenants.api.credential import Credential
from tenants.api.members import membership_of
from tenants.api.permissions import HasScope
from tenants.api.throttles import CallerThrottle
from tenants.choices import Scope
from tenants.models import Team, Tenant
from tenants.selectors.people import list_teams
from tenants.services import teams

PAGE, PAGE_MAX = 50, 200
_PAGES = [
    OpenApiParameter("limit", OpenApiTypes.INT, description=f"At most {PAGE_MAX}."),
    OpenApiParameter("offset", OpenApiTypes.INT),
]
_FILTERS = [
    OpenApiParameter("server", OpenApiTypes.STR, description="Of one server, by its name."),
    OpenApiParameter(
        "state", OpenApiTypes.STR, enum=["live", "all"], description="Live ones unless all are asked for."
    ),
    *_PAGES,
]


class SubjectIO(serializers.Serializer[Any]):
    """Every part that is set must match the caller; `everyone` is the whole organisation and stands alone."""

    human = TextField(required=False, allow_blank=True, max_length=200, help_text="Address of a member.")
    agent = TextField(required=False, allow_blank=True, max_length=200)
    team = TextField(required=False, allow_blank=True, max_length=200, help_text="Short name of a team.")
    key = TextField(required=False, allow_blank=True, max_length=200, help_text="The id in the text of a key.")
    everyone = serializers.BooleanField(required=False)


class RuleIO(serializers.Serializer[Any]):
    name = TextField(max_length=128)
    decision = serializers.ChoiceField(["allow", "deny"], required=False, default="allow")
    required_trust = serializers.ChoiceField(TrustLevel.choices, required=False, default="low")
    approval = serializers.BooleanField(required=False, default=False, help_text="A person approves each call of it.")


class GrantIn(serializers.Serializer[Any]):
    server = TextField(max_length=100, help_text="Its name in gateway paths.")
    subject = SubjectIO()
    name = TextField(required=False, allow_blank=True, max_length=253)
    namespace = TextField(required=False, allow_blank=True, max_length=63)
    max_trust = serializers.ChoiceField(TrustLevel.choices, default="low")
    side_effects = serializers.ListField(
        child=serializers.ChoiceField(SideEffect.choices), default=["read"], allow_empty=False
    )
    tool_rules = RuleIO(many=True, required=False, default=list, help_text="None: every tool.")
    conditions = serializers.JSONField(required=False, default=dict)
    policy_version = TextField(required=False, allow_blank=True, max_length=63, default="")
    disabled = serializers.BooleanField(required=False, default=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    note = TextField(required=False, allow_blank=True, max_length=500, default="")


class GrantOut(serializers.ModelSerializer[Grant]):
    server = serializers.SerializerMethodField()
    subject = serializers.SerializerMethodField()
    side_effects = serializers.ListField(child=serializers.ChoiceField(SideEffect.choices))
    tool_rules = RuleIO(many=True)
    state = serializers.ChoiceField(["active", "disabled", "expired", "revoked"])

    class Meta:
        model = Grant
        fields = [
            "id", "name", "namespace", "server", "subject", "max_trust", "side_effects", "tool_rules", "conditions",
            "policy_version", "state", "expires_at", "created_at", "granted_by_label", "origin", "replaced_by", "note",
        ]  # fmt: skip
        read_only_fields = fields

    def get_server(self, row: Grant) -> str:
        directory: Directory = self.context["directory"]
        return directory.slug(row.server_id)

    @extend_schema_field(SubjectIO)
    def get_subject(self, row: Grant) -> dict[str, Any]:
        entry = rows.grant_entry(row, self.context["directory"])
        return _subject_out(entry.subject)


class GrantListOut(serializers.Serializer[Any]):
    grants = GrantOut(many=True)
    total = serializers.IntegerField()


class SwitchIn(serializers.Serializer[Any]):
    disabled = serializers.BooleanField()


class SessionIn(serializers.Serializer[Any]):
    server = TextField(max_length=100)
    subject = SubjectIO(help_text="A human, an agent or a team, or several of these.")
    name = TextField(required=False, allow_blank=True, max_length=253)
    namespace = TextField(required=False, allow_blank=True, max_length=63)
    consented_trust = serializers.ChoiceField(TrustLevel.choices, default="low")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    idle_timeout_s = serializers.IntegerField(required=False, allow_null=True, min_value=60, max_value=2**31 - 1)
    policy_version = TextField(required=False, allow_blank=True, max_length=63, default="")


class SessionOut(serializers.ModelSerializer[AgentSession]):
    server = serializers.SerializerMethodField()
    subject = serializers.SerializerMethodField()
    state = serializers.ChoiceField(["active", "expired", "revoked"])

    class Meta:
        model = AgentSession
        fields = [
            "id", "name", "namespace", "server", "subject", "consented_trust", "policy_version", "state", "expires_at",
            "idle_timeout_s", "last_used_at", "created_at", "issued_by_label", "origin",
        ]  # fmt: skip
        read_only_fields = fields

    def get_server(self, row: AgentSession) -> str:
        directory: Directory = self.context["directory"]
        return directory.slug(row.server_id)

    @extend_schema_field(SubjectIO)
    def get_subject(self, row: AgentSession) -> dict[str, Any]:
        return _subject_out(rows.session_entry(row, self.context["directory"]).subject)


class SessionListOut(serializers.Serializer[Any]):
    sessions = SessionOut(many=True)
    total = serializers.IntegerField()


class PolicyIO(serializers.Serializer[Any]):
    server = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)
    mode = serializers.ChoiceField(["allow-list", "observe"], required=False)
    default_decision = serializers.ChoiceField(DECISIONS, required=False)
    enforce_on = serializers.ChoiceField(ENFORCE_ON, required=False)
    policy_version = TextField(max_length=63, required=False)
    session_required = serializers.BooleanField(required=False)
    session_header = TextField(max_length=62, required=False)
    session_max_lifetime_s = serializers.IntegerField(required=False, min_value=60)
    session_idle_timeout_s = serializers.IntegerField(required=False, min_value=60)
    compat = serializers.ChoiceField(COMPATS, required=False)


class PolicyListOut(serializers.Serializer[Any]):
    policies = PolicyIO(many=True)


class TeamIn(serializers.Serializer[Any]):
    name = TextField(max_length=100)


class TeamOut(serializers.ModelSerializer[Team]):
    members = serializers.SerializerMethodField()

    class Meta:
        model = Team
        fields = ["id", "slug", "name", "namespace", "members", "created_at"]
        read_only_fields = fields

    def get_members(self, team: Team) -> list[str]:
        return sorted(member.user.email for member in team.members.all())


class TeamListOut(serializers.Serializer[Any]):
    teams = TeamOut(many=True)


class RightsAPI(APIView):
    """Reads need `catalog:read`, changes `admin`."""

    permission_classes = [HasScope]
    throttle_classes = [CallerThrottle]
    throttle_name = "rights"

    @property
    def required_scope(self) -> str:
        return Scope.CATALOG_READ if self.request.method in {"GET", "HEAD", "OPTIONS"} else Scope.ADMIN


class GrantListAPI(RightsAPI):
    @extend_schema(operation_id="grants_list", summary="Grants", parameters=_FILTERS, responses=GrantListOut)
    def get(self, request: Request) -> Response:
        """The newest first; of servers that the key's organisation, and its team, may see."""
        return _newest(request, Grant.objects.all(), rows.live_grants(), GrantOut, "grants")

    @extend_schema(operation_id="grants_create", summary="Give access", request=GrantIn, responses={201: GrantOut})
    def post(self, request: Request) -> Response:
        """A name that a live grant of the namespace has is a conflict (409)."""
        credential, data = _credential(request), _checked(GrantIn, request)
        directory = Directory(credential.tenant)
        row = grants.give(
            tenant=credential.tenant,
            server=_server(directory, data["server"]),
            subject=directory.subject(SubjectEntry(**data["subject"])),
            actor=credential.user,
            name=data.get("name", ""),
            namespace=data.get("namespace", ""),
            origin=Origin.API,
            max_trust=data["max_trust"],
            side_effects=data["side_effects"],
            tool_rules=data["tool_rules"],
            conditions=data["conditions"],
            expires_at=data["expires_at"],
            policy_version=data["policy_version"],
            note=data["note"],
            is_disabled=data["disabled"],
        )
        return Response(GrantOut(row, context={"directory": directory}).data, status=status.HTTP_201_CREATED)


class GrantAPI(RightsAPI):
    @extend_schema(operation_id="grants_retrieve", summary="One grant", responses=GrantOut)
    def get(self, request: Request, grant_id: UUID) -> Response:
        """Ended ones too: calls name the grant that allowed them."""
        row, directory = _one(request, Grant.objects.all(), grant_id)
        return Response(GrantOut(row, context={"directory": directory}).data)

    @extend_schema(
        operation_id="grants_update",
        summary="Switch a grant off or on",
        request=SwitchIn,
        responses=GrantOut,
    )
    def patch(self, request: Request, grant_id: UUID) -> Response:
        """`{"disabled": true}` or false. For anything else revoke it and give another: a grant is never edited."""
        row, directory = _one(request, Grant.objects.all(), grant_id)
        change = grants.disable if _checked(SwitchIn, request)["disabled"] else grants.enable
        row = change(tenant=directory.tenant, grant_id=row.pk, actor=_credential(request).user)
        return Response(GrantOut(row, context={"directory": directory}).data)

    @extend_schema(operation_id="grants_destroy", summary="Revoke a grant", responses={204: None})
    def delete(self, request: Request, grant_id: UUID) -> Response:
        """A second time changes nothing. Gateways refuse within a second."""
        row, directory = _one(request, Grant.objects.all(), grant_id)
        grants.revoke(tenant=directory.tenant, grant_id=row.pk, actor=_credential(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionListAPI(RightsAPI):
    @extend_schema(
        operation_id="sessions_list", summary="Sessions of agents", parameters=_FILTERS, responses=SessionListOut
    )
    def get(self, request: Request) -> Response:
        """The newest first, those of adapters included."""
        every = AgentSession.objects.all()
        return _newest(request, every, every.filter(revoked_at=None), SessionOut, "sessions")

    @extend_schema(
        operation_id="sessions_create", summary="Issue a session", request=SessionIn, responses={201: SessionOut}
    )
    def post(self, request: Request) -> Response:
        """Without an end it lives as long as the server lets any session live."""
        credential, data = _credential(request), _checked(SessionIn, request)
        directory = Directory(credential.tenant)
        row = sessions.issue(
            tenant=credential.tenant,
            server=_server(directory, data["server"]),
            subject=directory.subject(SubjectEntry(**data["subject"])),
            actor=credential.user,
            name=data.get("name", ""),
            namespace=data.get("namespace", ""),
            origin=Origin.API,
            consented_trust=data["consented_trust"],
            expires_at=data["expires_at"],
            idle_timeout_s=data.get("idle_timeout_s"),
            policy_version=data["policy_version"],
        )
        return Response(SessionOut(row, context={"directory": directory}).data, status=status.HTTP_201_CREATED)


class SessionAPI(RightsAPI):
    @extend_schema(operation_id="sessions_retrieve", summary="One session", responses=SessionOut)
    def get(self, request: Request, session_id: UUID) -> Response:
        """Ended ones too."""
        row, directory = _one(request, AgentSession.objects.all(), session_id)
        return Response(SessionOut(row, context={"directory": directory}).data)

    @extend_schema(operation_id="sessions_destroy", summary="Revoke a session", responses={204: None})
    def delete(self, request: Request, session_id: UUID) -> Response:
        """A second time changes nothing."""
        row, directory = _one(request, AgentSession.objects.all(), session_id)
        sessions.revoke(tenant=directory.tenant, session_id=row.pk, actor=_credential(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PolicyListAPI(RightsAPI):
    @extend_schema(operation_id="policies_list", summary="Policies of own servers", responses=PolicyListOut)
    def get(self, request: Request) -> Response:
        """Of servers that the key's team may see."""
        found = visible_to(_viewer(request)).filter(owner_tenant_id=_credential(request).tenant.pk)
        return Response({"policies": [_policy_out(server) for server in found.order_by("slug")]})


class PolicyAPI(RightsAPI):
    @extend_schema(operation_id="policies_retrieve", summary="The policy of an own server", responses=PolicyIO)
    def get(self, request: Request, slug: str) -> Response:
        """As its owner set it."""
        return Response(_policy_out(_own_server(request, slug)))

    @extend_schema(
        operation_id="policies_update",
        summary="Change the policy of an own server",
        request=PolicyIO,
        responses=PolicyIO,
    )
    def patch(self, request: Request, slug: str) -> Response:
        """What the body leaves out stays as it is."""
        server, credential = _own_server(request, slug), _credential(request)
        data = _checked(PolicyIO, request)
        present = policies.Policy.of(server)
        mode = data.pop("mode", present.mode)
        settings = {name: getattr(present.settings, name) for name in PolicySettings.__dataclass_fields__} | data
        actor = credential.user
        server = policies.change(
            server_id=server.pk,
            owner_id=credential.tenant.pk,
            policy=policies.Policy(mode, PolicySettings(**settings), present.identity_headers),
            actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        )
        return Response(_policy_out(server))


class TeamListAPI(RightsAPI):
    @extend_schema(operation_id="teams_list", summary="Teams and who is in them", responses=TeamListOut)
    def get(self, request: Request) -> Response:
        """All of the organisation's."""
        return Response({"teams": TeamOut(list_teams(_credential(request).tenant), many=True).data})

    @extend_schema(operation_id="teams_create", summary="Make a team", request=TeamIn, responses={201: TeamOut})
    def post(self, request: Request) -> Response:
        """As the member who made the key."""
        data = _checked(TeamIn, request)
        team = teams.create(actor=membership_of(_credential(request)), name=data["name"])
        return Response(TeamOut(team).data, status=status.HTTP_201_CREATED)


class TeamAPI(RightsAPI):
    @extend_schema(operation_id="teams_retrieve", summary="One team", responses=TeamOut)
    def get(self, request: Request, team_id: UUID) -> Response:
        """With its members."""
        return Response(TeamOut(_team(_credential(request).tenant, team_id)).data)


def _subject_out(subject: SubjectEntry) -> dict[str, Any]:
    parts = {name: getattr(subject, name) for name in ("human", "agent", "team", "key", "everyone")}
    return {name: value for name, value in parts.items() if value}


def _policy_out(server: Server) -> dict[str, Any]:
    policy = policies.Policy.of(server)
    told: dict[str, Any] = PolicyIO({"server": server.slug, "name": server.name, **policy.told()}).data
    return told


def _checked(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _credential(request: Request) -> Credential:
    caller = request.auth
    assert isinstance(caller, Credential)  # HasScope let nobody else in
    return caller


def _viewer(request: Request) -> Viewer:
    """As the page of the person would show it: the key's own team, unless it administers the organisation."""
    caller = _credential(request)
    if Scope.ADMIN in caller.scopes:
        return Directory(caller.tenant).viewer
    return Viewer(caller.tenant.pk, caller.team_ids)


def _newest(
    request: Request, every: QuerySet[Any], live: QuerySet[Any], shape: type[serializers.Serializer[Any]], word: str
) -> Response:
    """A page of them, the newest first, with the number of all."""
    found, directory = _listed(request, every, live)
    page = _page(request, found.order_by("-created_at", "-pk"))
    directory.learn_slugs(row.server_id for row in page)
    listed = shape(page, many=True, context={"directory": directory}).data
    return Response({word: listed, "total": found.count()})


def _listed(request: Request, every: QuerySet[Any], live: QuerySet[Any]) -> tuple[QuerySet[Any], Directory]:
    caller = _credential(request)
    state = request.query_params.get("state", "live")
    if state not in {"live", "all"}:
        raise InvalidError("state is live or all.", field="state")
    found = every if state == "all" else live
    if Scope.ADMIN not in caller.scopes:
        found = found.filter(server_id__in=list(visible_to(_viewer(request)).values_list("pk", flat=True)))
    if name := request.query_params.get("server", ""):
        servers = visible_to(_viewer(request)).filter(slug=name if manifests.LABEL.match(name) else "")
        found = found.filter(server_id__in=list(servers.values_list("pk", flat=True)))
    return found, Directory(caller.tenant)


def _one(request: Request, found: QuerySet[Any], row_id: UUID) -> tuple[Any, Directory]:
    caller = _credential(request)
    row = found.filter(pk=row_id).first()
    is_seen = row is not None and (
        Scope.ADMIN in caller.scopes or visible_to(_viewer(request)).filter(pk=row.server_id).exists()
    )
    if not is_seen:
        raise NotFoundError("There is nothing of this id in the organisation.")
    return row, Directory(caller.tenant)


def _page(request: Request, found: QuerySet[Any]) -> list[Any]:
    limit, offset = _number(request, "limit", PAGE), _number(request, "offset", 0)
    return list(found[offset : offset + min(limit or PAGE, PAGE_MAX)])


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise InvalidError(f"{name} is a whole number.", field=name)
    return int(text)


def _server(directory: Directory, slug: str) -> Server:
    server = directory.server(slug) if manifests.LABEL.match(slug) else None
    if server is None:
        raise InvalidError(
            f"There is no server {slug[:40]!r} that the organisation may see.",
            code="access.server_unknown",
            field="server",
        )
    return server


def _own_server(request: Request, slug: str) -> Server:
    rows_ = visible_to(_viewer(request)).filter(owner_tenant_id=_credential(request).tenant.pk, slug=slug)
    found = rows_.first()
    if found is None:
        raise NotFoundError("There is no such server of the organisation.")
    return found


def _team(tenant: Tenant, team_id: UUID) -> Team:
    found = list_teams(tenant).filter(pk=team_id).first()
    if found is None:
        raise NotFoundError("There is no such team in this organisation.")
    return found
