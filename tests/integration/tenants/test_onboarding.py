from __future__ import annotations

import pytest
from django.db import connection

from core.errors import ConflictError, InvalidError
from tenants.context import tenant_scope
from tenants.services import onboarding, schemas

STRUCTURE = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, coalesce(replace(column_default, %(s)s, ''), ''),"
    " is_identity FROM information_schema.columns WHERE table_schema = %(s)s",
    "constraints": "SELECT r.relname, c.conname, c.contype, replace(pg_get_constraintdef(c.oid), %(s)s || '.', '')"
    " FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace"
    " WHERE n.nspname = %(s)s AND c.contype <> 'n'",
    "indexes": "SELECT tablename, replace(indexdef, %(s)s || '.', '') FROM pg_indexes WHERE schemaname = %(s)s",
    "triggers": "SELECT r.relname, replace(pg_get_triggerdef(t.oid), %(s)s || '.', '') FROM pg_trigger t"
    " JOIN pg_class r ON r.oid = t.tgrelid JOIN pg_namespace n ON n.oid = r.relnamespace"
    " WHERE n.nspname = %(s)s AND NOT t.tgisinternal",
    "grants": "SELECT c.relname, a.privilege_type, pg_get_userbyid(a.grantee) FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a"
    " WHERE n.nspname = %(s)s AND a.grantee <> c.relowner",
    "schema grants": "SELECT a.privilege_type, pg_get_userbyid(a.grantee) FROM pg_namespace n, aclexplode(n.nspacl) a"
    " WHERE n.nspname = %(s)s AND a.grantee <> n.nspowner",
    "migrations": "SELECT app, name FROM {schema}.django_migrations",
}


def structure_of(schema: str, what: str) -> set[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(STRUCTURE[what].replace("{schema}", schema), {"s": schema})
        return set(cursor.fetchall())


class TestCreateOrganisation:
    @pytest.mark.parametrize("what", STRUCTURE)
    def test_it_gets_a_schema_equal_to_the_template(self, cast, what):
        schema = cast.acme.schema_name
        partitions = {row for row in structure_of(schema, what) if "calls_call_20" in str(row)}

        assert structure_of(schemas.TEMPLATE_SCHEMA, what) == structure_of(schema, what) - partitions
        assert structure_of(schema, what)

    def test_it_is_recorded_in_its_own_audit_log(self, cast):
        from audit.models import AuditEvent

        with tenant_scope(cast.acme):
            assert AuditEvent.objects.filter(action="tenants:organisation:created").count() == 1

    def test_a_taken_short_name_is_a_conflict(self, cast):
        with pytest.raises(ConflictError, match="taken"):
            onboarding.create_organisation(name="Other", slug="acme", owner=cast.charlie)

    def test_a_bad_short_name_is_refused_and_leaves_nothing(self, cast):
        with pytest.raises(InvalidError) as caught:
            onboarding.create_organisation(name="Other", slug="Not a slug!", owner=cast.charlie)

        assert caught.value.data["field"] == "slug"

    def test_a_reserved_short_name_is_refused(self, cast):
        with pytest.raises(ConflictError, match="reserved"):
            onboarding.create_organisation(name="Admin", slug="admin", owner=cast.charlie)
