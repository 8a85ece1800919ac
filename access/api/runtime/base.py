"""What the views of MCP Runtime's API share: who asks, which namespaces are theirs, and errors in both platforms' words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.filing.directory import Directory
from catalog.models import Server
from catalog.selectors.listing import find_server, visible_to
from catalog.types import Viewer
from core.errors import ForbiddenError, InvalidError, NotFoundError
from core.problems import exception_handler
from tenants.api.authentication import APIKeyAuthentication
from tenants.api.credential import Credential
from tenants.api.members import MemberAuthentication
from tenants.api.permissions import HasScope
from tenants.api.throttles import CallerThrottle
from tenants.choices import Scope
from tenants.models import Team
from tenants.selectors.people import list_teams

# What a name in a path or body can be; anything else is nothing's name, and Postgres need not be asked.
_NAME = re.compile(r"[-a-zA-Z0-9_.]{1,253}\Z")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
SHARED = ("mcp-servers", "mcp-servers-org", "mcp-servers-public")
PUBLIC = "mcp-servers-public"


def handle(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Our problem, with the member `error` that clients of MCP Runtime read."""
    response = exception_handler(exception, context)
    if response is not None and isinstance(response.data, dict):
        response.data["error"] = response.data.get("title", "")
    return response


@extend_schema(exclude=True)
class RuntimeAPI(APIView):
    """Reads need `catalog:read`, changes `admin`; a member's session has what their role gives them."""

    authentication_classes = [APIKeyAuthentication, MemberAuthentication]
    permission_classes = [HasScope]
    throttle_classes = [CallerThrottle]
    throttle_name = "runtime"
    write_scope: ClassVar[str] = Scope.ADMIN

    @property
    def required_scope(self) -> str:
        return Scope.CATALOG_READ if self.request.method in {"GET", "HEAD", "OPTIONS"} else self.write_scope

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return handle


class Caller:
    """Who asks, with what they may see. Directories are of the whole organisation; answers are not."""

    def __init__(self, request: Request) -> None:
        caller = request.auth
        assert isinstance(caller, Credential)  # HasScope let nobody else in
        self.credential = caller
        self.tenant = caller.tenant
        self.is_admin = Scope.ADMIN in caller.scopes
        self.directory = Directory(caller.tenant)
        self.teams: list[Team] = [
            team for team in list_teams(caller.tenant) if self.is_admin or team.pk in caller.team_ids
        ]

    @property
    def viewer(self) -> Viewer:
        """Whoever administers the organisation sees what any of its teams sees."""
        return self.directory.viewer if self.is_admin else Viewer(self.tenant.pk, self.credential.team_ids)

    @property
    def namespaces(self) -> list[str]:
        return [self.tenant.slug, *(team.namespace for team in self.teams), *SHARED]

    def namespace(self, text: str) -> str:
        """The namespace that is named, or the organisation's own. Raises ForbiddenError for one that is not theirs."""
        name = text.strip() or self.tenant.slug
        if name not in self.namespaces:
            raise ForbiddenError(
                "forbidden namespace",
                code="access.namespace_forbidden",
                next_step=f"Use one of {', '.join(self.namespaces[:5])}.",
            )
        return name

    def namespace_of(self, server: Server) -> str:
        if server.owner_tenant_id != self.tenant.pk:
            return PUBLIC
        team = self.directory.team_of(server)
        return f"mcp-team-{team}" if team else self.tenant.slug

    def server(self, name: str, namespace: str = "") -> Server:
        """Raises NotFoundError for a server that they may not see, or that is in another namespace."""
        found = find_server(self.viewer, name) if _NAME.match(name) else None
        if found is None or (namespace and namespace not in {self.namespace_of(found), *SHARED}):
            raise NotFoundError("server not found", next_step="List the servers and use one of their names.")
        return found

    def visible_ids(self) -> set[Any] | None:
        """Servers whose grants and sessions they may see; None for all, which is for administrators."""
        return None if self.is_admin else set(visible_to(self.viewer).values_list("pk", flat=True))


def body_of(request: Request) -> dict[str, Any]:
    """Raises InvalidError for what is no object."""
    if not isinstance(request.data, dict):
        raise InvalidError("The body is a JSON object.", code="access.body_invalid")
    return request.data


def is_name(text: str) -> bool:
    return bool(_NAME.match(text))


def text_of(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 500 or _UNSTORABLE.search(value):
        raise InvalidError(f"{key} is a text of at most 500 characters.", code="access.body_invalid", field=key)
    return value.strip()


def flag_of(data: dict[str, Any], key: str) -> bool | None:
    """None when it is not given."""
    value = data.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidError(f"{key} is true or false.", code="access.body_invalid", field=key)
