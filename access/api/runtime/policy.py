"""The rendered policy of a server, as MCP Runtime gives it to its gateways."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from access import rendering
from access.api.runtime.base import Caller, RuntimeAPI
from core.errors import InvalidError
from tenants.choices import Scope


class Policy(RuntimeAPI):
    """For administrators: the document names everybody who was granted anything on the server."""

    @property
    def required_scope(self) -> str:
        return Scope.ADMIN

    def get(self, request: Request) -> Response:
        caller = Caller(request)
        namespace = caller.namespace(request.query_params.get("namespace", ""))
        name = request.query_params.get("server", "").strip()
        if not name or not request.query_params.get("namespace", "").strip():
            raise InvalidError("namespace and server parameters required", field="server")
        return Response(rendering.render(caller.tenant, caller.server(name), namespace).document)
