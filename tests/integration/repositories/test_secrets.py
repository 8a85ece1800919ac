from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from core.vault import SealBrokenError, key_of
from repositories.models import Repository, SeenName, SyncRun
from repositories.services import credentials
from tenants.context import platform_scope, viewer
from tenants.services import vault
from tests.integration.repositories.conftest import OPERATOR, add, keeper_of

TOKEN = {"auth_type": "token", "secret": {"token": "hidden"}}


class TestSealing:
    def test_each_owner_s_credentials_are_sealed_under_its_own_key_and_survive_its_renewal(self, cast):
        sources = {
            keeper.tenant: add("http", "https://x.example/i.json", keeper=keeper, **TOKEN)
            for keeper in (OPERATOR, keeper_of(cast.acme), keeper_of(cast.globex))
        }
        before = {owner: key_of(bytes(source.credentials)) for owner, source in sources.items()}
        assert len(set(before.values())) == 3

        vault.renew_data_keys()

        with platform_scope():
            for owner, source in sources.items():
                source.refresh_from_db()
                assert key_of(bytes(source.credentials)) != before[owner]
                assert credentials.secret_of(source).values == {"token": "hidden"}

    def test_a_credential_that_is_moved_to_another_source_does_not_open(self, cast):
        one = add("http", "https://x.example/i.json", keeper=keeper_of(cast.acme), **TOKEN)
        other = add("http", "https://y.example/i.json", keeper=keeper_of(cast.acme), name="Other", **TOKEN)
        other.credentials = one.credentials

        with pytest.raises(SealBrokenError):
            credentials.secret_of(other)

    def test_nothing_that_prints_a_secret_shows_it(self, cast):
        source = add("http", "https://x.example/i.json", keeper=keeper_of(cast.acme), **TOKEN)
        with platform_scope():
            assert "hidden" not in repr(credentials.secret_of(source))


class TestRowPolicies:
    def test_an_organisations_rows_are_not_there_for_others_even_when_nobody_filters(self, cast):
        source = add("http", "https://x.example/i.json", keeper=keeper_of(cast.acme))
        with platform_scope():
            run = SyncRun.objects.create(repository=source, owner_tenant=cast.acme, reason="asked", full=True)
            SeenName.objects.create(run=run, owner_tenant=cast.acme, name="x")
        models = (Repository, SyncRun, SeenName)

        with viewer(cast.acme.pk):
            assert [model.objects.count() for model in models] == [1, 1, 1]
        for who in (cast.globex.pk, ""):
            with viewer(who):
                assert [model.objects.count() for model in models] == [0, 0, 0]
                assert Repository.objects.update(name="taken") == 0

    def test_nobody_writes_a_source_for_another_organisation(self, cast):
        with viewer(cast.globex.pk), pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Repository.objects.create(owner_tenant=cast.acme, name="Planted", kind="http", url="https://x.example")
