"""What a first start shows: three organisations, an operator, two published servers, and a key that may call them.

Loading is safe to repeat: what is there stays as people left it, what is missing is added, and a server whose address changed
is moved. It goes through the same services as the pages, so that audit log, policy revisions and pushes are as in real use.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction

from access.services.connect import connect
from audit.services import Party
from billing.services import prices as billing
from catalog.choices import Status
from catalog.models import Provider, Server
from catalog.services import servers
from catalog.types import Inventory, Listing, ToolDeclaration
from core import clock, keys
from marketplace.supervisor.datafolder import read_env_file, write_env_file
from tenants.choices import Role, Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import APIKey, Membership, Tenant, User
from tenants.services import onboarding

ReadInventory = Callable[[str], Inventory]

PASSWORD_BYTES = 12
KEY_NAME = "Demo agent"


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    email: str
    part: str
    operator: bool = False


@dataclass(frozen=True, slots=True)
class Organisation:
    name: str
    owner: Person
    members: tuple[Person, ...] = ()

    @property
    def slug(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class DemoServer:
    listing: Listing
    price: Decimal | None = None


ALICE = Person("Alice", "alice@acme.example", "owner of acme")
BOB = Person("Bob", "bob@acme.example", "member of acme")
CHARLIE = Person("Charlie", "charlie@globex.example", "owner of globex")
DIANA = Person("Diana", "diana@initech.example", "owner of initech, the provider")
OLGA = Person("Olga", "olga@marketplace.example", "platform operator", operator=True)
PEOPLE = (ALICE, BOB, CHARLIE, DIANA, OLGA)
ACME = Organisation("Acme", ALICE, (BOB,))
INITECH = Organisation("Initech", DIANA)
ORGANISATIONS = (ACME, Organisation("Globex", CHARLIE), INITECH)

_READ = ToolDeclaration("low", "read")
SERVERS = {
    "payments": DemoServer(
        Listing(
            slug="payments",
            name="Payments",
            url="",
            category="productivity",
            tags=("invoices", "finance", "demo"),
            visibility="public",
            summary="List the invoices of a small company, and pay them back.",
            description=(
                "Reads are open to every grant with low trust. A refund moves money and cannot be undone, so it needs a "
                "grant that allows destructive calls with high trust."
            ),
            tools={"list_invoices": _READ, "refund_invoice": ToolDeclaration("high", "destructive")},
        ),
        price=Decimal("0.02"),
    ),
    "text": DemoServer(
        Listing(
            slug="text",
            name="Text tools",
            url="",
            category="development",
            tags=("text", "slug", "demo"),
            visibility="public",
            summary="Count words, make slugs and measure paragraphs.",
            description="Every tool only reads what it is given; nothing is stored. Measuring reports its progress.",
            tools={"count_words": _READ, "slugify": _READ, "summarise_lengths": _READ},
        )
    ),
}


@dataclass(slots=True)
class Loaded:
    """What a load changed, in words, and the environment file that it wrote."""

    env_file: Path
    changes: list[str] = field(default_factory=list)


def load(*, folder: Path, urls: Mapping[str, str], password: str, read: ReadInventory) -> Loaded:
    """Make sure that the demo stands and that `demo.env` in the folder opens it. `urls` names the servers' addresses.

    An empty password keeps the one of an earlier load, or makes one. Raises UpstreamError when a server cannot be read.
    """
    loaded = Loaded(folder / "demo.env")
    known = read_env_file(loaded.env_file) if loaded.env_file.exists() else {}
    password = password or known.get("MARKETPLACE_DEMO_PASSWORD") or secrets.token_urlsafe(PASSWORD_BYTES)
    people = {p.email: _person(p, password, reset=password != known.get("MARKETPLACE_DEMO_PASSWORD")) for p in PEOPLE}
    tenants = {organisation.slug: _organisation(organisation, people, loaded) for organisation in ORGANISATIONS}
    listed = [_server(tenants["initech"], people, SERVERS[name], url, read, loaded) for name, url in urls.items()]
    key = _key(tenants["acme"], people[ALICE.email], known.get("MARKETPLACE_API_KEY", ""), listed, loaded)
    values = {
        "MARKETPLACE_URL": settings.PUBLIC_URL,
        "MARKETPLACE_API_KEY": key,
        "MARKETPLACE_ORG": ACME.slug,
        "MARKETPLACE_DEMO_PASSWORD": password,
        "MARKETPLACE_DEMO_LOGINS": ",".join(f"{p.email} ({p.part.replace(',', ';')})" for p in PEOPLE),
    }
    if values != known:
        # Quoted, so that a shell can read the file too.
        write_env_file(loaded.env_file, values)
    return loaded


def _person(person: Person, password: str, *, reset: bool) -> User:
    user = User.objects.filter(email=person.email).first()
    if user is None:
        user = User.objects.create_user(
            person.email, password, name=person.name, is_staff=person.operator, is_superuser=person.operator
        )
    elif reset and not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password", "updated_at"])
    EmailAddress.objects.get_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    return user


def _organisation(organisation: Organisation, people: Mapping[str, User], loaded: Loaded) -> Tenant:
    tenant = Tenant.objects.filter(slug=organisation.slug).first()
    if tenant is None:
        owner = people[organisation.owner.email]
        with transaction.atomic():
            tenant = onboarding.create_organisation(name=organisation.name, slug=organisation.slug, owner=owner)
            for member in organisation.members:
                Membership.objects.create(tenant=tenant, user=people[member.email], role=Role.MEMBER)
        loaded.changes.append(f"made the organisation {organisation.slug}")
    return tenant


def _server(
    tenant: Tenant, people: Mapping[str, User], demo: DemoServer, url: str, read: ReadInventory, loaded: Loaded
) -> Server:
    with tenant_scope(tenant):
        server = Server.objects.filter(owner_tenant=tenant, slug=demo.listing.slug).first()
    if server is None:
        server = _publish(tenant, people[DIANA.email], demo, url, read(url))
        loaded.changes.append(f"published the server {server.slug}")
    elif server.url != url:
        inventory = read(url)
        with tenant_scope(tenant):
            server.url = url
            server.save(update_fields=["url", "updated_at"])
            servers.publish_version(server=server, inventory=inventory)
        loaded.changes.append(f"moved the server {server.slug}")
    if server.status == Status.SUBMITTED:
        with platform_scope():
            server = servers.approve(server=server, actor=_party(people[OLGA.email]))
    return server


def _publish(tenant: Tenant, owner: User, demo: DemoServer, url: str, inventory: Inventory) -> Server:
    """List and price the server as its provider does."""
    actor = _party(owner)
    with tenant_scope(tenant), transaction.atomic():
        provider, _ = Provider.objects.get_or_create(
            tenant=tenant,
            defaults={"name": tenant.name, "slug": tenant.slug, "verified_at": clock.now()},
        )
        server = servers.register(
            provider=provider, listing=replace(demo.listing, url=url), inventory=inventory, actor=actor
        )
        if demo.price is not None:
            billing.set_price(server=server, rate=demo.price, actor=actor)
    return server


def _key(tenant: Tenant, owner: User, text: str, listed: list[Server], loaded: Loaded) -> str:
    """The text of a working key: the given one when it still opens acme, otherwise another."""
    parts = keys.parse(text)
    if parts is not None:
        key = APIKey.objects.filter(tenant=tenant, key_id=parts.key_id).first()
        if key and key.state == "active" and keys.matches(parts.secret, settings.KEY_PEPPER, bytes(key.secret_digest)):
            return text
    with tenant_scope(tenant):
        issued = connect(
            tenant=tenant,
            name=KEY_NAME,
            scopes=[Scope.INVOKE, Scope.CATALOG_READ],
            servers=listed,
            actor=owner,
            agent="demo-agent",
            only_these_servers=False,
        )
    loaded.changes.append("issued an API key of acme with grants for the demo servers")
    return issued.text


def _party(user: User) -> Party:
    return Party("user", str(user.pk), user.email)
