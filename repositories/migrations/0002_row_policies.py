"""An organisation's sources, readings and what they have met are hidden from everybody but it and the platform."""

from django.db import migrations

# `marketplace.viewer` is set by tenants.postgresql: 'platform', the id of an organisation, or empty for the public.
VIEWER = "current_setting('marketplace.viewer', true)"
OWN = f"({VIEWER} = 'platform' OR owner_tenant_id::text = {VIEWER})"
TABLES = ("repositories_repository", "repositories_syncrun", "repositories_seenname")


def guard(table: str) -> str:
    """The application owns these tables, so the policy is forced on the owner too."""
    return f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_own ON {table} USING ({OWN}) WITH CHECK ({OWN});
"""


def unguard(table: str) -> str:
    return f"""
DROP POLICY {table}_own ON {table};
ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("repositories", "0001_initial")]
    operations = [migrations.RunSQL("".join(map(guard, TABLES)), "".join(map(unguard, reversed(TABLES))))]
