"""Who publishes most, and which namespaces hold most, out of an index that also knows what the mask says of each document.

Only public documents have them: every organisation's own part is small, and behind a row policy.
"""

from django.db import migrations

INDEXES = """
CREATE INDEX catalog_searchdocument_publisher ON public.catalog_searchdocument_public (publisher) INCLUDE (mask);
CREATE INDEX catalog_searchdocument_namespace ON public.catalog_searchdocument_public (namespace) INCLUDE (mask);
"""
NO_INDEXES = "DROP INDEX public.catalog_searchdocument_namespace, public.catalog_searchdocument_publisher;"


class Migration(migrations.Migration):
    dependencies = [("catalog", "0020_policy_settings")]
    operations = [migrations.RunSQL(INDEXES, NO_INDEXES)]
