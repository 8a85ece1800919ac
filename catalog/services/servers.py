"""Registering servers, reading what they offer, approving them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from audit import services as audit
from catalog import digests, signals
from catalog.choices import Badge, DriftEnd, Health, PolicyMode, SideEffect, Status, TrustLevel
from catalog.models import Provider, Server, ServerVersion, Tool, ToolDrift
from catalog.policies import PolicySettings
from catalog.services import shelving
from catalog.types import Inventory, Listing, ToolDeclaration
from core import clock
from core.errors import ConflictError, InvalidError
from core.ids import uuid7
from core.jobs import on_commit
from tenants.services import revisions

GATEWAY_OPENED, GATEWAY_CLOSED = "catalog:server:gateway_opened", "catalog:server:gateway_closed"


def register(
    *, provider: Provider, listing: Listing, inventory: Inventory, actor: audit.Party, makes_room: bool = True
) -> Server:
    """List a server with what it was found to offer; it is submitted for approval.

    `makes_room` has an entry that is only listed give up the name. Raises InvalidError for a bad field, ConflictError when the
    name is taken.
    """
    server = Server(
        owner_tenant=provider.tenant,
        provider=provider,
        slug=listing.slug,
        name=listing.name,
        url=listing.url,
        summary=listing.summary,
        description=listing.description,
        category=listing.category,
        tags=list(listing.tags),
        visibility=listing.visibility,
        status=Status.SUBMITTED,
        auth_mode=listing.auth_mode,
        required_trust=listing.required_trust,
        policy_mode=listing.policy_mode,
    )
    try:
        server.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidError(messages[0], code="catalog.listing_invalid", field=field) from error
    try:
        with transaction.atomic():
            if makes_room:
                shelving.make_room(listing.slug, provider.tenant_id)
            server.save()
            publish_version(server=server, inventory=inventory, declarations=listing.tools)
            audit.record("catalog:server:registered", actor=actor, target=party(server), data={"url": server.url})
    except IntegrityError as error:
        if "slug" not in str(error):
            raise
        raise ConflictError(
            f"The name {listing.slug!r} is taken.", code="catalog.slug_taken", next_step="Choose another.", field="slug"
        ) from error
    return server


def publish_version(
    *, server: Server, inventory: Inventory, declarations: dict[str, ToolDeclaration] | None = None
) -> ServerVersion:
    """Store what the server offers as an immutable version and make it current. The same inventory makes no second one."""
    declarations = declarations if declarations is not None else _declared(server, inventory)
    digest = digests.of_json([digests.of_tool(tool) for tool in inventory.tools])
    label = str(inventory.server_info.get("version") or "0")[:100]
    with transaction.atomic():
        version = ServerVersion.objects.filter(server=server, version=label, inventory_digest=digest).first()
        if version is None:
            version = ServerVersion.objects.create(
                id=uuid7(),
                server=server,
                version=label,
                protocol=inventory.protocol,
                server_info=inventory.server_info,
                instructions=inventory.instructions,
                capabilities=inventory.capabilities,
                inventory_digest=digest,
                tool_count=len(inventory.tools),
                resource_count=inventory.resource_count,
                prompt_count=inventory.prompt_count,
                released_at=clock.now(),
                created_at=clock.now(),
            )
            Tool.objects.bulk_create(
                _tool(version, position, definition, declarations.get(definition["name"]))
                for position, definition in enumerate(inventory.tools)
            )
        make_current(server, version)
        server.save(update_fields=[*CURRENT_FIELDS, "updated_at"])
        record_health(server=server, health=Health.READY)
        _close_replaced_drifts(server)
        touch(server)
    return version


CURRENT_FIELDS = (
    "current_version",
    "tool_count",
    "resource_count",
    "prompt_count",
    "has_tasks",
    "content_updated_at",
)


def make_current(server: Server, version: ServerVersion) -> None:
    """Let a version be the one that is shown and called, with its counts on the server. The caller saves `CURRENT_FIELDS`."""
    if server.current_version_id != version.pk:
        server.current_version, server.content_updated_at = version, clock.now()
    server.tool_count, server.resource_count = version.tool_count, version.resource_count
    server.prompt_count, server.has_tasks = version.prompt_count, "tasks" in version.capabilities
    ServerVersion.objects.filter(server=server, is_latest=True).exclude(pk=version.pk).update(is_latest=False)
    ServerVersion.objects.filter(pk=version.pk, is_latest=False).update(is_latest=True)
    version.is_latest = True


def approve(*, server: Server, actor: audit.Party, badge: str = Badge.APPROVED) -> Server:
    """Open a submitted server to those who may see it. Raises ConflictError when it is not waiting for approval."""
    with transaction.atomic():
        locked = Server.objects.select_for_update().get(pk=server.pk)
        if locked.status != Status.SUBMITTED:
            raise ConflictError(f"The server is {locked.status}, not submitted.", code="catalog.not_submitted")
        if locked.current_version is None or not locked.current_version.protocol:
            raise ConflictError("Nothing was read from the server yet.", code="catalog.no_version")
        locked.status, locked.badge, locked.approved_at = Status.APPROVED, badge, clock.now()
        locked.published_at = locked.published_at or locked.approved_at
        locked.save(update_fields=["status", "badge", "approved_at", "published_at", "updated_at"])
        audit.record("catalog:server:approved", actor=actor, target=party(locked), data={"badge": badge})
        touch(locked)
    return locked


def open_gateway(*, server: Server, is_open: bool, actor: audit.Party) -> Server:
    """Let calls through to a server, or stop all of them at once, whoever holds grants. Gateways follow within a second."""
    with transaction.atomic():
        locked = Server.objects.select_for_update().get(pk=server.pk)
        if locked.gateway_enabled != is_open:
            locked.gateway_enabled = is_open
            locked.save(update_fields=["gateway_enabled", "updated_at"])
            audit.record(GATEWAY_OPENED if is_open else GATEWAY_CLOSED, actor=actor, target=party(locked))
            touch(locked)
    return locked


def record_health(*, server: Server, health: str, detail: str = "") -> None:
    """Store what was found of one server just now. Rounds of checks store many at once (`catalog.health.rounds`)."""
    now = clock.now()
    if server.health != health or server.health_since is None:
        server.health_since = now
    server.health, server.health_checked_at, server.health_detail = health, now, detail[:300]
    server.save(update_fields=["health", "health_since", "health_checked_at", "health_detail"])


def touch(server: Server) -> int:
    """Mark that what gateways know of the server changed, and announce it after the commit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE public.catalog_server SET revision = nextval('public.marketplace_revision') WHERE id = %s RETURNING revision",
            [server.pk],
        )
        row = cursor.fetchone()
    revision = int(row[0]) if row else 0
    server.revision = revision
    on_commit(lambda: signals.server_changed.send_robust(sender=Server, server_id=server.pk, revision=revision))
    is_open = server.policy_mode == PolicyMode.OBSERVE or PolicySettings.of(server).default_decision == "allow"
    if is_open and server.owner_tenant_id is not None:
        # Which servers its agents may use without a grant is part of what gateways know of the owner.
        revisions.touch(server.owner_tenant_id)
    return revision


