from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.dispatch import receiver

from core.errors import ConflictError
from tenants import signals
from tenants.models import Membership, Tenant
from tenants.services import onboarding
from tests.support.cast import Cast


def all_schemas() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%%'")
        return {row[0] for row in cursor.fetchall()}


@pytest.fixture
def before(durable_db) -> set[str]:
    return all_schemas()


def fresh_slug() -> str:
    return f"x-{uuid4().hex[:20]}"


class TestAllOrNothing:
    def test_a_failing_transaction_around_it_leaves_no_schema_and_no_row(self, before):
        charlie, slug = Cast.load().charlie, fresh_slug()
        with transaction.atomic():
            onboarding.create_organisation(name="Short-lived", slug=slug, owner=charlie)
            assert len(all_schemas()) == len(before) + 1
            transaction.set_rollback(True)

        assert all_schemas() == before
        assert not Tenant.objects.filter(slug=slug).exists()
        assert not Membership.objects.filter(tenant__slug=slug).exists()

    def test_a_receiver_that_fails_undoes_it(self, before):
        @receiver(signals.tenant_prepared, weak=False, dispatch_uid="fails")
        def fail(**_: object) -> None:
            raise RuntimeError

        charlie, slug = Cast.load().charlie, fresh_slug()
        try:
            with pytest.raises(RuntimeError):
                onboarding.create_organisation(name="Short-lived", slug=slug, owner=charlie)
        finally:
            signals.tenant_prepared.disconnect(dispatch_uid="fails")

        assert all_schemas() == before
        assert not Tenant.objects.filter(slug=slug).exists()

    def test_a_taken_short_name_leaves_no_schema(self, before):
        with pytest.raises(ConflictError):
            onboarding.create_organisation(name="Other", slug="acme", owner=Cast.load().charlie)

        assert all_schemas() == before

    def test_the_connection_is_in_public_afterwards(self, before):
        charlie = Cast.load().charlie
        with transaction.atomic():
            onboarding.create_organisation(name="Short-lived", slug=fresh_slug(), owner=charlie)
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_schema()")
                assert cursor.fetchone() == ("public",)
            transaction.set_rollback(True)


class TestSlug:
    @pytest.mark.parametrize("slug", ["ACME", " acme ", "Acme"])
    def test_another_spelling_of_a_taken_name_is_taken(self, cast, slug):
        with pytest.raises(ConflictError, match="taken"):
            onboarding.create_organisation(name="Other", slug=slug, owner=cast.charlie)

    @pytest.mark.parametrize("name", ["Ünïcode & Söhne", "  ", "---", "日本", "A" * 200, "Acme, Inc.", "o'hara"])
    def test_a_suggested_name_is_usable_or_empty(self, name):
        from tenants.models.tenant import slug_validator

        suggested = onboarding.suggest_slug(name)

        assert not suggested or slug_validator(suggested) is None
