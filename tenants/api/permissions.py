"""What a key must carry. The default denies, so that a view without a declared permission answers nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from core.errors import ForbiddenError
from tenants.api.credential import Credential
from tenants.choices import Scope

if TYPE_CHECKING:
    # At run time `rest_framework.views` reads the settings that name this module.
    from rest_framework.views import APIView


class DenyAll(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return False


class HasScope(BasePermission):
    """The key carries the scope that the view names in `required_scope`; `admin` carries all."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller = request.auth
        if not isinstance(caller, Credential):
            return False
        needed: str = view.required_scope  # type: ignore[attr-defined]
        if needed in caller.scopes or Scope.ADMIN in caller.scopes:
            return True
        raise ForbiddenError(
            f"The key lacks the scope {needed}.",
            code="tenants.scope_missing",
            next_step=f"Create a key with the scope {needed}.",
        )
