from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import DatabaseError, connection, transaction

from tenants.context import PLATFORM, platform_scope, run_in_tenant, tenant_scope, viewer
from tests.support.cast import Cast


def where() -> tuple[str, str, str]:
    """What Postgres says: the schema in front, the viewer; and the schema that Django believes in."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_setting('marketplace.viewer', true)")
        schema, who = cursor.fetchone()
    return schema, who, connection.schema_name


def of(tenant) -> tuple[str, str, str]:
    return tenant.schema_name, str(tenant.pk), tenant.schema_name


NOWHERE = ("public", "", "public")


class TestScopes:
    def test_an_organisation_is_in_front_inside_and_gone_after(self, cast):
        assert where() == NOWHERE
        with tenant_scope(cast.acme):
            assert where() == of(cast.acme)
        assert where() == NOWHERE

    def test_scopes_nest(self, cast):
        with tenant_scope(cast.acme):
            with tenant_scope(cast.globex):
                assert where() == of(cast.globex)
                with platform_scope():
                    assert where() == ("public", PLATFORM, "public")
                assert where() == of(cast.globex)
            assert where() == of(cast.acme)
        assert where() == NOWHERE

    def test_an_error_ends_the_scope_too(self, cast):
        with pytest.raises(RuntimeError), tenant_scope(cast.acme):
            raise RuntimeError

        assert where() == NOWHERE

    def test_an_error_of_postgres_in_a_savepoint_leaves_the_scope_as_it_was(self, cast):
        with tenant_scope(cast.acme):
            with pytest.raises(DatabaseError), transaction.atomic():
                connection.cursor().execute("SELECT 1 / 0")
            assert where() == of(cast.acme)

    def test_a_rolled_back_scope_does_not_linger(self, cast):
        with tenant_scope(cast.acme):
            with suppress(RuntimeError), transaction.atomic(), tenant_scope(cast.globex):
                assert where() == of(cast.globex)
                raise RuntimeError
            assert where() == of(cast.acme)
        assert where() == NOWHERE

    def test_the_schema_is_kept_while_only_the_viewer_changes(self, cast):
        with tenant_scope(cast.acme), viewer(""):
            assert where() == (cast.acme.schema_name, "", cast.acme.schema_name)

    def test_tables_of_organisations_do_not_exist_in_public(self, cast):
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('public.calls_call'), to_regclass('public.access_grant')")
            assert cursor.fetchone() == (None, None)


class TestDurableConnection:
    def test_a_lost_connection_comes_back_in_the_same_place(self, durable_db):
        acme = Cast.load().acme
        with tenant_scope(acme):
            assert where() == of(acme)
            connection.close()
            assert where() == of(acme)
        assert where() == NOWHERE

    def test_a_rollback_leaves_the_scope_as_it_was(self, durable_db):
        cast = Cast.load()
        with tenant_scope(cast.acme):
            with suppress(RuntimeError), transaction.atomic():
                with tenant_scope(cast.globex):
                    assert where() == of(cast.globex)
                raise RuntimeError
            assert where() == of(cast.acme)
        assert where() == NOWHERE


class TestRunInTenant:
    def test_concurrent_coroutines_each_see_their_own_organisation(self, durable_db):
        cast = Cast.load()

        def work(tenant, number: int) -> tuple[int, bool]:
            return number, where() == of(tenant)

        async def main() -> list[tuple[int, bool]]:
            tenants = [cast.acme, cast.globex, cast.initech] * 10
            return await asyncio.gather(*(run_in_tenant(t, work, number) for number, t in enumerate(tenants)))

        assert async_to_sync(main)() == [(number, True) for number in range(30)]

    def test_an_error_arrives_and_leaves_nothing_behind(self, durable_db):
        cast = Cast.load()

        def fail(tenant) -> None:
            connection.cursor().execute("SELECT 1 / 0")

        async def main() -> tuple[str, str, str]:
            with pytest.raises(DatabaseError):
                await run_in_tenant(cast.acme, fail)
            return await sync_to_async(where)()

        assert async_to_sync(main)() == NOWHERE

    def test_a_cancelled_coroutine_leaves_nothing_behind(self, durable_db):
        cast = Cast.load()

        def wait(tenant) -> None:
            connection.cursor().execute("SELECT pg_sleep(0.2)")

        async def main() -> tuple[str, str, str]:
            task = asyncio.create_task(run_in_tenant(cast.acme, wait))
            await asyncio.sleep(0.05)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return await sync_to_async(where)()

        assert async_to_sync(main)() == NOWHERE