def _close_replaced_drifts(server: Server) -> None:
    """End quarantines that were about a definition which is not the approved one any more."""
    approved = dict(Tool.objects.filter(version_id=server.current_version_id).values_list("name", "definition_digest"))
    for drift in ToolDrift.objects.filter(server=server, closed_at=None):
        if approved.get(drift.tool_name) != drift.approved_digest:
            drift.closed_at, drift.closed_as = clock.now(), DriftEnd.REPLACED
            drift.save(update_fields=["closed_at", "closed_as"])


def suggested(definition: dict[str, Any]) -> ToolDeclaration:
    """What a tool counts as when nobody declares anything: its own hints, and the trust that goes with them."""
    effect = _hinted_side_effect(definition)
    return ToolDeclaration(_trust_for(effect), effect)


def declared(side_effect: str) -> ToolDeclaration:
    """A declaration of what a tool does, with the trust that goes with it. Raises ValueError for no side effect."""
    return ToolDeclaration(_trust_for(side_effect), SideEffect(side_effect).value)


def _tool(version: ServerVersion, position: int, definition: dict[str, Any], declared: ToolDeclaration | None) -> Tool:
    declared = declared or ToolDeclaration()
    effect = declared.side_effect or _hinted_side_effect(definition)
    return Tool(
        id=uuid7(),
        version=version,
        position=position,
        name=definition["name"][:128],
        title=str(definition.get("title") or (definition.get("annotations") or {}).get("title") or "")[:200],
        description=str(definition.get("description") or ""),
        definition=definition,
        definition_digest=digests.of_tool(definition),
        required_trust=declared.required_trust or _trust_for(effect),
        side_effect=effect,
    )


def _hinted_side_effect(definition: dict[str, Any]) -> str:
    """What the server's annotations say; the specification's defaults apply, so silence counts as destructive."""
    hints = definition.get("annotations") or {}
    if hints.get("readOnlyHint") is True:
        return SideEffect.READ
    if hints.get("destructiveHint") is False:
        return SideEffect.WRITE
    return SideEffect.DESTRUCTIVE


def _trust_for(side_effect: str) -> str:
    return {SideEffect.READ: TrustLevel.LOW, SideEffect.WRITE: TrustLevel.MEDIUM}.get(
        SideEffect(side_effect), TrustLevel.HIGH
    )


def _declared(server: Server, inventory: Inventory) -> dict[str, ToolDeclaration]:
    """What the current version's tools carry on into the next.

    A tool whose definition did not change keeps what was declared. Of one that changed the stricter holds, of what was declared
    and of what the server hints at now: neither an old word nor a new one may make it look more harmless than the other.
    """
    if server.current_version is None:
        return {}
    offered = {tool["name"]: tool for tool in inventory.tools}
    return {
        tool.name: _carried(tool, offered[tool.name])
        for tool in server.current_version.tools.all()
        if tool.name in offered
    }


def _carried(tool: Tool, definition: dict[str, Any]) -> ToolDeclaration:
    effect, trust = tool.side_effect, tool.required_trust
    if effect and digests.of_tool(definition) != tool.definition_digest:
        hinted = _hinted_side_effect(definition)
        effect = max(effect, hinted, key=SideEffect.values.index)
        trust = max(trust, _trust_for(hinted), key=TrustLevel.values.index)
    return ToolDeclaration(trust, effect)


def party(server: Server) -> audit.Party:
    """A server as the audit log names it."""
    return audit.Party("server", str(server.pk), server.name)
