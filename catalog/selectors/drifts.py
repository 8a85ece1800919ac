"""Tools in quarantine: what they were approved as and what their server says they are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from catalog.models import Tool, ToolDrift


def open_tools(server_id: UUID) -> frozenset[str]:
    """Names of the server's tools that no call reaches at present."""
    return frozenset(ToolDrift.objects.filter(server_id=server_id, closed_at=None).values_list("tool_name", flat=True))


def list_open() -> QuerySet[ToolDrift]:
    """Every quarantine that waits for a decision, the oldest first."""
    return ToolDrift.objects.filter(closed_at=None).select_related("server__owner_tenant").order_by("found_at")


def list_closed(most: int) -> QuerySet[ToolDrift]:
    """The quarantines that ended last."""
    rows = ToolDrift.objects.exclude(closed_at=None).select_related("server__owner_tenant")
    return rows.order_by("-closed_at")[:most]


def find_drift(text: str) -> ToolDrift | None:
    """The quarantine with this id, given as text from outside."""
    try:
        return ToolDrift.objects.filter(pk=UUID(text)).first()
    except ValueError:
        return None


def approved_definition(drift: ToolDrift) -> dict[str, Any]:
    """What is approved of the tool at present; empty when it is no longer offered."""
    tool = Tool.objects.filter(version_id=drift.server.current_version_id, name=drift.tool_name).first()
    return dict(tool.definition) if tool else {}
