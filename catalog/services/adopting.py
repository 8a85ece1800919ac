"""Governing what was only listed: an operator reads a listed server live, reviews its tools and gives it to a provider.

The listing's row becomes the governed server, so that its page, its sources and what people saved of it stay. It is published and
approved by the services that every server passes. What a source says of it later is told, and changes nothing that the approval
rests on (`catalog.services.shelving`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse

from audit import services as audit
from catalog import digests, inventory
from catalog.choices import AuthMode, Badge, Origin, PolicyMode, SideEffect, Status, Transport, TrustLevel, Visibility
from catalog.models import Provider, Server, SourceEntry
from catalog.policies import PolicySettings, duration_of
from catalog.services import importing, servers, shelving
from catalog.types import Inventory, ToolDeclaration
from core.errors import ConflictError, InvalidError, NotFoundError
from notifications import services as notifications
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant
from tenants.selectors.people import holders

KIND = "catalog.server_adopted"
_BOUNDS = inventory.Bounds(seconds=20.0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an operator decides. `effects` by the tool's name; a tool that is missing counts as what it hints at.

    `digest` names the reading that was reviewed (`digest_of`).
    """

    organisation: Tenant
    slug: str
    digest: str
    required_trust: str = TrustLevel.LOW
    auth_mode: str = AuthMode.NONE
    effects: Mapping[str, str] = field(default_factory=dict)


def find_listed(server_id: UUID) -> Server:
    """A listing of the shared catalog that can be governed. Raises NotFoundError, and ConflictError saying why it cannot."""
    with platform_scope():
        server = Server.objects.filter(pk=server_id, visibility=Visibility.PUBLIC, origin=Origin.IMPORTED).first()
    return _checked(server)


def is_governable(server: Server) -> bool:
    """Whether an operator can make the listing a governed server."""
    return (
        server.status == Status.LISTED
        and server.owner_tenant_id is None
        and server.visibility == Visibility.PUBLIC
        and bool(server.url)
    )


