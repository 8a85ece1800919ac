"""Schemas of organisations: made in one step by copying the structure of a template schema.

Running all migrations for each newcomer costs seconds and grows with the product; copying the catalog of one migrated, empty
schema does not. The copy covers what our tables use: columns, defaults, identities, constraints, indexes, partitions,
triggers, foreign keys and grants. A test holds a copy against the template, object by object.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management import call_command
from django.db import transaction
from psycopg import sql

from tenants.context import connection

TEMPLATE_SCHEMA = "tenant_template"
_CONSTRAINTS = (
    "SELECT r.relname, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid"
    " JOIN pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname = %s"
)
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_name() -> str:
    return "t_" + "".join(secrets.choice(_ALPHABET) for _ in range(26))


def ensure_template(verbosity: int = 0) -> None:
    """Make the template schema and bring it to the newest migration."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(TEMPLATE_SCHEMA)))
    call_command("migrate_schemas", schema_name=TEMPLATE_SCHEMA, verbosity=verbosity, interactive=False)
    connection.set_schema_to_public()


def create(name: str) -> None:
    """Copy the template into a schema of this name, all or nothing."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Names in what Postgres prints of constraints and triggers are qualified only when nothing is in the search path.
        cursor.execute("SELECT set_config('search_path', '', true)")
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        _copy_tables(cursor, name)
        _copy_keys(cursor, name)
        _copy_indexes(cursor, name)
        _copy_partitions(cursor, name)
        _copy_foreign_keys(cursor, name)
        _copy_triggers(cursor, name)
        _copy_grants(cursor, name)
        _copy_migration_record(cursor, name)
    connection.search_path_set_schemas = None  # SET LOCAL ended with the transaction


def drop(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def _copy_tables(cursor: Any, name: str) -> None:
    cursor.execute(
        "SELECT c.relname, c.relkind, pg_get_partkeydef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname",
        [TEMPLATE_SCHEMA],
    )
    for table, kind, partition_key in cursor.fetchall():
        cursor.execute(
            # Indexes are made apart: copied ones would get invented names, and migrations know them by name.
            sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES){}").format(
                sql.Identifier(name, table),
                sql.Identifier(TEMPLATE_SCHEMA, table),
                sql.SQL(f" PARTITION BY {partition_key}" if kind == "p" else ""),
            )
        )


def _copy_keys(cursor: Any, name: str) -> None:
    cursor.execute(
        _CONSTRAINTS + " AND c.contype IN ('p', 'u', 'x') AND NOT r.relispartition ORDER BY r.relname, c.conname",
        [TEMPLATE_SCHEMA],
    )
    _add_constraints(cursor, name)


def _copy_indexes(cursor: Any, name: str) -> None:
    cursor.execute(
        "SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname = %s AND NOT r.relispartition"
        " AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) ORDER BY i.indexrelid",
        [TEMPLATE_SCHEMA],
    )
    for (definition,) in cursor.fetchall():
        # ONLY would leave the index of a partitioned table without those of its partitions.
        cursor.execute(_moved(definition.replace(" ON ONLY ", " ON ", 1), name).replace("%", "%%"))


def _copy_partitions(cursor: Any, name: str) -> None:
    cursor.execute(
        "SELECT c.relname, p.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_inherits i ON i.inhrelid = c.oid"
        " JOIN pg_class p ON p.oid = i.inhparent WHERE n.nspname = %s AND c.relispartition AND c.relkind = 'r'"
        " ORDER BY c.relname",
        [TEMPLATE_SCHEMA],
    )
    for table, parent, bound in cursor.fetchall():
        cursor.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF {} {}").format(
                sql.Identifier(name, table), sql.Identifier(name, parent), sql.SQL(bound)
            )
        )


def _copy_foreign_keys(cursor: Any, name: str) -> None:
    cursor.execute(
        _CONSTRAINTS + " AND c.contype = 'f' AND c.conparentid = 0 ORDER BY r.relname, c.conname", [TEMPLATE_SCHEMA]
    )
    _add_constraints(cursor, name)


def _add_constraints(cursor: Any, name: str) -> None:
    for table, constraint, definition in cursor.fetchall():
        cursor.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                sql.Identifier(name, table), sql.Identifier(constraint), sql.SQL(_moved(definition, name))
            )
        )


def _copy_triggers(cursor: Any, name: str) -> None:
    # Row triggers of a partitioned parent reach its partitions by themselves (tgparentid <> 0).
    cursor.execute(
        "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class r ON r.oid = t.tgrelid"
        " JOIN pg_namespace n ON n.oid = r.relnamespace"
        " WHERE n.nspname = %s AND NOT t.tgisinternal AND t.tgparentid = 0 ORDER BY t.tgname",
        [TEMPLATE_SCHEMA],
    )
    for (definition,) in cursor.fetchall():
        cursor.execute(_moved(definition, name).replace("%", "%%"))


def _copy_grants(cursor: Any, name: str) -> None:
    cursor.execute(
        "SELECT a.privilege_type, pg_get_userbyid(a.grantee) FROM pg_namespace n, aclexplode(n.nspacl) a"
        " WHERE n.nspname = %s AND a.grantee <> n.nspowner AND a.grantee <> 0",
        [TEMPLATE_SCHEMA],
    )
    for privilege, role in cursor.fetchall():
        cursor.execute(
            sql.SQL("GRANT {} ON SCHEMA {} TO {}").format(
                sql.SQL(privilege), sql.Identifier(name), sql.Identifier(role)
            )
        )
    cursor.execute(
        "SELECT c.relname, a.privilege_type, pg_get_userbyid(a.grantee) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND a.grantee <> c.relowner AND a.grantee <> 0",
        [TEMPLATE_SCHEMA],
    )
    for table, privilege, role in cursor.fetchall():
        cursor.execute(
            sql.SQL("GRANT {} ON {} TO {}").format(
                sql.SQL(privilege), sql.Identifier(name, table), sql.Identifier(role)
            )
        )


def _copy_migration_record(cursor: Any, name: str) -> None:
    cursor.execute(
        sql.SQL("INSERT INTO {} (app, name, applied) SELECT app, name, applied FROM {} ORDER BY id").format(
            sql.Identifier(name, "django_migrations"), sql.Identifier(TEMPLATE_SCHEMA, "django_migrations")
        )
    )


def _moved(definition: str, name: str) -> str:
    """Definitions name the template's schema with a trailing dot; both names need no quoting."""
    return definition.replace(f"{TEMPLATE_SCHEMA}.", f"{name}.")
