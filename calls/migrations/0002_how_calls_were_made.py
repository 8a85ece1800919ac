from django.db import migrations, models

from calls import sql

ADDED = ("credential", "client_id", "upstream_auth", "upstream_protocol", "timings")


class Migration(migrations.Migration):
    dependencies = [("calls", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.AddField("call", name, models.TextField(db_default="")) for name in ADDED],
            database_operations=[migrations.RunSQL(sql.ADD_HOW, sql.DROP_HOW)],
        ),
    ]
