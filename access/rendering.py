"""The policy document of a server towards one organisation, with its own grants and sessions. Runs in its schema."""

from __future__ import annotations

from access import document, selectors
from access.document import About, Rendered
from catalog.models import Server
from core import clock
from tenants.models import Tenant


def render(tenant: Tenant, server: Server, namespace: str = "") -> Rendered:
    """What holds at this moment for callers of the organisation; grants and sessions of others are not in it."""
    tools = server.current_version.tools.all() if server.current_version else []
    auth_mode = "header" if server.identity_headers else server.auth_mode or "none"
    about = About(
        name=server.slug,
        namespace=namespace or tenant.slug,
        auth_mode=auth_mode,
        issuer_url="oauth" if auth_mode == "oauth" else "",
        descriptions={tool.name: tool.description for tool in tools},
    )
    return document.render(
        about,
        selectors.compile_policy(server).towards(own=server.owner_tenant_id == tenant.pk),
        [rule for rule in selectors.compile_rules() if rule.server_id == server.pk],
        [rule for rule in selectors.compile_sessions() if rule.server_id == server.pk],
        clock.now(),
    )
