"""What an import writes by the hundred thousand is in one index for each question, and names without capitals are not searched for them.

The index of a unique constraint that begins with a key answers what the key's own index would.
"""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

words = import_module("catalog.migrations.0022_words_cheaper")
BROKEN = "regexp_replace(given, '([a-z0-9])([A-Z])', '\\1 \\2', 'g')"
NAMES = f"given || ' ' || CASE WHEN given ~ '[a-z0-9][A-Z]' THEN {BROKEN} ELSE given END"


def function(names: str) -> str:
    return f"""
CREATE OR REPLACE FUNCTION public.catalog_name_words(given text) RETURNS text {words.HEAD} $$
    SELECT {words.parted(names)}
$$;
"""


def key(model: str, related_name: str, **options: bool) -> "models.ForeignKey[models.Model, models.Model]":
    return models.ForeignKey(
        model, on_delete=django.db.models.deletion.PROTECT, related_name=related_name, db_index=False, **options
    )


class Migration(migrations.Migration):
    dependencies = [("catalog", "0022_words_cheaper"), ("tenants", "0012_key_environment")]
    operations = [
        migrations.AlterField("server", "owner_tenant", key("tenants.Tenant", "servers", null=True, blank=True)),
        migrations.AlterField("serverversion", "server", key("catalog.Server", "versions")),
        migrations.AlterField("tool", "version", key("catalog.ServerVersion", "tools")),
        migrations.RunSQL(function(NAMES), function(words.NAMES)),
    ]
