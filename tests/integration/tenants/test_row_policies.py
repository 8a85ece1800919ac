"""The second wall around the catalog, asked in plain SQL: what Postgres itself shows, whatever the code in front forgets."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.db.utils import ProgrammingError

from tenants.context import PLATFORM, platform_scope, run_in_tenant, tenant_scope, viewer
from tests.support.cast import Cast

TABLES = {
    "servers": "SELECT slug FROM catalog_server",
    "versions": "SELECT s.slug FROM catalog_serverversion v LEFT JOIN catalog_server s ON s.id = v.server_id",
    "tools": "SELECT s.slug FROM catalog_tool t LEFT JOIN catalog_serverversion v ON v.id = t.version_id"
    " LEFT JOIN catalog_server s ON s.id = v.server_id",
}

COPY_OF_VERSION = (
    "INSERT INTO catalog_serverversion (id, version, protocol, server_info, instructions, capabilities, inventory_digest,"
    " tool_count, manifest, is_latest, upstream_status, status_message, created_at, server_id) SELECT gen_random_uuid(),"
    " version || 'x', protocol, server_info, instructions, capabilities, inventory_digest, tool_count, manifest, false,"
    " upstream_status, status_message, created_at, server_id FROM catalog_serverversion WHERE server_id = %s"
)
COPY_OF_TOOL = (
    "INSERT INTO catalog_tool (id, position, name, title, description, definition, definition_digest, required_trust,"
    " side_effect, seen, version_id) SELECT gen_random_uuid(), position, name || 'x', title, description, definition,"
    " definition_digest, required_trust, side_effect, seen, version_id FROM catalog_tool WHERE version_id IN"
    " (SELECT id FROM catalog_serverversion WHERE server_id = %s)"
)


def shown(what: str = "servers") -> set[str]:
    """The cast's servers that show; other tests may have committed servers of their own."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES[what])
        return {row[0] for row in cursor.fetchall()} & {"payments", "vault"}


