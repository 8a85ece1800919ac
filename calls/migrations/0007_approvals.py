from django.db import migrations, models

from calls import sql


class Migration(migrations.Migration):
    dependencies = [("calls", "0006_usageday")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.AddField("call", "approval_id", models.UUIDField(null=True))],
            database_operations=[migrations.RunSQL(sql.ADD_APPROVAL, sql.DROP_APPROVAL)],
        ),
    ]
