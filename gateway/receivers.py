"""What the gateway's cold side does when facts change elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.dispatch import receiver

from catalog.signals import server_changed
from gateway.services import publish
from tenants.signals import policy_changed, signing_keys_changed


@receiver(policy_changed)
def on_policy_changed(
    sender: object, tenant_id: UUID, revision: int = 0, ended: Collection[UUID] = (), **_: Any
) -> None:
    if ended:
        publish.publish_ended(tenant_id, revision, ended)
    publish.publish_tenant(tenant_id)


@receiver(server_changed)
def on_server_changed(sender: object, server_id: UUID, **_: Any) -> None:
    publish.publish_server(server_id)


@receiver(signing_keys_changed)
def on_signing_keys_changed(sender: object, **_: Any) -> None:
    publish.publish_signing()
