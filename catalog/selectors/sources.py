"""What sources list, for the pages of those who manage them. The row policy keeps organisations apart here too."""

from __future__ import annotations

from uuid import UUID

from catalog.models import SourceEntry


def newest_entries(source_id: UUID, count: int) -> list[SourceEntry]:
    """What a source lists, met last first, each by its latest version, whoever may see the servers.

    The caller has checked whose source it is.
    """
    rows = SourceEntry.objects.filter(source_id=source_id, is_latest=True).defer("manifest")
    return list(rows.order_by("-seen_at", "external_id", "-pk")[:count])
