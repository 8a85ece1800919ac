"""An organisation publishes a server of its own from a description: it is read live, and waits for an operator's approval.

What is described is what calls are held against: declared trust and side effects, policy and sessions. What the server itself
says decides which tools there are. One that was approved keeps its address and its approved tools whatever is described later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from audit import services as audit
from catalog import inventory
from catalog.choices import AuthMode, Origin, PolicyMode, Status, Visibility
from catalog.formats.normal import Entry
from catalog.models import Provider, Server
from catalog.policies import PolicySettings
from catalog.selectors.listing import find_server
from catalog.services import policies, servers
from catalog.types import Inventory, Listing, ToolDeclaration, Viewer
from core.errors import ConflictError, InvalidError, LimitReachedError, NotFoundError, UpstreamError
from notifications import services as notifications
from notifications.models import Notification
from tenants.context import platform_scope
from tenants.models import Team, Tenant, User

SUBMITTED = "catalog.server_submitted"
_BOUNDS = inventory.Bounds(seconds=20.0)
_ACTIVE = (Status.DRAFT, Status.SUBMITTED, Status.APPROVED)
_WAITING = (Status.DRAFT, Status.SUBMITTED, Status.REMOVED)
_SLUG_MAX = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is published. `address` is where the server answers; a server of a team is seen by that team alone."""

    organisation: Tenant
    entry: Entry
    address: str
    team: Team | None = None
    category: str = ""
    is_update: bool = False
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def declarations(self) -> dict[str, ToolDeclaration]:
        return {tool.name: ToolDeclaration(tool.required_trust, tool.side_effect) for tool in self.entry.tools}

    @property
    def mode(self) -> str:
        policy = self.spec.get("policy")
        mode = policy.get("mode") if isinstance(policy, Mapping) else ""
        return mode if mode in PolicyMode.values else PolicyMode.ALLOW_LIST


def active_of(organisation: Tenant) -> QuerySet[Server]:
    """The servers that the organisation has published itself and that count against its limit."""
    return Server.objects.filter(owner_tenant=organisation, origin=Origin.PUBLISHED, status__in=_ACTIVE)


def publish(*, wanted: Wanted, actor: audit.Party) -> Server:
    """Register the server or, with `is_update`, have it described anew.

    Raises InvalidError with the field for a bad description or an address that does not answer as a server does, ConflictError
    for a name that is taken or a change that an approval stands against, LimitReachedError for too many servers.
    """
    own = Server.objects.filter(owner_tenant=wanted.organisation, slug=wanted.entry.name).first()
    _check(wanted, own)
    found = _read(wanted.address) if own is None or own.status in _WAITING else None
    with transaction.atomic():
        if own is None:
            return _register(wanted, _inventory(found), actor)
        server = Server.objects.select_for_update(of=("self",)).get(pk=own.pk)
        if server.status != own.status:
            raise ConflictError("The server has changed meanwhile.", next_step="Send it again.")
        if found is not None:
            _submit_again(server, wanted, found)
            _tell_operators(server)
        return _describe(server, wanted, actor)


def withdraw(*, server: Server, organisation: Tenant, actor: audit.Party) -> Server:
    """Take an own server out of the catalog; calls are refused within a second. Its calls and invoices stay.

    Raises NotFoundError for a server of others, ConflictError for one that other organisations may be calling.
    """
    with transaction.atomic():
        rows = Server.objects.select_for_update(of=("self",)).filter(pk=server.pk, owner_tenant=organisation)
        row = rows.exclude(status=Status.REMOVED).first()
        if row is None:
            raise NotFoundError("server not found", next_step="List the servers and use one of their names.")
        if row.origin != Origin.PUBLISHED or (row.visibility == Visibility.PUBLIC and row.status != Status.SUBMITTED):
            raise ConflictError(
                "Other organisations may be calling this server.",
                code="catalog.withdraw_public",
                next_step="Close it to calls on its settings page, or ask an operator to take it out of the catalog.",
            )
        row.status = Status.REMOVED
        row.save(update_fields=["status", "updated_at"])
        audit.record("catalog:server:withdrawn", actor=actor, target=servers.party(row))
        servers.touch(row)
    return row


