"""How much servers are called, by day, and the trend of it. Tools are ordered by the popularity of their server."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

rules = import_module("catalog.migrations.0003_row_policies")
search = import_module("catalog.migrations.0009_search")
READABLE = "EXISTS (SELECT FROM catalog_server s WHERE s.id = server_id)"
PLATFORM = f"{rules.VIEWER} = 'platform'"
GUARD = rules.guard("catalog_callday", READABLE, PLATFORM) + rules.guard("catalog_countedday", PLATFORM, PLATFORM)
UNGUARD = rules.unguard("catalog_countedday") + rules.unguard("catalog_callday")

FOLLOW = f"""
CREATE FUNCTION public.catalog_tools_follow_popularity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.catalog_tooldocument SET popularity = {search.POPULARITY.replace("s.", "NEW.")}
    WHERE server_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER catalog_tools_follow_popularity AFTER UPDATE OF calls_30d, installs, downloads ON public.catalog_server
    FOR EACH ROW WHEN ((OLD.calls_30d, OLD.installs, OLD.downloads) IS DISTINCT FROM (NEW.calls_30d, NEW.installs, NEW.downloads))
    EXECUTE FUNCTION public.catalog_tools_follow_popularity();
"""
NO_FOLLOW = """
DROP TRIGGER catalog_tools_follow_popularity ON public.catalog_server;
DROP FUNCTION public.catalog_tools_follow_popularity();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0014_import_runs"),
    ]

    operations = [
        migrations.AddField(
            model_name="server",
            name="trend",
            field=models.PositiveBigIntegerField(
                default=0,
                editable=False,
                help_text="Calls of the last 7 days beyond what the mean of 30 days makes of them.",
            ),
        ),
        migrations.AddIndex(
            model_name="server",
            index=models.Index(condition=models.Q(("trend__gt", 0)), fields=["-trend", "name"], name="server_trending"),
        ),
        migrations.CreateModel(
            name="CallDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("calls", models.PositiveBigIntegerField()),
                (
                    "server",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="call_days", to="catalog.server"
                    ),
                ),
            ],
            options={
                "ordering": ["day"],
                "constraints": [models.UniqueConstraint(fields=("day", "server"), name="call_day_once")],
            },
        ),
        migrations.CreateModel(
            name="CountedDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("counted_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["day"],
            },
        ),
        migrations.RunSQL(GUARD, UNGUARD),
        migrations.RunSQL(FOLLOW, NO_FOLLOW),
    ]
