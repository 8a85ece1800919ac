"""How the published OpenAPI document describes the credential."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class APIKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers by its existence
    target_class = "tenants.api.authentication.APIKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "mk_<env>_<id>_<secret>_<check>"}
