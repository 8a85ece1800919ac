"""Sealing and opening stored secrets, and changing the keys that do it while both are in use. Rules: `core.vault`.

A model that keeps a secret has a `SealedField`, and seals with `place_of(row, "field", tenant)` after its id is known.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import connection, models, transaction

from core import clock, vault
from core.ids import uuid7
from core.models import SealedField
from core.vault import Keychain, MasterKeys, Place
from tenants.context import platform_scope, tenant_scope
from tenants.models import DataKey, Tenant

# How long a retired key is kept after its secrets were sealed anew: longer than any transaction that began before.
_KEEP_RETIRED = timedelta(hours=1)
_LOCK_CLASS = 79
_BATCH = 200
# In tables that all share, whose row it is: without one it is the platform's.
OWNER_FIELD = "owner_tenant"


@functools.cache
def master_keys() -> MasterKeys:
    return MasterKeys(settings.VAULT_KEYS)


def place_of(row: models.Model, field: str, tenant: Tenant | None) -> Place:
    """Where a row's field is. Also for rows that are not saved yet: ids are minted here, not by the database."""
    return Place(str(tenant.pk) if tenant else "", row._meta.label_lower, field, str(row.pk))


def seal(place: Place, secret: str | bytes) -> bytes:
    """The ciphertext to store at a place."""
    data = secret.encode() if isinstance(secret, str) else secret
    key_id = _key_in_use(place.tenant).pk
    return keychain(place.tenant).seal(key_id, place, data)


def unseal(place: Place, sealed: bytes) -> bytes:
    """Raises SealBrokenError for what was not sealed for this place."""
    return keychain(place.tenant).open(place, bytes(sealed))


def keychain(tenant_id: str) -> Keychain:
    return Keychain(master_keys(), tenant_id, wrapped_keys(tenant_id))


def wrapped_keys(tenant_id: str) -> dict[UUID, bytes]:
    """Every data key of an owner, as stored: what a gateway needs beside the sealed secrets."""
    return {key.pk: bytes(key.wrapped) for key in _keys_of(tenant_id)}


def rewrap() -> int:
    """Wrap every data key by the first master key; the number that changed. Secrets stay as they are."""
    changed = 0
    for key in DataKey.objects.order_by("created_at"):
        owner = str(key.tenant_id or "")
        if not master_keys().is_current(bytes(key.wrapped)):
            secret = master_keys().unwrap(bytes(key.wrapped), owner, key.pk)
            # Only if nobody else did it meanwhile; the two results are equally good.
            changed += DataKey.objects.filter(pk=key.pk, wrapped=key.wrapped).update(
                wrapped=master_keys().wrap(secret, owner, key.pk)
            )
    return changed


def renew_data_keys() -> int:
    """Give every owner a data key of today and seal every secret under it; the number of secrets sealed.

    Runs beside readers and writers: a secret is locked only while it is sealed anew, and the old key opens what is not done yet.
    """
    with platform_scope():
        owners = [None, *Tenant.objects.order_by("created_at")]
    return sum(_renew(tenant) for tenant in owners)


def _renew(tenant: Tenant | None) -> int:
    owner = str(tenant.pk) if tenant else ""
    if not DataKey.objects.filter(tenant=tenant).exists():
        return 0
    with transaction.atomic():
        _lock(owner)
        DataKey.objects.filter(tenant=tenant, retired_at=None).update(retired_at=clock.now())
        newest = _make(owner)
    with tenant_scope(tenant) if tenant else platform_scope():
        sealed = sum(_reseal(rows, fields, tenant, newest.pk) for rows, fields in _sealed_rows(tenant))
    DataKey.objects.filter(tenant=tenant, retired_at__lt=clock.now() - _KEEP_RETIRED).delete()
    return sealed


def _reseal(rows: models.QuerySet, fields: list[str], tenant: Tenant | None, newest: UUID) -> int:
    count = 0
    for pk in rows.values_list("pk", flat=True).iterator(_BATCH):
        with transaction.atomic():
            row = rows.select_for_update().filter(pk=pk).first()
            old = [f for f in fields if row is not None and getattr(row, f) and vault.key_of(getattr(row, f)) != newest]
            for field in old:
                place = place_of(row, field, tenant)  # type: ignore[arg-type]
                setattr(row, field, seal(place, unseal(place, getattr(row, field))))
            if old:
                row.save(update_fields=old)  # type: ignore[union-attr]
                count += len(old)
    return count


def _sealed_rows(tenant: Tenant | None) -> Iterator[tuple[models.QuerySet, list[str]]]:
    """What an owner's keys have sealed: its schema's rows, or the platform's, and its own rows of tables that all share."""
    homes = settings.TENANT_APPS if tenant else settings.SHARED_APPS
    for model in apps.get_models():
        names = {field.name for field in model._meta.fields}
        fields = [field.name for field in model._meta.fields if isinstance(field, SealedField)]
        if not fields:
            continue
        if OWNER_FIELD in names:
            yield model._default_manager.filter(**{OWNER_FIELD: tenant}), fields
        elif model._meta.app_config.name in homes:
            yield model._default_manager.all(), fields


def _key_in_use(owner: str) -> DataKey:
    key = _keys_of(owner).filter(retired_at=None).first()
    if key is not None:
        return key
    with transaction.atomic():
        _lock(owner)
        return _keys_of(owner).filter(retired_at=None).first() or _make(owner)


def _keys_of(owner: str) -> models.QuerySet[DataKey]:
    return DataKey.objects.filter(tenant_id=owner) if owner else DataKey.objects.filter(tenant=None)


def _make(owner: str) -> DataKey:
    key_id = uuid7()
    wrapped = master_keys().wrap(vault.mint(), owner, key_id)
    return DataKey.objects.create(pk=key_id, tenant_id=owner or None, wrapped=wrapped)


def _lock(owner: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, owner])
