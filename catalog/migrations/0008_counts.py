"""Counts and moments of servers that are there already, from their current versions."""

from django.db import migrations

# A migration has no viewer; the row policies would show it nothing to fill in.
FILL = """
SELECT set_config('marketplace.viewer', 'platform', true);
UPDATE catalog_serverversion v SET is_latest = true FROM catalog_server s WHERE s.current_version_id = v.id;
UPDATE catalog_server s SET tool_count = v.tool_count, resource_count = v.resource_count, prompt_count = v.prompt_count,
    has_tasks = v.capabilities ? 'tasks', content_updated_at = v.created_at, published_at = s.approved_at
FROM catalog_serverversion v WHERE s.current_version_id = v.id;
SELECT set_config('marketplace.viewer', '', true);
"""


class Migration(migrations.Migration):
    dependencies = [("catalog", "0007_sources")]
    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
