"""How much a model has to read of servers."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Count, Sum, TextField
from django.db.models.functions import Cast, Length

from catalog.models import Server, Tool


def definition_sizes(servers: Iterable[Server]) -> dict[UUID, tuple[int, int]]:
    """How many definitions the current version of each server has, and their bytes. The servers were visible to the caller."""
    versions = {server.current_version_id: server.pk for server in servers if server.current_version_id}
    rows = (
        Tool.objects.filter(version_id__in=versions)
        .order_by()
        .values("version_id")
        .annotate(number=Count("pk"), size=Sum(Length(Cast("definition", TextField()))))
    )
    return {versions[row["version_id"]]: (row["number"], row["size"]) for row in rows}
