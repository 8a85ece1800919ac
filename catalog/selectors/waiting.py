"""What waits for operators."""

from __future__ import annotations

from catalog.choices import Status
from catalog.models import Server


def count_submitted() -> int:
    """Servers of all organisations that wait for approval. For operators: the row policy shows them to the platform only."""
    return Server.objects.filter(status=Status.SUBMITTED).count()
