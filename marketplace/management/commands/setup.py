from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db.migrations.executor import MigrationExecutor

from calls import partitions
from tenants.context import connection
from tenants.jobs import each_tenant
from tenants.services import schemas


class Command(BaseCommand):
    help = (
        "Bring the database to this version: public schema, template, every organisation. Quick when nothing is to do."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_superuser()
        call_command("migrate_schemas", shared=True, verbosity=0, interactive=False)
        schemas.ensure_template()
        call_command("migrate_schemas", tenant=True, verbosity=0, interactive=False)
        connection.set_schema_to_public()
        for tenant in each_tenant():
            for month in partitions.ensure(tenant.schema_name):
                self.stdout.write(f"{tenant.slug}: made {month.table}")
        pending = MigrationExecutor(connection).migration_plan(MigrationExecutor(connection).loader.graph.leaf_nodes())
        self.stdout.write(f"database ready, {len(pending)} migrations pending")


def _refuse_superuser() -> None:
    """Row policies and append-only tables do not bind a superuser: an installation under one would only look guarded."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
        [unbound] = cursor.fetchone()
    if unbound:
        raise CommandError(
            "The role of DATABASE_URL is a superuser or passes row policies: name one that owns the database and is neither."
        )
