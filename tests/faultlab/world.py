"""Organisations, servers, keys and grants for the laboratory, made by the services that the pages use.

Run as a program with the environment of the product; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from decimal import Decimal
from typing import Any

TOOLS = {"read": ("read", "low"), "stream": ("read", "low"), "write": ("write", "medium")}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, required=True)
    parser.add_argument("--server", action="append", required=True, help="name=URL")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    import django

    django.setup()
    sys.stdout.write(json.dumps(_build(options)) + "\n")
    return 0


def _build(options: argparse.Namespace) -> list[dict[str, str]]:
    from tenants.context import platform_scope
    from tenants.models import User
    from tenants.services import onboarding

    with platform_scope():
        owner = User.objects.create_user("owner@faultlab.example", name="Owner")
        provider = onboarding.create_organisation(name="Provider", slug="lab-provider", owner=owner)
        servers = [_server(provider, *each.split("=", 1)) for each in options.server]
        people = [User.objects.create_user(f"u{n}@faultlab.example", name="Lab") for n in range(options.tenants)]
    return [_tenant(number, person, servers) for number, person in enumerate(people)]


def _tenant(number: int, owner: Any, servers: list[Any]) -> dict[str, str]:
    from access.services import grants
    from tenants.choices import Scope
    from tenants.context import platform_scope, tenant_scope
    from tenants.services import api_keys, onboarding

    with platform_scope():
        tenant = onboarding.create_organisation(name=f"Lab {number}", slug=f"lab-{number}", owner=owner)
        issued = api_keys.issue(tenant=tenant, name="lab", scopes=[Scope.INVOKE], actor=owner, agent="lab")
    with tenant_scope(tenant):
        for server in servers:
            subject = grants.Subject.of("agent", "lab")
            effects = ["read", "write"]
            grants.give(
                tenant=tenant, server=server, subject=subject, actor=owner, max_trust="high", side_effects=effects
            )
    return {"tenant": tenant.slug, "schema": tenant.schema_name, "token": issued.text}


def _server(provider_tenant: Any, slug: str, url: str) -> Any:
    from audit.services import SYSTEM
    from billing.services import prices as billing
    from catalog.models import Provider
    from catalog.services import servers
    from catalog.types import Inventory, Listing, ToolDeclaration

    provider, _ = Provider.objects.get_or_create(tenant=provider_tenant, defaults={"name": "Lab", "slug": "lab"})
    listing = Listing(
        slug=slug,
        name=slug,
        url=url,
        category="productivity",
        visibility="public",
        tools={name: ToolDeclaration(trust, effect) for name, (effect, trust) in TOOLS.items()},
    )
    schema = {"type": "object", "properties": {"nonce": {"type": "string"}}}
    inventory = Inventory(
        protocol="2026-07-28",
        server_info={"name": slug, "version": "1.0.0"},
        instructions="",
        capabilities={"tools": {}},
        tools=[{"name": name, "description": name, "inputSchema": schema} for name in TOOLS],
    )
    server = servers.register(provider=provider, listing=listing, inventory=inventory, actor=SYSTEM)
    billing.set_price(server=server, rate=Decimal("0.01"), actor=SYSTEM)
    return servers.approve(server=server, actor=SYSTEM)


if __name__ == "__main__":
    sys.exit(main())
