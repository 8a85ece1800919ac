"""Servers, tools, teams and namespaces in MCP Runtime's shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from access.api.runtime import publishing, shapes
from access.api.runtime.base import SHARED, Caller, RuntimeAPI, body_of, is_name, text_of
from catalog.choices import Status
from catalog.models import Server
from catalog.selectors.listing import visible_to
from core.errors import ForbiddenError, InvalidError, NotFoundError
from tenants.api.members import membership_of
from tenants.models import Membership, Team
from tenants.services import teams

PAGE, PAGE_MAX = 200, 1_000


class Servers(RuntimeAPI):
    def get(self, request: Request) -> Response:
        """Governed servers; what is only listed is in the catalog's own API. `limit` and `offset` page through them."""
        caller = Caller(request)
        found, paging = _page(request, _servers(caller, request.query_params.get("namespace", "")))
        listed = [shapes.server(row, caller, with_tools=False) for row in found]
        return Response({"servers": listed, "page": paging, "publish_policy": publishing.policy_of(caller)})

    def post(self, request: Request) -> Response:
        """Publish a server that answers at `spec.gateway.upstreamURL`; it is read at once, and an operator approves it."""
        caller = Caller(request)
        return Response({"server": shapes.server(publishing.publish(caller, body_of(request)), caller)})


class OneServer(RuntimeAPI):
    def get(self, request: Request, namespace: str, slug: str) -> Response:
        caller = Caller(request)
        return Response({"server": shapes.server(caller.server(slug, caller.namespace(namespace)), caller)})

    def delete(self, request: Request, namespace: str, slug: str) -> Response:
        """Out of the catalog; calls are refused within a second."""
        caller = Caller(request)
        place = caller.namespace(namespace)
        row = publishing.withdraw(caller, caller.server(slug, place))
        return Response({"success": True, "name": row.slug, "namespace": place})


class Tools(RuntimeAPI):
    def get(self, request: Request) -> Response:
        """Tools of governed servers, by server and name; `limit` and `offset` count servers."""
        caller, asked = Caller(request), request.query_params
        found = _servers(caller, asked.get("namespace", ""))
        if name := asked.get("server", "").strip():
            found = found.filter(slug=name if is_name(name) else "")
        servers, paging = _page(request, found)
        wanted = {
            "required_trust": asked.get("trust", ""),
            "side_effect": asked.get("side_effect", "") or asked.get("sideEffect", ""),
            "risk_level": asked.get("risk", ""),
            "drift_status": asked.get("drift", ""),
            "team_id": asked.get("team", ""),
        }
        words = (asked.get("query", "") or asked.get("q", "")).strip().lower()
        return Response({"tools": list(_tools(caller, servers, wanted, words)), "page": paging})


class Teams(RuntimeAPI):
    def get(self, request: Request) -> Response:
        """All of the organisation's for administrators, for others their own."""
        return Response({"teams": [shapes.team(team) for team in Caller(request).teams]})

    def post(self, request: Request) -> Response:
        caller, data = Caller(request), body_of(request)
        name = text_of(data, "name") or text_of(data, "slug")
        return Response({"team": shapes.team(teams.create(actor=membership_of(caller.credential), name=name))})


class OneTeam(RuntimeAPI):
    def get(self, request: Request, team_slug: str) -> Response:
        return Response({"team": shapes.team(_team(Caller(request), team_slug))})


class Members(RuntimeAPI):
    def get(self, request: Request, team_slug: str) -> Response:
        found = _team(Caller(request), team_slug)
        rows = found.members.select_related("user").order_by("user__email")
        return Response({"members": [shapes.member(found, row) for row in rows]})


class OneMember(RuntimeAPI):
    def put(self, request: Request, team_slug: str, user_id: UUID) -> Response:
        caller, data = Caller(request), body_of(request)
        said = text_of(data, "userID")
        if said and said != str(user_id):
            raise InvalidError("userID must match the path", field="userID")
        found, member = _team(caller, team_slug), _member(caller, user_id)
        teams.add(actor=membership_of(caller.credential), team_id=found.pk, membership_id=member.pk)
        return Response({"membership": shapes.member(found, member)})

    def delete(self, request: Request, team_slug: str, user_id: UUID) -> Response:
        caller = Caller(request)
        found, member = _team(caller, team_slug), _member(caller, user_id)
        teams.take_out(actor=membership_of(caller.credential), team_id=found.pk, membership_id=member.pk)
        return Response({"success": True, "team": found.slug, "user_id": str(user_id)})


