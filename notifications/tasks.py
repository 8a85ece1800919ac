from __future__ import annotations

from django.db import connection
from django_tenants.utils import schema_context, schema_exists

from core.jobs import task
from notifications import services


@task("notifications.send_waiting")
def send_waiting(schema_name: str | None = None) -> None:
    """Send waiting mails of one schema, or of all: the sweep that makes a lost job harmless."""
    for name in [schema_name] if schema_name else _schemas():
        if not schema_exists(name):
            continue
        with schema_context(name):
            services.send_waiting()


def _schemas() -> list[str]:
    """Every schema that has notifications; found in Postgres, because this app knows no organisations."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname FROM pg_tables WHERE tablename = 'notifications_notification'"
            " AND (schemaname = 'public' OR schemaname LIKE 't\\_%%') ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall()]
