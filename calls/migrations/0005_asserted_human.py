from django.db import migrations, models

from calls import sql


class Migration(migrations.Migration):
    dependencies = [("calls", "0004_periods")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.AddField("call", "asserted_human", models.TextField(db_default=""))],
            database_operations=[migrations.RunSQL(sql.ADD_HUMAN, sql.DROP_HUMAN)],
        ),
    ]
