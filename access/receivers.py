"""What access does when facts change in the catalog."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.dispatch import receiver

from catalog.signals import tools_quarantined
from core.jobs import enqueue


@receiver(tools_quarantined)
def on_tools_quarantined(sender: object, server_id: UUID, tools: list[str], **_: Any) -> None:
    enqueue("access.tell_quarantine", server_id=str(server_id), tools=", ".join(tools)[:300])