def ask(statement: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def change(statement: str, *parameters: object) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


class TestReading:
    @pytest.mark.parametrize("what", TABLES)
    def test_the_public_sees_what_is_public(self, cast, what):
        with viewer(""):
            assert shown(what) == {"payments"}

    @pytest.mark.parametrize("what", TABLES)
    def test_another_organisation_sees_what_is_public(self, cast, what):
        with viewer(cast.globex.pk):
            assert shown(what) == {"payments"}

    @pytest.mark.parametrize("what", TABLES)
    def test_the_owner_sees_its_own_as_well(self, cast, what):
        with viewer(cast.acme.pk):
            assert shown(what) == {"payments", "vault"}

    @pytest.mark.parametrize("what", TABLES)
    def test_the_platform_sees_everything(self, cast, what):
        with viewer(PLATFORM):
            assert shown(what) == {"payments", "vault"}

    @pytest.mark.parametrize("who", ["PLATFORM", "platform ", "%", "*", "t", "null", "'; SELECT 1; --"])
    def test_an_odd_viewer_is_the_public(self, cast, who):
        with viewer(who):
            assert shown() == {"payments"}

    def test_a_count_or_a_sort_tells_nothing_of_hidden_rows(self, cast):
        with viewer(cast.globex.pk):
            assert ask(
                "SELECT count(*), max(name) FROM catalog_server WHERE id IN (%s, %s)", cast.vault.pk, cast.payments.pk
            ) == [(1, "Payments")]
            assert ask("SELECT count(*) FROM catalog_server WHERE owner_tenant_id = %s", cast.acme.pk) == [(0,)]

    def test_the_schema_of_an_organisation_in_front_opens_nothing(self, cast):
        with tenant_scope(cast.acme), viewer(""):
            assert shown() == {"payments"}


class TestWriting:
    def test_a_hidden_row_cannot_be_changed_or_removed(self, cast):
        with viewer(cast.globex.pk):
            assert change("UPDATE catalog_server SET name = 'x' WHERE id = %s", cast.vault.pk) == 0
            assert change("DELETE FROM catalog_server WHERE id = %s", cast.vault.pk) == 0

    def test_a_public_row_of_another_cannot_be_changed_or_removed(self, cast):
        for who in ("", cast.globex.pk):
            with viewer(who):
                assert change("UPDATE catalog_server SET name = 'x' WHERE id = %s", cast.payments.pk) == 0
                assert change("DELETE FROM catalog_server WHERE id = %s", cast.payments.pk) == 0

    def test_a_row_cannot_be_given_to_another(self, cast):
        with viewer(cast.acme.pk), pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            change("UPDATE catalog_server SET owner_tenant_id = %s WHERE id = %s", cast.globex.pk, cast.vault.pk)

    @pytest.mark.parametrize("copy", [COPY_OF_VERSION, COPY_OF_TOOL], ids=["version", "tool"])
    def test_nothing_can_be_added_to_a_server_of_another(self, cast, copy):
        with viewer(cast.initech.pk), transaction.atomic():
            assert change(copy, cast.payments.pk) >= 1
            transaction.set_rollback(True)
        for who in ("", cast.globex.pk):
            with viewer(who), pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                change(copy, cast.payments.pk)

    @pytest.mark.parametrize("table", ["catalog_serverversion", "catalog_tool"])
    def test_versions_and_tools_are_never_changed_not_even_by_the_platform(self, cast, table):
        for statement in (
            f"UPDATE {table} SET id = gen_random_uuid()",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
        ):
            with viewer(PLATFORM), pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
                change(statement)

    def test_the_owner_may(self, cast):
        with viewer(cast.acme.pk):
            assert change("UPDATE catalog_server SET name = 'x' WHERE id = %s", cast.vault.pk) == 1

    def test_the_application_cannot_step_around_the_policies(self, db):
        (row,) = ask("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")

        assert row == (False, False)


class TestViewer:
    """The setting lives in the Postgres session; what the code believes and what Postgres has must never differ."""

    def test_it_is_restored_when_a_scope_ends_even_by_an_error(self, cast):
        with viewer(cast.acme.pk):
            with pytest.raises(RuntimeError), platform_scope():
                raise RuntimeError
            assert shown() == {"payments", "vault"}
        assert shown() == {"payments"}

    def test_it_survives_the_rollback_of_a_savepoint(self, cast):
        with viewer(cast.acme.pk):
            with transaction.atomic():
                with viewer(""), transaction.atomic():
                    assert shown() == {"payments"}
                    transaction.set_rollback(True)
                assert shown() == {"payments", "vault"}
            with transaction.atomic():
                shown()
                transaction.set_rollback(True)
            assert shown() == {"payments", "vault"}

    def test_a_scope_inside_a_rolled_back_savepoint_does_not_linger(self, cast):
        with viewer(""):
            with suppress(RuntimeError), transaction.atomic(), platform_scope():
                assert shown() == {"payments", "vault"}
                raise RuntimeError
            assert shown() == {"payments"}

    def test_it_survives_an_error_of_postgres(self, cast):
        with viewer(cast.acme.pk):
            with pytest.raises(DatabaseError), transaction.atomic():
                ask("SELECT 1 / 0")
            assert shown() == {"payments", "vault"}


class TestViewerOfADurableConnection:
    def test_it_survives_a_rollback(self, durable_db):
        cast = Cast.load()
        with viewer(cast.acme.pk):
            with transaction.atomic():
                assert shown() == {"payments", "vault"}
                with viewer(""):
                    assert shown() == {"payments"}
                transaction.set_rollback(True)
            assert shown() == {"payments", "vault"}
        assert "vault" not in shown()

    def test_it_survives_a_lost_connection(self, durable_db):
        cast = Cast.load()
        with viewer(cast.acme.pk):
            assert "vault" in shown()
            connection.close()
            assert "vault" in shown()

    def test_a_connection_begins_as_the_public(self, durable_db):
        cast = Cast.load()
        with viewer(cast.acme.pk):
            assert "vault" in shown()
        connections.close_all()

        assert "vault" not in shown()
        assert ask("SELECT current_setting('marketplace.viewer', true)") == [("",)]

    async def _from_a_coroutine(self, cast):
        return await run_in_tenant(cast.acme, lambda tenant: shown())

    def test_a_coroutine_sees_its_organisation_and_leaves_nothing_behind(self, durable_db):
        from asgiref.sync import async_to_sync

        cast = Cast.load()

        assert "vault" in async_to_sync(self._from_a_coroutine)(cast)
        assert "vault" not in shown()


class TestPooledConnections:
    def test_a_pooled_connection_keeps_nothing_of_its_last_user(self, durable_db):
        """One physical connection, handed from acme to nobody to globex, never shows acme's rows to the others."""
        cast = Cast.load()
        options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 1, "timeout": 5}}
        connections.databases["pooled"] = {**connection.settings_dict, "OPTIONS": options}
        pooled = connections["pooled"]
        backends, seen = set(), []
        try:
            for who in [cast.acme.pk, "", cast.globex.pk, cast.acme.pk, ""]:
                pooled.set_viewer(str(who))
                with pooled.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid(), array_agg(slug ORDER BY slug) FROM catalog_server")
                    backend, slugs = cursor.fetchone()
                backends.add(backend)
                seen.append("vault" in slugs)
                pooled.close()
        finally:
            pooled.close_pool()
            del connections["pooled"], connections.databases["pooled"]

        assert seen == [True, False, False, True, False]
        assert len(backends) == 1
