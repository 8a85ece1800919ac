"""What the gateway needs to know before it can be measured: an organisation, a server, a key and a grant.

Run as a program with the environment of the product; prints one line of JSON. Everything is made by the services that the
pages use, so that the measured path has nothing special about it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

from bench import echo

if TYPE_CHECKING:
    from catalog.models import Server
    from tenants.models import Tenant

SLUG, AGENT = "bench", "bench-agent"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True, help="URL of the MCP server")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    import django  # noqa: PLC0415 - settings are read from here on

    django.setup()
    sys.stdout.write(json.dumps(_build(options.upstream)) + "\n")
    return 0


def _build(upstream_url: str) -> dict[str, str]:
    from access.services import grants  # noqa: PLC0415 - models exist only after setup
    from tenants.choices import Scope  # noqa: PLC0415
    from tenants.context import platform_scope, tenant_scope  # noqa: PLC0415
    from tenants.models import User  # noqa: PLC0415
    from tenants.services import api_keys, onboarding  # noqa: PLC0415

    with platform_scope():
        owner = User.objects.create_user("owner@bench.example", name="Bench")
        caller = onboarding.create_organisation(name="Bench caller", slug="bench-caller", owner=owner)
        provider = onboarding.create_organisation(name="Bench provider", slug="bench-provider", owner=owner)
        server = make_server(provider, upstream_url)
        issued = api_keys.issue(tenant=caller, name="bench", scopes=[Scope.INVOKE], actor=owner, agent=AGENT)
    with tenant_scope(caller):
        grants.give(tenant=caller, server=server, subject=grants.Subject.of("agent", AGENT), actor=owner)
        _limit(caller)
    return {"api_key": issued.text, "schema": caller.schema_name}


def _limit(tenant: Tenant) -> None:
    """Limits that every call is held against and none reaches: a rate and a quota of the organisation.

    The rate of the key and the cap of what may be spent are the platform's defaults, which the environment sets as high.
    """
    from access.limits import MAX_COUNT, LimitKind, LimitScope, Period  # noqa: PLC0415 - models exist only after setup
    from access.services import limits  # noqa: PLC0415

    for name, kind, period in (
        ("All calls", LimitKind.RATE, Period.MINUTE),
        ("Calls of a month", LimitKind.QUOTA, Period.MONTH),
    ):
        terms = limits.Terms(name, LimitScope.ORGANISATION, kind, Decimal(MAX_COUNT), period)
        limits.add(tenant=tenant, terms=terms, actor=None)


def make_server(provider_tenant: Tenant, url: str) -> Server:
    from audit.services import SYSTEM  # noqa: PLC0415 - models exist only after setup
    from billing.services import prices as billing  # noqa: PLC0415
    from catalog.models import Provider  # noqa: PLC0415
    from catalog.services import servers  # noqa: PLC0415
    from catalog.types import Inventory, Listing  # noqa: PLC0415

    provider = Provider.objects.create(tenant=provider_tenant, name="Bench", slug="bench")
    listing = Listing(slug=SLUG, name="Bench", url=url, category="productivity", visibility="public")
    inventory = Inventory(
        protocol=echo.MODERN,
        server_info={"name": SLUG, "version": "1.0.0"},
        instructions="",
        capabilities={"tools": {"listChanged": True}, "prompts": {"listChanged": True}},
        tools=[echo.TOOL],
    )
    server = servers.register(provider=provider, listing=listing, inventory=inventory, actor=SYSTEM)
    billing.set_price(server=server, rate=Decimal("0.02"), actor=SYSTEM)
    return servers.approve(server=server, actor=SYSTEM)


if __name__ == "__main__":
    sys.exit(main())