class Namespaces(RuntimeAPI):
    def get(self, request: Request) -> Response:
        caller = Caller(request)
        return Response({"namespaces": [_namespace(caller, name) for name in caller.namespaces]})


class OneNamespace(RuntimeAPI):
    def get(self, request: Request, namespace: str) -> Response:
        caller = Caller(request)
        return Response({"namespace": _namespace(caller, caller.namespace(namespace))})


def _servers(caller: Caller, namespace: str) -> QuerySet[Server]:
    found = visible_to(caller.viewer).exclude(status=Status.LISTED).order_by("slug", "pk")
    if not namespace.strip():
        return found
    name = caller.namespace(namespace)
    if name in SHARED:
        return found.exclude(owner_tenant_id=caller.tenant.pk)
    own = found.filter(owner_tenant_id=caller.tenant.pk)
    if name == caller.tenant.slug:
        return own.filter(owner_team=None)
    return own.filter(owner_team__in=[team.pk for team in caller.teams if team.namespace == name])


def _page(request: Request, found: QuerySet[Server]) -> tuple[list[Server], dict[str, Any]]:
    limit, offset = _number(request, "limit", PAGE), _number(request, "offset", 0)
    limit = min(limit or PAGE, PAGE_MAX)
    rows = list(found[offset : offset + limit + 1])
    return rows[:limit], {"limit": limit, "offset": offset, "has_more": len(rows) > limit}


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise InvalidError(f"{name} is a whole number", field=name)
    return int(text)


def _tools(caller: Caller, servers: list[Server], wanted: dict[str, str], words: str) -> Iterator[dict[str, Any]]:
    ids = [server.pk for server in servers]
    rows = visible_to(caller.viewer).filter(pk__in=ids).order_by("slug", "pk")
    asked = {key: value.strip().lower() for key, value in wanted.items() if value.strip()}
    for server in rows.prefetch_related(Prefetch("current_version__tools")):
        changed = shapes.open_drifts(server)
        of_server = server.current_version.tools.all() if server.current_version else ()
        for tool in sorted(of_server, key=lambda tool: tool.name):
            row = shapes.tool(tool, server, caller, changed)
            if any(str(row[key]).lower() != value for key, value in asked.items()):
                continue
            if words and words not in f"{row['tool_name']} {row['description']} {row['server_name']}".lower():
                continue
            yield row


def _team(caller: Caller, name: str) -> Team:
    """Raises NotFoundError for none of the organisation's, ForbiddenError for one that they are not in."""
    found = Team.objects.filter(tenant=caller.tenant, slug=name).first()
    if found is None:
        raise NotFoundError("team not found", next_step="List the teams and use one of their short names.")
    if found.pk not in {team.pk for team in caller.teams}:
        raise ForbiddenError("forbidden", code="access.team_forbidden", next_step="Ask an admin of the organisation.")
    return found


def _member(caller: Caller, user_id: UUID) -> Membership:
    rows = Membership.objects.select_related("user")
    found = rows.filter(tenant=caller.tenant, user_id=user_id).first()
    if found is None:
        raise NotFoundError("team or user not found", next_step="Invite the person to the organisation first.")
    return found


def _namespace(caller: Caller, name: str) -> dict[str, Any]:
    if name in SHARED:
        is_public = name == "mcp-servers-public"
        scope = {"mcp-servers": "shared", "mcp-servers-org": "org"}.get(name, "public")
        return {"namespace": name, "is_shared": name == "mcp-servers", "is_public": is_public, "scope": scope}
    found: dict[str, Any] = {"namespace": name, "is_shared": False, "is_public": False}
    for team in caller.teams:
        if team.namespace == name:
            return found | {
                "scope": "team", "team_id": str(team.pk), "team_slug": team.slug, "team_name": team.name,
            }  # fmt: skip
    return found | {"scope": "org", "scope_name": caller.tenant.name}
