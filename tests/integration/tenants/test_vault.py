"""Stored secrets against the real database: places, owners, and exchanging keys."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from core import clock
from core.vault import MasterKeys, Place, SealBrokenError
from tenants.models import DataKey, SigningKey
from tenants.services import signing, vault


def place(tenant, row: str = "1") -> Place:
    return Place(str(tenant.pk), "access.thing", "secret", row)


@pytest.fixture
def another_master(monkeypatch):
    """The installation gets a further master key, which becomes the first."""

    def add() -> None:
        keys = MasterKeys([b"n" * 32, *map(bytes, _settings_keys())])
        monkeypatch.setattr(vault, "master_keys", lambda: keys)

    return add


def _settings_keys():
    from django.conf import settings

    return settings.VAULT_KEYS


class TestSealing:
    def test_opens_where_it_was_sealed(self, cast):
        sealed = vault.seal(place(cast.acme), "hunter2")

        assert vault.unseal(place(cast.acme), sealed) == b"hunter2"
        assert b"hunter2" not in sealed

    def test_each_organisation_has_a_key_of_its_own(self, cast):
        vault.seal(place(cast.acme), "a")
        vault.seal(place(cast.globex), "b")
        vault.seal(place(cast.acme), "c")

        assert DataKey.objects.filter(tenant=cast.acme).count() == 1
        assert DataKey.objects.filter(tenant__in=[cast.acme, cast.globex]).count() == 2

    def test_moved_between_rows_or_organisations_it_does_not_open(self, cast):
        sealed = vault.seal(place(cast.acme), "hunter2")
        vault.seal(place(cast.globex), "of globex")

        for other in (place(cast.acme, "2"), place(cast.globex)):
            with pytest.raises(SealBrokenError):
                vault.unseal(other, sealed)

    def test_a_data_key_given_to_another_organisation_opens_nothing(self, cast):
        sealed = vault.seal(place(cast.acme), "hunter2")
        DataKey.objects.filter(tenant=cast.acme).update(tenant=cast.globex)

        with pytest.raises(SealBrokenError):
            vault.unseal(Place(str(cast.globex.pk), "access.thing", "secret", "1"), sealed)


class TestRotation:
    def test_another_master_key_wraps_every_data_key_and_secrets_stay(self, cast, another_master):
        sealed = vault.seal(place(cast.acme), "hunter2")
        another_master()
        said = StringIO()

        call_command("rotate_vault_keys", stdout=said)

        assert "0 secrets" in said.getvalue()
        assert all(vault.master_keys().is_current(bytes(key.wrapped)) for key in DataKey.objects.all())
        assert vault.unseal(place(cast.acme), sealed) == b"hunter2"

    def test_renewed_data_keys_seal_what_rows_hold_and_open_it(self, cast):
        signing.ensure()
        before = {key.pk: bytes(key.private) for key in SigningKey.objects.all()}

        call_command("rotate_vault_keys", data_keys=True, stdout=StringIO())

        after = {key.pk: bytes(key.private) for key in SigningKey.objects.all()}
        assert set(before) == set(after)
        assert not set(before.values()) & set(after.values())
        assert signing.active_keys().signer.sign(b"{}")

    def test_a_secret_that_a_slow_writer_sealed_under_the_old_key_still_opens(self, cast):
        sealed = vault.seal(place(cast.acme), "hunter2")

        call_command("rotate_vault_keys", data_keys=True, stdout=StringIO())

        assert vault.unseal(place(cast.acme), sealed) == b"hunter2"

    def test_retired_data_keys_go_when_nobody_can_be_using_them(self, cast):
        vault.seal(place(cast.acme), "x")
        call_command("rotate_vault_keys", data_keys=True, stdout=StringIO())
        DataKey.objects.exclude(retired_at=None).update(retired_at=clock.now() - timedelta(hours=2))

        call_command("rotate_vault_keys", data_keys=True, stdout=StringIO())

        assert DataKey.objects.filter(tenant=cast.acme).count() == 2  # the one in use, and the one retired just now
