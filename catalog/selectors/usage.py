"""How one organisation uses servers, from its own call log."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import Count

from calls.models import Call
from core import clock
from core.ids import lowest_at
from tenants.context import tenant_scope
from tenants.models import Tenant

REASONS_MAX = 10
TOOLS_MAX = 10


def count_calls_today(organisation: Tenant) -> int:
    """Since midnight UTC."""
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    with tenant_scope(organisation):
        return Call.objects.filter(call_id__gte=lowest_at(midnight)).count()


def count_reasons(since: datetime, server_id: UUID) -> list[tuple[str, int]]:
    """Why calls of a server were decided as they were, the most frequent first. Of the active organisation."""
    return _counted("reason", since, server_id, REASONS_MAX)


def count_tools(since: datetime, server_id: UUID) -> list[tuple[str, int]]:
    """Which tools of a server were called, the most used first. Of the active organisation."""
    return [(tool, number) for tool, number in _counted("tool", since, server_id, TOOLS_MAX + 1) if tool][:TOOLS_MAX]


def _counted(column: str, since: datetime, server_id: UUID, most: int) -> list[tuple[str, int]]:
    rows = Call.objects.filter(server_id=server_id, call_id__gte=lowest_at(since)).order_by()
    found = rows.values(column).annotate(number=Count("pk")).order_by("-number", column)[:most]
    return [(row[column], row["number"]) for row in found]
