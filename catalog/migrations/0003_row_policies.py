"""The second wall around listings that are not public, and the immutability of versions and tools."""

from django.db import migrations

from core import sql

# `marketplace.viewer` is set by tenants.postgresql: 'platform', the id of an organisation, or empty for the public.
VIEWER = "current_setting('marketplace.viewer', true)"
OWN = f"({VIEWER} = 'platform' OR owner_tenant_id::text = {VIEWER})"
OWN_SERVER = f"EXISTS (SELECT FROM catalog_server s WHERE s.id = server_id AND {OWN})"
OWN_VERSION = (
    "EXISTS (SELECT FROM catalog_serverversion v JOIN catalog_server s ON s.id = v.server_id"
    f" WHERE v.id = version_id AND {OWN})"
)
# table: who may read a row, who may write it
RULES = {
    "catalog_server": (f"visibility = 'public' OR {OWN}", OWN),
    "catalog_serverversion": ("EXISTS (SELECT FROM catalog_server s WHERE s.id = server_id)", OWN_SERVER),
    "catalog_tool": ("EXISTS (SELECT FROM catalog_serverversion v WHERE v.id = version_id)", OWN_VERSION),
}


def guard(table: str, readable: str, writable: str) -> str:
    """The application owns these tables, so the policies are forced on the owner too."""
    return f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_read ON {table} FOR SELECT USING ({readable});
CREATE POLICY {table}_insert ON {table} FOR INSERT WITH CHECK ({writable});
CREATE POLICY {table}_update ON {table} FOR UPDATE USING ({writable});
CREATE POLICY {table}_delete ON {table} FOR DELETE USING ({writable});
"""


def unguard(table: str) -> str:
    dropped = "".join(f"DROP POLICY {table}_{verb} ON {table};\n" for verb in ("read", "insert", "update", "delete"))
    return (
        f"{dropped}ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;\nALTER TABLE {table} DISABLE ROW LEVEL SECURITY;\n"
    )


POLICIES = "".join(guard(table, *rules) for table, rules in RULES.items())
NO_POLICIES = "".join(unguard(table) for table in reversed(RULES))


class Migration(migrations.Migration):
    dependencies = [("catalog", "0002_initial")]
    operations = [
        migrations.RunSQL(POLICIES, NO_POLICIES),
        migrations.RunSQL(sql.append_only("catalog_serverversion"), sql.drop_append_only("catalog_serverversion")),
        migrations.RunSQL(sql.append_only("catalog_tool"), sql.drop_append_only("catalog_tool")),
    ]
