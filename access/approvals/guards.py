"""Which tools an organisation guards: set on the policy page of a server, for its own calls. Inside the organisation's schema."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db import transaction

from access.models import ToolGuarding
from access.types import ToolGuard
from audit import services as audit
from catalog.models import Server
from core.errors import InvalidError
from tenants.models import Tenant, User
from tenants.services import revisions


def guards() -> dict[UUID, dict[str, ToolGuard]]:
    """By server and tool, as the engine's values."""
    found: dict[UUID, dict[str, ToolGuard]] = {}
    for row in ToolGuarding.objects.all():
        found.setdefault(row.server_id, {})[row.tool] = ToolGuard(needs_approval=row.needs_approval)
    return found


def guards_at(server_id: UUID) -> dict[str, ToolGuard]:
    return {
        row.tool: ToolGuard(needs_approval=row.needs_approval)
        for row in ToolGuarding.objects.filter(server_id=server_id)
    }


def set_approvals(*, tenant: Tenant, server: Server, tools: Collection[str], actor: User) -> bool:
    """Have a person approve each call of these tools of a server, and of no others. False when that was so already.

    Raises InvalidError for a tool that neither the server has nor was guarded before.
    """
    known = set(server.current_version.tools.values_list("name", flat=True)) if server.current_version else set()
    with transaction.atomic():
        before = {
            row.tool for row in ToolGuarding.objects.select_for_update().filter(server=server) if row.needs_approval
        }
        if unknown := sorted(set(tools) - known - before):
            raise InvalidError(f"The server has no tool named {unknown[0][:60]!r}.", field="approvals")
        if set(tools) == before:
            return False
        for tool in set(tools) - before:
            ToolGuarding.objects.update_or_create(
                server=server, tool=tool, defaults={"needs_approval": True, "changed_by_label": actor.email[:254]}
            )
        ToolGuarding.objects.filter(server=server, tool__in=before - set(tools)).delete()
        audit.record(
            "access:approvals:changed",
            actor=audit.Party("user", str(actor.pk), actor.email),
            target=audit.Party("server", str(server.pk), server.name),
            data={"added": sorted(set(tools) - before)[:50], "removed": sorted(before - set(tools))[:50]},
        )
        revisions.touch(tenant.pk)
    return True
