"""Asking about access: what would be decided, who can, what a caller can do, and what a change would mean.

For keys that administer; the key's schema is opened when the key is accepted.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import foresight, selectors
from access.api.serializers import ReachedOut, ReachOut, SimulationIn, SimulationOut, WouldOut, decision_out
from access.foresight import Caller
from access.reasons import words_for
from access.services import simulations
from catalog.models import Server
from catalog.selectors.listing import find_server
from catalog.types import Viewer
from core.errors import InvalidError, NotFoundError
from tenants.api.credential import Credential
from tenants.api.permissions import HasScope
from tenants.choices import Scope
from tenants.models import Tenant

_SERVER = OpenApiParameter("server", OpenApiTypes.STR, required=True, description="The server's short name.")
_TOOL = OpenApiParameter("tool", OpenApiTypes.STR, required=True, description="The tool's name.")
_WHO = OpenApiParameter(
    "who", OpenApiTypes.STR, required=True, description="A caller: user:<id>, key:<id>, team:<id> or agent:<name>."
)


class _Asking(APIView):
    permission_classes = [HasScope]
    required_scope = Scope.ADMIN

    @property
    def credential(self) -> Credential:
        caller = self.request.auth
        assert isinstance(caller, Credential)
        return caller

    @property
    def tenant(self) -> Tenant:
        return self.credential.tenant

    @property
    def viewer(self) -> Viewer:
        return Viewer(tenant_id=self.tenant.pk, team_ids=self.credential.team_ids)

    def server(self) -> Server:
        """Raises NotFoundError."""
        name = self.request.query_params.get("server", "")
        server = find_server(self.viewer, name)
        if server is None:
            raise NotFoundError(f"There is no server named “{name[:40]}” that this key may see.")
        return server

    def tool(self) -> str:
        tool = self.request.query_params.get("tool", "")
        if not tool or "\x00" in tool:
            raise InvalidError("Name a tool.", field="tool")
        return tool

    def caller(self) -> Caller:
        """Raises NotFoundError."""
        asked = self.request.query_params.get("who", "")
        found = next((each for each in foresight.callers(self.tenant) if f"{each.kind}:{each.id}" == asked), None)
        if found is None:
            raise NotFoundError(
                "There is no such caller.", next_step="Name it as in the answers of who-can.", field="who"
            )
        return found


class ExplainAPI(_Asking):
    @extend_schema(
        operation_id="access_explain",
        summary="What would be decided",
        parameters=[_SERVER, _TOOL, _WHO],
        responses=WouldOut,
    )
    def get(self, request: Request) -> Response:
        """The decision that a call of a tool would get at this moment. Nothing is called and nothing is recorded."""
        server, tool, caller = self.server(), self.tool(), self.caller()
        if caller.key is not None:
            decision = selectors.explain_call(caller.key, server, "tools/call", tool)
        else:
            decision = foresight.would(caller.principal, self.tenant, server, "tools/call", tool)
        asked = caller.asking(tool)
        open_questions = foresight.hangs_on(caller.principal, self.tenant, server, asked, decision)
        words = words_for(
            decision.reason,
            tool=tool,
            effect=decision.side_effect,
            required=decision.trust_required,
            effective=decision.trust_effective,
        )
        steps = [{"check": step.rule, "outcome": step.outcome} for step in decision.steps]
        return Response(
            decision_out(decision)
            | {
                "why": words.why,
                "next_step": words.next_step,
                "steps": steps,
                "shares": [asdict(share) for share in decision.shares],
                "hangs_on": list(open_questions),
            }
        )


class WhoCanAPI(_Asking):
    @extend_schema(
        operation_id="access_who_can",
        summary="Who can call a tool",
        parameters=[_SERVER, _TOOL],
        responses=ReachOut(many=True),
    )
    def get(self, request: Request) -> Response:
        """Everybody and everything of the organisation that could call it, those who may first."""
        found = foresight.who_can(self.tenant, self.server(), self.tool())
        return Response(
            [
                {"who": f"{reach.caller.kind}:{reach.caller.id}", "name": reach.caller.label}
                | decision_out(reach.decision)
                | {"hangs_on": list(reach.hangs_on)}
                for reach in found
            ]
        )


class WhatCanAPI(_Asking):
    @extend_schema(
        operation_id="access_what_can",
        summary="What a caller can do",
        parameters=[_WHO],
        responses=ReachedOut(many=True),
    )
    def get(self, request: Request) -> Response:
        """Every tool that a caller has to do with."""
        found = foresight.what_can(self.tenant, self.caller(), selectors.callable_servers(self.viewer))
        return Response(
            [
                {"server": each.server.slug, "tool": each.tool}
                | decision_out(each.decision)
                | {"hangs_on": list(each.hangs_on)}
                for each in found
            ]
        )


class SimulationListAPI(_Asking):
    @extend_schema(
        operation_id="access_simulate",
        summary="Begin a simulation",
        request=SimulationIn,
        responses={202: SimulationOut},
    )
    def post(self, request: Request) -> Response:
        """Replay the calls of the last days against a change that nobody has made. Ask for the answer until its state is done."""
        given = SimulationIn(data=request.data)
        given.is_valid(raise_exception=True)
        data: dict[str, Any] = given.validated_data
        row = simulations.begin(
            tenant=self.tenant,
            viewer=self.viewer,
            actor=None,
            title=data["title"],
            change=data["change"],
            days=data["days"],
        )
        return Response(SimulationOut(row).data, status=202)


class SimulationAPI(_Asking):
    @extend_schema(operation_id="access_simulation", summary="One simulation", responses=SimulationOut)
    def get(self, request: Request, simulation_id: UUID) -> Response:
        return Response(SimulationOut(simulations.find(simulation_id)).data)
