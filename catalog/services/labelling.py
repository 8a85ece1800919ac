"""What the tools of a server touch, as its provider or an operator confirms it for everybody who uses the server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from django.db import transaction

from audit import services as audit
from catalog.choices import LabelSetter, Status
from catalog.models import Server, ToolLabel
from catalog.selectors import labels as selectors
from catalog.services import servers
from core.errors import ForbiddenError, NotFoundError


def confirm(
    *, server_id: UUID, owner_id: UUID | None, wanted: Mapping[str, Collection[str] | None], actor: audit.Party
) -> bool:
    """Confirm labels of tools; None takes a word back. `owner_id` is None for operators, whose word the provider cannot change.

    False when nothing changes. Raises NotFoundError for a server of another owner, ForbiddenError for a tool that operators have
    labelled, InvalidError for what is no tool or no label.
    """
    setter = LabelSetter.OPERATOR if owner_id is None else LabelSetter.PROVIDER
    with transaction.atomic():
        rows = Server.objects.select_for_update(of=("self",)).exclude(status=Status.REMOVED).filter(pk=server_id)
        server = (rows if owner_id is None else rows.filter(owner_tenant_id=owner_id)).first()
        if server is None:
            raise NotFoundError("There is no such server of yours.")
        digests, held = selectors.definitions(server), selectors.of_server(server.pk)
        selectors.check(wanted, set(digests) | set(held))
        changed: dict[str, object] = {}
        for tool, labels in wanted.items():
            row = held.get(tool)
            if labels is not None and row is not None and _says(row, labels, digests.get(tool, ""), setter):
                continue
            if labels is None and row is None:
                continue
            if row is not None and row.set_by == LabelSetter.OPERATOR and setter != LabelSetter.OPERATOR:
                raise ForbiddenError(
                    f"An operator has labelled {tool or 'resources and prompts'!r}.",
                    next_step="Ask the operators of the marketplace to change it.",
                )
            changed[tool] = {
                "from": row.labels if row else None,
                "to": sorted(set(labels)) if labels is not None else None,
            }
            _store(server, tool, labels, digests.get(tool, ""), setter, actor)
        if not changed:
            return False
        audit.record(
            "catalog:server:labels_changed",
            actor=actor,
            target=servers.party(server),
            data={"tools": dict(list(changed.items())[:50])},
        )
        servers.touch(server)
    return True


def _says(row: ToolLabel, labels: Collection[str], digest: str, setter: str) -> bool:
    same = row.labels == sorted(set(labels)) and row.definition_digest == digest
    return same and setter in {row.set_by, LabelSetter.PROVIDER}


def _store(
    server: Server, tool: str, labels: Collection[str] | None, digest: str, setter: str, actor: audit.Party
) -> None:
    if labels is None:
        ToolLabel.objects.filter(server=server, tool=tool).delete()
        return
    ToolLabel.objects.update_or_create(
        server=server,
        tool=tool,
        defaults={
            "labels": sorted(set(labels)),
            "definition_digest": digest,
            "set_by": setter,
            "set_by_label": actor.label[:254],
        },
    )
