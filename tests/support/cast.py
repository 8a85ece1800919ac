"""The fixed cast of the tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import uuid4

from audit.services import SYSTEM
from billing.services import prices as billing
from catalog.models import Provider, Server
from catalog.services import servers
from catalog.types import Inventory, Listing, ToolDeclaration
from tenants.choices import Role
from tenants.context import PLATFORM, platform_scope, viewer
from tenants.models import Membership, Tenant, User
from tenants.services import onboarding

PASSWORD = "correct horse battery"

PAYMENTS_TOOLS = [
    {
        "name": "list_invoices",
        "title": "List invoices",
        "description": "Lists invoices, newest first.",
        "inputSchema": {"type": "object", "properties": {"status": {"type": "string"}}},
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "refund_invoice",
        "title": "Refund an invoice",
        "description": "Pays an invoice back. Cannot be undone.",
        "inputSchema": {
            "type": "object",
            "properties": {"invoice_id": {"type": "string"}, "amount": {"type": "number"}},
            "required": ["invoice_id"],
        },
        "annotations": {"destructiveHint": True},
    },
]


@dataclass(frozen=True)
class Cast:
    acme: Tenant
    globex: Tenant
    initech: Tenant
    alice: User
    bob: User
    charlie: User
    diana: User
    olga: User
    payments: Server  # public, approved, priced, owned by initech
    vault: Server  # acme's own, not public

    @classmethod
    def load(cls) -> Cast:
        with platform_scope():
            tenants = {t.slug: t for t in Tenant.objects.filter(slug__in=["acme", "globex", "initech"])}
            names = ["alice", "bob", "charlie", "diana", "olga"]
            users = {n: User.objects.get(email=address(n)) for n in names}
            rows = Server.objects.select_related("current_version", "provider", "owner_tenant")
            return cls(**tenants, **users, payments=rows.get(slug="payments"), vault=rows.get(slug="vault"))


def cast_of_its_own() -> Cast:
    """The cast with another organisation for acme, and people of its own: for tests that commit what others would count."""
    tag, cast = uuid4().hex[:12], Cast.load()
    with platform_scope():
        alice, bob = (make_person(name.capitalize(), f"{name}-{tag}@own.example") for name in ("alice", "bob"))
        organisation = onboarding.create_organisation(name=f"Own {tag}", slug=f"own-{tag}", owner=alice)
        Membership.objects.create(tenant=organisation, user=bob, role=Role.MEMBER)
    return replace(cast, acme=organisation, alice=alice, bob=bob)


def address(name: str) -> str:
    home = {"alice": "acme", "bob": "acme", "charlie": "globex", "diana": "initech", "olga": "marketplace"}[name]
    return f"{name}@{home}.example"


def build_cast() -> None:
    """Commit the cast to the current database."""
    with viewer(PLATFORM):
        people = {
            name: make_person(name.capitalize(), address(name), operator=name == "olga")
            for name in ["alice", "bob", "charlie", "diana", "olga"]
        }
        acme = onboarding.create_organisation(name="Acme", slug="acme", owner=people["alice"])
        onboarding.create_organisation(name="Globex", slug="globex", owner=people["charlie"])
        initech = onboarding.create_organisation(name="Initech", slug="initech", owner=people["diana"])
        Membership.objects.create(tenant=acme, user=people["bob"], role=Role.MEMBER)
        payments = make_server(initech, "payments", "Payments", visibility="public", tools=PAYMENTS_TOOLS)
        billing.set_price(server=payments, rate=Decimal("0.02"), actor=SYSTEM)
        make_server(acme, "vault", "Vault", visibility="org", tools=[PAYMENTS_TOOLS[0]])


def make_person(name: str, email: str, *, operator: bool = False) -> User:
    from allauth.account.models import EmailAddress

    user = User.objects.create_user(email, PASSWORD, name=name, is_staff=operator, is_superuser=operator)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def make_server(
    tenant: Tenant,
    slug: str,
    name: str,
    *,
    visibility: str = "public",
    tools: list | None = None,
    url: str = "",
    **listing,
) -> Server:
    """A listed and approved server of an organisation. The caller has opened the platform's scope."""
    provider, _ = Provider.objects.get_or_create(tenant=tenant, defaults={"name": tenant.name, "slug": tenant.slug})
    definitions = PAYMENTS_TOOLS if tools is None else tools
    server = servers.register(
        provider=provider,
        listing=Listing(
            slug=slug,
            name=name,
            url=url or f"http://127.0.0.1:9/{slug}",
            category=listing.pop("category", "productivity"),
            summary=listing.pop("summary", f"{name} for tests."),
            visibility=visibility,
            tools={"refund_invoice": ToolDeclaration("high", "destructive")},
            **listing,
        ),
        inventory=Inventory(
            protocol="2026-07-28",
            server_info={"name": slug, "version": "1.0.0"},
            instructions="",
            capabilities={"tools": {}},
            tools=definitions,
        ),
        actor=SYSTEM,
    )
    return servers.approve(server=server, actor=SYSTEM)
