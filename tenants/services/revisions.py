"""The revision of an organisation's policy: grows in the transaction of every change, announced after it."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db import connection

from core.jobs import on_commit
from tenants import signals


def touch(tenant_id: UUID, *, ended: Collection[UUID] = ()) -> int:
    """Mark that keys, grants or the state of this organisation changed. `ended` are rights that were taken back, by id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE public.tenants_tenant SET revision = nextval('public.marketplace_revision') WHERE id = %s RETURNING revision",
            [tenant_id],
        )
        row = cursor.fetchone()
    revision = int(row[0]) if row else 0
    on_commit(
        lambda: signals.policy_changed.send_robust(
            sender=None, tenant_id=tenant_id, revision=revision, ended=tuple(ended)
        )
    )
    return revision
