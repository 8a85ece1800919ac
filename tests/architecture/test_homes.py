"""Where tables live: an app has one schema home, and foreign keys point from organisations to the platform, never back."""

from __future__ import annotations

from dataclasses import fields

from django.apps import apps
from django.conf import settings
from django.db import connection, models

from calls.models import Call
from calls.record import COLUMNS, CallRecord

TENANT_ONLY = set(settings.TENANT_APPS) - set(settings.SHARED_APPS)
IN_BOTH = set(settings.TENANT_APPS) & set(settings.SHARED_APPS)


def home_of(model: type[models.Model]) -> str:
    return model._meta.app_config.name


def foreign_keys() -> list[tuple[str, str, str]]:
    """(app, field, app it points to) of every model, those of many-to-many tables included."""
    return [
        (home_of(model), str(field), home_of(field.related_model))
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.get_fields()
        if field.concrete and field.is_relation and isinstance(field.related_model, type)
    ]


class TestForeignKeys:
    def test_none_points_from_the_platform_into_an_organisation(self):
        assert [key for home, key, to in foreign_keys() if home not in TENANT_ONLY and to in TENANT_ONLY] == []

    def test_apps_that_live_in_both_point_nowhere_but_within_themselves(self):
        assert [k for home, k, to in foreign_keys() if home != to and (home in IN_BOTH or to in IN_BOTH)] == []

    def test_what_they_point_to_is_in_the_same_schema(self, cast):
        """The same table is in every schema: a key of an organisation's that leads to the platform's would never fit."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT c.connamespace = f.relnamespace FROM pg_constraint c JOIN pg_class f ON f.oid = c.confrelid"
                " WHERE c.contype = 'f' AND f.relname = ANY(%s)",
                [[model._meta.db_table for model in apps.get_models() if home_of(model) in IN_BOTH]],
            )
            assert cursor.fetchall() == [(True,)]

    def test_each_app_of_an_organisation_is_one_of_the_product(self):
        assert {"audit", "notifications", "calls", "access"} == TENANT_ONLY | IN_BOTH


TYPES = {
    "uuid": models.UUIDField,
    "text": models.TextField,
    "timestamptz": models.DateTimeField,
    "boolean": models.BooleanField,
    "bigint": models.BigIntegerField,
    "integer": models.IntegerField,
    "double precision": models.FloatField,
    "numeric(20,6)": models.DecimalField,
    "numeric(20,10)": models.DecimalField,
}


class TestCall:
    """The row is described three times for speed and clarity: as value, as model, as table. They must agree."""

    def test_the_model_has_the_columns_of_the_record(self):
        declared = {field.name: field for field in Call._meta.concrete_fields}

        assert set(declared) - {"recorded_at", "period_id"} == {name for name, _ in COLUMNS}
        assert [name for name, kind in COLUMNS if type(declared[name]) is not TYPES[kind]] == []

    def test_the_record_has_a_field_for_every_column(self):
        assert {name for name, _ in COLUMNS} == {field.name for field in fields(CallRecord)} - {
            "alike",
            "schema_name",
            "parent_span",
        }

    def test_the_table_has_the_columns_of_the_record_with_their_types_and_the_model_s_nulls(self, cast):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                [f"{cast.acme.schema_name}.calls_call"],
            )
            table = {
                name: (kind.replace("timestamp with time zone", "timestamptz"), null) for name, kind, null in cursor
            }
        nulls = {field.name: field.null for field in Call._meta.concrete_fields}

        assert table.pop("recorded_at") == ("timestamptz", False)
        assert table.pop("period_id") == ("integer", True)
        assert table == {name: (kind, nulls[name]) for name, kind in COLUMNS}
