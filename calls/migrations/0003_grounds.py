from django.db import migrations, models

from calls import sql

ADDED = ("trust_admin", "trust_consented", "risk", "policy_version")


class Migration(migrations.Migration):
    dependencies = [("calls", "0002_how_calls_were_made")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                *(migrations.AddField("call", name, models.TextField(db_default="")) for name in ADDED),
                migrations.AddField("call", "agent_session_id", models.UUIDField(null=True)),
            ],
            database_operations=[migrations.RunSQL(sql.ADD_GROUNDS, sql.DROP_GROUNDS)],
        ),
    ]