def _check(wanted: Wanted, own: Server | None) -> None:
    organisation, name = wanted.organisation, wanted.entry.name
    if len(name) > _SLUG_MAX:
        raise InvalidError(
            f"A name has at most {_SLUG_MAX} characters here.", code="catalog.listing_invalid", field="name"
        )
    if own is not None and own.status != Status.REMOVED:
        _check_update(wanted, own)
        return
    if find_server(Viewer(organisation.pk), name) is not None:
        # A name in public stays whose it is: an own server of that name would be called in its place.
        raise _taken(name, "Choose another name.")
    if active_of(organisation).count() >= settings.PUBLISH_SERVERS_MAX:
        raise LimitReachedError(
            "active server limit reached",
            code="catalog.publish_limit",
            next_step=f"Withdraw one of the {settings.PUBLISH_SERVERS_MAX}, or ask an operator for more.",
        )


def _check_update(wanted: Wanted, own: Server) -> None:
    if not wanted.is_update:
        raise _taken(own.slug, "To describe it anew, send update: true.")
    if own.status not in _WAITING and wanted.address != own.url:
        raise ConflictError(
            "An approved server keeps its address.",
            code="catalog.publish_address",
            next_step="Publish the other address under another name, or ask an operator.",
            field="spec.gateway.upstreamURL",
        )


def _taken(name: str, next_step: str) -> ConflictError:
    return ConflictError(
        f"server {name!r} already exists", code="catalog.slug_taken", next_step=next_step, field="name"
    )


def _read(address: str) -> Inventory:
    try:
        return inventory.read(address, bounds=_BOUNDS)
    except (InvalidError, UpstreamError) as error:
        raise InvalidError(
            f"The server could not be read: {error.message}",
            code="catalog.publish_unreadable",
            next_step=error.next_step,
            field="spec.gateway.upstreamURL",
        ) from error


def _inventory(found: Inventory | None) -> Inventory:
    assert found is not None  # whatever is not approved is read
    return found


def _register(wanted: Wanted, found: Inventory, actor: audit.Party) -> Server:
    organisation, entry = wanted.organisation, wanted.entry
    provider, _ = Provider.objects.get_or_create(
        tenant=organisation, defaults={"name": organisation.name, "slug": organisation.slug}
    )
    server = servers.register(
        provider=provider,
        listing=Listing(
            slug=entry.name,
            name=entry.title or entry.name,
            url=wanted.address,
            category=wanted.category,
            summary=_summary(entry),
            description=entry.description,
            visibility=Visibility.TENANT if wanted.team else Visibility.ORG,
            auth_mode=entry.auth_mode if entry.auth_mode in AuthMode.values else AuthMode.NONE,
            policy_mode=wanted.mode,
            tools=wanted.declarations,
        ),
        inventory=found,
        actor=actor,
        makes_room=False,
    )
    if wanted.team is not None:
        server.owner_team = wanted.team
        server.save(update_fields=["owner_team", "updated_at"])
    _tell_operators(server)
    return _describe(server, wanted, actor)


def _submit_again(server: Server, wanted: Wanted, found: Inventory) -> None:
    """Nobody has approved it yet: it is what it is now."""
    server.status, server.url = Status.SUBMITTED, wanted.address
    server.save(update_fields=["status", "url", "updated_at"])
    servers.publish_version(server=server, inventory=found, declarations=wanted.declarations)


def _tell_operators(server: Server) -> None:
    """That it waits for them; who has not read so yet is not told again."""
    title = f"{server.name} waits for approval"
    url = reverse("admin:catalog_server_change", args=[server.pk])
    with platform_scope():
        people = User.objects.filter(is_staff=True, is_active=True)
        told = Notification.objects.filter(kind=SUBMITTED, url=url, read_at=None).values_list("recipient_id", flat=True)
        for person in people.exclude(pk__in=[each for each in told if each]):
            notifications.notify(
                kind=SUBMITTED,
                title=title,
                body="An organisation has published it. Nobody can call it until an operator approves it.",
                url=url,
                recipient_id=person.pk,
                email=person.email,
            )


def _describe(server: Server, wanted: Wanted, actor: audit.Party) -> Server:
    server.description, server.summary = wanted.entry.description, _summary(wanted.entry)
    server.save(update_fields=["description", "summary", "updated_at"])
    policies.change(
        server_id=server.pk,
        owner_id=wanted.organisation.pk,
        policy=policies.Policy(wanted.mode, PolicySettings.of_manifest(wanted.spec), server.identity_headers),
        actor=actor,
    )
    server.refresh_from_db()
    return server


def _summary(entry: Entry) -> str:
    return entry.description.strip().partition("\n")[0][:300]
