"""Quarantine: a tool whose definition changed after approval is closed, that tool only, until somebody approves the change.

What a model reads of a tool decides what it does with it, so a definition that changes behind an approval is treated as an attack
until a person has read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import services as audit
from catalog import digests, signals
from catalog.choices import DriftEnd, Status
from catalog.models import Server, Tool, ToolDrift
from catalog.services import servers
from catalog.types import Inventory
from core import clock
from core.errors import ConflictError
from core.ids import uuid7
from core.jobs import enqueue, on_commit

GATEWAY = audit.Party("system", "catalog", "Comparison of definitions")


def compare(*, server_id: UUID, tools: Mapping[str, dict[str, Any]], found_by: str) -> list[str]:
    """Hold what a server offers against what was approved; the names of tools that went into quarantine.

    Tools that were never approved, and approved ones that are not offered, are no concern here: neither can be called.
    """
    with transaction.atomic():
        server = Server.objects.select_for_update().filter(pk=server_id).exclude(status=Status.REMOVED).first()
        if server is None or server.current_version_id is None:
            return []
        approved = dict(
            Tool.objects.filter(version_id=server.current_version_id).values_list("name", "definition_digest")
        )
        found = {name: (digests.of_tool(tool), _storable(tool)) for name, tool in tools.items() if name in approved}
        changed = {name: each for name, each in found.items() if each[0] != approved[name]}
        returned = _close_returned(server, found.keys() - changed.keys())
        fresh = [
            name
            for name, (digest, tool) in changed.items()
            if _open(server, name, approved[name], digest, tool, found_by)
        ]
        if fresh or returned:
            servers.touch(server)
        if fresh:
            _announce(server, sorted(fresh))
        return sorted(fresh)


def approve(*, drift: ToolDrift, found_digest: str, actor: audit.Party) -> None:
    """Make the changed definition the approved one, as part of a further version of the server.

    `found_digest` says what was read: when the server changed the tool once more meanwhile, ConflictError asks to look again.
    """
    with transaction.atomic():
        locked = (
            ToolDrift.objects.select_for_update(of=("self",)).select_related("server__current_version").get(pk=drift.pk)
        )
        if locked.closed_at is not None:
            raise ConflictError(f"{locked.tool_name} is no longer in quarantine.", code="catalog.drift_closed")
        if locked.found_digest != found_digest:
            raise ConflictError(
                f"{locked.tool_name} changed again since you looked.",
                code="catalog.drift_changed",
                next_step="Read the definition as it is now, then decide.",
            )
        _end(locked, DriftEnd.APPROVED, actor.label)
        servers.publish_version(server=locked.server, inventory=_with(locked))
        audit.record(
            "catalog:tool:change_approved",
            actor=actor,
            target=servers.party(locked.server),
            data={"tool": locked.tool_name, "digest": found_digest, "before": locked.approved_digest},
        )


def _open(server: Server, name: str, approved: str, digest: str, tool: dict[str, Any], found_by: str) -> bool:
    """Note a change; whether it is a fresh one."""
    present = ToolDrift.objects.filter(server=server, tool_name=name, closed_at=None).first()
    if present is not None and present.found_digest == digest:
        return False
    if present is not None:
        present.found_digest, present.found_definition, present.found_at = digest, tool, clock.now()
        present.save(update_fields=["found_digest", "found_definition", "found_at"])
    else:
        ToolDrift.objects.create(
            id=uuid7(),
            server=server,
            tool_name=name,
            approved_digest=approved,
            found_digest=digest,
            found_definition=tool,
            found_at=clock.now(),
            found_by=found_by,
        )
    audit.record(
        "catalog:tool:quarantined",
        actor=GATEWAY,
        target=servers.party(server),
        data={"tool": name, "approved": approved, "found": digest, "by": found_by},
    )
    return True


def _close_returned(server: Server, names: set[str]) -> list[str]:
    """End the quarantine of tools that are again what was approved."""
    rows = list(ToolDrift.objects.filter(server=server, closed_at=None, tool_name__in=names))
    for drift in rows:
        _end(drift, DriftEnd.RETURNED, "")
        audit.record(
            "catalog:tool:released", actor=GATEWAY, target=servers.party(server), data={"tool": drift.tool_name}
        )
    return [drift.tool_name for drift in rows]


def _end(drift: ToolDrift, end: str, by: str) -> None:
    drift.closed_at, drift.closed_as, drift.closed_by = clock.now(), end, by[:254]
    drift.save(update_fields=["closed_at", "closed_as", "closed_by"])


def _with(drift: ToolDrift) -> Inventory:
    """The approved inventory with one definition replaced by the one that was found."""
    version = drift.server.current_version
    assert version is not None
    definitions = [
        drift.found_definition if tool.name == drift.tool_name else tool.definition
        for tool in version.tools.order_by("position")
    ]
    return Inventory(
        protocol=version.protocol,
        server_info=version.server_info,
        instructions=version.instructions,
        capabilities=version.capabilities,
        tools=definitions,
        resource_count=version.resource_count,
        prompt_count=version.prompt_count,
    )


def _storable(value: Any) -> Any:
    """Without NUL, which Postgres cannot hold. The digest is of the definition as it came, so what was cut is never approved."""
    match value:
        case str():
            return value.replace("\x00", "")
        case dict():
            return {_storable(key): _storable(each) for key, each in value.items()}
        case list():
            return [_storable(each) for each in value]
        case _:
            return value


def _announce(server: Server, names: list[str]) -> None:
    server_id = server.pk
    enqueue("catalog.tell_quarantine", server_id=str(server_id), tools=", ".join(names)[:300])
    on_commit(lambda: signals.tools_quarantined.send_robust(sender=Server, server_id=server_id, tools=names))
