from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from audit.models import AuditEvent
from core import clock, keys
from core.errors import InvalidError, NotFoundError
from tenants.api.authentication import find
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.models import APIKey, Team, Tenant
from tenants.services import api_keys


def issue(cast, **changes) -> api_keys.IssuedKey:
    arguments = {"tenant": cast.acme, "name": "CI", "scopes": [Scope.INVOKE], "actor": cast.alice} | changes
    return api_keys.issue(**arguments)


def revision(tenant: Tenant) -> int:
    return Tenant.objects.get(pk=tenant.pk).revision


class TestIssue:
    def test_only_a_digest_of_the_secret_is_stored_anywhere(self, cast):
        issued = issue(cast)
        secret = keys.parse(issued.text).secret
        with connection.cursor() as cursor:
            cursor.execute("SELECT row_to_json(k)::text FROM tenants_apikey k WHERE id = %s", [issued.key.pk])
            stored = cursor.fetchone()[0]
        with tenant_scope(cast.acme):
            recorded = str(list(AuditEvent.objects.values("data", "target_label", "actor_label")))

        assert secret not in stored + recorded
        assert secret.encode().hex() not in stored
        assert keys.parse(issued.text).key_id in stored

    def test_the_text_finds_the_key_again(self, cast):
        issued = issue(cast)

        assert find(issued.text) == issued.key

    def test_the_text_exists_only_in_the_answer(self, cast):
        issued = issue(cast)
        again = APIKey.objects.get(pk=issued.key.pk)

        assert keys.parse(issued.text).secret not in f"{vars(again)}{again}{again.prefix}"

    def test_the_revision_of_the_organisation_grows(self, cast):
        before = revision(cast.acme)
        issue(cast)

        assert revision(cast.acme) > before

    def test_it_is_recorded_in_the_log_of_its_organisation_alone(self, cast):
        issued = issue(cast)
        mine = {"action": "tenants:api_key:issued", "target_id": str(issued.key.pk)}
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.get(**mine).actor_id == str(cast.alice.pk)
        with tenant_scope(cast.globex):
            assert not AuditEvent.objects.filter(**mine).exists()

    def test_it_is_undone_as_a_whole(self, cast):
        count = APIKey.objects.count()
        with transaction.atomic():
            issue(cast)
            transaction.set_rollback(True)

        assert APIKey.objects.count() == count

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": "  "}, "name"),
            ({"scopes": []}, "scopes"),
            ({"scopes": ["root"]}, "scopes"),
            ({"scopes": [Scope.INVOKE, "root"]}, "scopes"),
        ],
    )
    def test_a_bad_value_is_refused_and_named(self, cast, changes, field):
        with pytest.raises(InvalidError) as caught:
            issue(cast, **changes)

        assert caught.value.data["field"] == field

    def test_an_expiry_in_the_past_is_refused(self, cast):
        moment = clock.now()
        with clock.frozen(moment), pytest.raises(InvalidError, match="future"):
            issue(cast, expires_at=moment)

    def test_a_team_of_another_organisation_is_not_there(self, cast):
        team = Team.objects.create(tenant=cast.globex, name="Red", slug="red")
        with pytest.raises(NotFoundError):
            issue(cast, team=team)

    def test_a_long_name_is_cut_and_a_key_needs_a_scope_in_the_database_too(self, cast):
        key = issue(cast, name="n" * 300).key

        assert key.name == "n" * 100
        with pytest.raises(DatabaseError, match="api_key_has_scope"), transaction.atomic():
            APIKey.objects.filter(pk=key.pk).update(scopes=[])


class TestRevoke:
    def test_a_revoked_key_is_found_no_more(self, cast):
        issued = issue(cast)
        api_keys.revoke(tenant=cast.acme, key_id=issued.key.pk, actor=cast.alice)

        assert find(issued.text) is None
        assert APIKey.objects.get(pk=issued.key.pk).state == "revoked"

    def test_a_second_time_changes_nothing(self, cast):
        issued = issue(cast)
        first = api_keys.revoke(tenant=cast.acme, key_id=issued.key.pk, actor=cast.alice)
        before = revision(cast.acme)
        second = api_keys.revoke(tenant=cast.acme, key_id=issued.key.pk, actor=cast.bob)

        assert second.revoked_at == first.revoked_at
        assert revision(cast.acme) == before

    def test_the_revision_of_the_organisation_grows(self, cast):
        issued = issue(cast)
        before = revision(cast.acme)
        api_keys.revoke(tenant=cast.acme, key_id=issued.key.pk, actor=cast.alice)

        assert revision(cast.acme) > before

    def test_the_key_of_another_organisation_is_not_there_and_stays(self, cast):
        issued = issue(cast)
        with pytest.raises(NotFoundError):
            api_keys.revoke(tenant=cast.globex, key_id=issued.key.pk, actor=cast.charlie)

        assert find(issued.text) == issued.key


class TestFind:
    def test_an_expired_key_is_found_until_its_last_moment_and_not_after(self, cast):
        ends = clock.now() + timedelta(hours=1)
        issued = issue(cast, expires_at=ends)
        with clock.frozen(ends - timedelta(milliseconds=1)):
            assert find(issued.text) == issued.key
        with clock.frozen(ends):
            assert find(issued.text) is None

    def test_a_key_of_a_suspended_organisation_is_not_found(self, cast):
        issued = issue(cast)
        Tenant.objects.filter(pk=cast.acme.pk).update(suspended_at=clock.now())

        assert find(issued.text) is None

    def test_the_id_of_one_key_with_the_secret_of_another_is_nothing(self, cast):
        one, other = keys.parse(issue(cast).text), keys.parse(issue(cast).text)

        assert find(str(keys.KeyText(one.env, one.key_id, other.secret))) is None

    def test_a_well_formed_key_that_was_never_issued_is_nothing(self, cast):
        assert find(str(keys.mint("test"))) is None

    @pytest.mark.parametrize("text", ["", "mk_", "Bearer", "x" * 500, "mk_test_\x00"])
    def test_anything_else_is_nothing(self, cast, text):
        assert find(text) is None