def look(server: Server) -> Inventory:
    """What the server offers at this moment. Raises what `inventory.read` raises."""
    return inventory.read(server.url, bounds=_BOUNDS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What descriptions of a listed server say about its policy: what is taken, and what is left to its owner, in words.

    Whoever wrote them is a stranger to those who will call: they may ask for more care than usual and never for less.
    """

    settings: PolicySettings
    taken: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def policy_of(server: Server) -> Asked:
    """Of every source that lists it with a policy, the strictest of each part."""
    settings, left = PolicySettings(), dict[str, None]()
    with platform_scope():
        rows = SourceEntry.objects.filter(server=server, is_latest=True).order_by(
            "source_priority", "-pk"
        )  # names of the last one hold
        specs = [spec for spec in rows.values_list("manifest__extra__spec", flat=True) if isinstance(spec, Mapping)]
    for spec in specs:
        asked = PolicySettings.of_manifest(spec)
        settings = settings.tightened(asked)
        block = spec.get("policy")
        mode = block.get("mode") if isinstance(block, Mapping) else None
        for is_looser, words in (
            (mode == PolicyMode.OBSERVE, "policy.mode: observe"),
            (asked.default_decision != "deny", "policy.defaultDecision: allow"),
        ):
            if is_looser:
                left[words] = None
    kept, usual = asdict(settings), asdict(PolicySettings())
    taken = tuple(f"{_NAMES[name]}: {_words(kept[name])}" for name in _NAMES if kept[name] != usual[name])
    return Asked(settings, taken, tuple(left))


# How the settings are called in MCP Runtime's descriptions.
_NAMES = {
    "policy_version": "policy.policyVersion",
    "session_required": "session.required",
    "session_header": "session.headerName",
    "session_max_lifetime_s": "session.maxLifetime",
    "session_idle_timeout_s": "session.idleTimeout",
}


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return duration_of(value) if isinstance(value, int) else str(value)


def digest_of(found: Inventory) -> str:
    """A name for what was read of the tools, to recognise it when it is read once more."""
    return digests.of_json([digests.of_tool(tool) for tool in found.tools])


def adopt(*, server_id: UUID, terms: Terms, actor: audit.Party) -> Server:
    """Make a listed server an approved one of an organisation; gateways follow within a second.

    It is read once more: what was reviewed and what is approved are the same, or ConflictError asks to look again. Raises
    InvalidError with the field for a bad choice, ConflictError for a name that is taken or a server that is governed already.
    """
    listed = find_listed(server_id)
    _check(terms)
    found = look(listed)
    if digest_of(found) != terms.digest:
        raise ConflictError(
            "The server offers other tools than a moment ago.",
            code="catalog.adopt_changed",
            next_step="Read them once more, then decide.",
        )
    try:
        with platform_scope(), transaction.atomic():
            importing.lock()
            server = _take_over(listed, terms)
            declarations = {tool["name"]: _declaration(tool, terms) for tool in found.tools}
            _record(server, terms, declarations, actor)
            servers.publish_version(server=server, inventory=found, declarations=declarations)
            server = servers.approve(server=server, actor=actor, badge=Badge.APPROVED)
    except IntegrityError as error:
        if not any(name in str(error) for name in ("server_slug_unique", "server_registry_name_unique")):
            raise
        raise ConflictError(
            f"{terms.organisation.name}, or somebody else in public, has a server of this name.",
            code="catalog.slug_taken",
            next_step="Choose another name in paths.",
            field="slug",
        ) from error
    return server


def _checked(server: Server | None) -> Server:
    if server is None or server.status == Status.REMOVED:
        raise NotFoundError("There is no such listing in the shared catalog.")
    if server.status != Status.LISTED or server.owner_tenant_id is not None:
        raise ConflictError("Somebody governs this server already.", code="catalog.adopt_governed")
    if not server.url:
        raise ConflictError(
            "This listing names no address that could be asked.",
            code="catalog.adopt_no_address",
            next_step="Only servers that answer at an address of their own can be governed.",
        )
    return server


def _check(terms: Terms) -> None:
    for name, choices in (("required_trust", TrustLevel), ("auth_mode", AuthMode)):
        if getattr(terms, name) not in choices.values:
            raise InvalidError("Choose one of these.", code="catalog.adopt_choice", field=name)
    if any(effect not in SideEffect.values for effect in terms.effects.values()):
        raise InvalidError("Choose what each tool may do.", code="catalog.adopt_choice")
    if terms.organisation.suspended_at is not None:
        raise InvalidError("This organisation is suspended.", code="catalog.adopt_choice", field="organisation")


def _take_over(listed: Server, terms: Terms) -> Server:
    """The row as the organisation's submitted server, under a lock and as it is now."""
    server = _checked(Server.objects.select_for_update(of=("self",)).filter(pk=listed.pk).first())
    if server.url != listed.url:
        raise ConflictError(
            "Its address has changed since.", code="catalog.adopt_changed", next_step="Read it once more, then decide."
        )
    provider, _ = Provider.objects.get_or_create(
        tenant=terms.organisation, defaults={"name": terms.organisation.name, "slug": terms.organisation.slug}
    )
    if terms.slug != server.slug:
        shelving.make_room(terms.slug, terms.organisation.pk)
    server.owner_tenant, server.provider, server.slug = terms.organisation, provider, terms.slug
    server.status, server.policy_mode = Status.SUBMITTED, PolicyMode.ALLOW_LIST
    server.policy_settings = policy_of(server).settings.to_json()
    server.required_trust, server.auth_mode = terms.required_trust, terms.auth_mode
    server.gateway_enabled = True
    if server.transport == Transport.STDIO:
        # Said of its packages; what was read answers at an address.
        server.transport = Transport.STREAMABLE_HTTP
    try:
        # Only what was chosen here: texts of a source need not be as ours are.
        server.clean_fields(exclude={each.name for each in Server._meta.fields} - {"slug"})
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise InvalidError(messages[0], code="catalog.listing_invalid", field=name) from error
    server.save()
    return server


def _declaration(tool: Mapping[str, object], terms: Terms) -> ToolDeclaration:
    chosen = terms.effects.get(str(tool["name"]))
    return servers.declared(chosen) if chosen else servers.suggested(dict(tool))


def _record(server: Server, terms: Terms, declarations: Mapping[str, ToolDeclaration], actor: audit.Party) -> None:
    """Both sides keep the fact: the platform what its operators did, the organisation what is governed in its name."""
    data = {
        "organisation": terms.organisation.slug,
        "url": server.url,
        "source": server.source_name,
        "registry_name": server.registry_name,
        "digest": terms.digest,
        "policy": server.policy_settings,
        "effects": {name: each.side_effect for name, each in list(declarations.items())[:100]},
    }
    people = holders(terms.organisation, Right.PUBLISH)
    with tenant_scope(terms.organisation):
        audit.record("catalog:server:adopted", actor=actor, target=servers.party(server), data=data)
        for person in people:
            notifications.notify(
                kind=KIND,
                title=f"{server.name} is published as a server of {terms.organisation.name}",
                body="An operator of the platform has read it, reviewed its tools and approved it. You say how it is served.",
                url=reverse("org:server-settings", args=[terms.organisation.slug, server.slug]),
                recipient_id=person.pk,
                email=person.email,
            )
    audit.record("catalog:server:adopted", actor=actor, target=servers.party(server), data=data)
