"""The second wall around listings that are not public, and the immutability of versions and tools."""

from django.db import migrations

from core import sql

# The application owns these tables, so the policies are forced on the owner too. `marketplace.viewer` is set by
# tenants.postgresql: 'platform', the id of an organisation, or empty for the public.
POLICIES = """
ALTER TABLE catalog_server ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_server FORCE ROW LEVEL SECURITY;
CREATE POLICY server_visible ON catalog_server USING (
    visibility = 'public'
    OR current_setting('marketplace.viewer', true) = 'platform'
    OR owner_tenant_id::text = current_setting('marketplace.viewer', true)
) WITH CHECK (
    current_setting('marketplace.viewer', true) = 'platform'
    OR owner_tenant_id::text = current_setting('marketplace.viewer', true)
);
ALTER TABLE catalog_serverversion ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_serverversion FORCE ROW LEVEL SECURITY;
CREATE POLICY version_visible ON catalog_serverversion
    USING (EXISTS (SELECT FROM catalog_server s WHERE s.id = server_id));
ALTER TABLE catalog_tool ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_tool FORCE ROW LEVEL SECURITY;
CREATE POLICY tool_visible ON catalog_tool
    USING (EXISTS (SELECT FROM catalog_serverversion v WHERE v.id = version_id));
"""

NO_POLICIES = """
DROP POLICY tool_visible ON catalog_tool;
ALTER TABLE catalog_tool NO FORCE ROW LEVEL SECURITY;
ALTER TABLE catalog_tool DISABLE ROW LEVEL SECURITY;
DROP POLICY version_visible ON catalog_serverversion;
ALTER TABLE catalog_serverversion NO FORCE ROW LEVEL SECURITY;
ALTER TABLE catalog_serverversion DISABLE ROW LEVEL SECURITY;
DROP POLICY server_visible ON catalog_server;
ALTER TABLE catalog_server NO FORCE ROW LEVEL SECURITY;
ALTER TABLE catalog_server DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("catalog", "0002_initial")]
    operations = [
        migrations.RunSQL(POLICIES, NO_POLICIES),
        migrations.RunSQL(sql.append_only("catalog_serverversion"), sql.drop_append_only("catalog_serverversion")),
        migrations.RunSQL(sql.append_only("catalog_tool"), sql.drop_append_only("catalog_tool")),
    ]
