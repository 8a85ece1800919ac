from django.db import migrations, models

from calls import sql


class Migration(migrations.Migration):
    dependencies = [("calls", "0003_grounds")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Period",
                    fields=[
                        ("id", models.IntegerField(primary_key=True, serialize=False)),
                        ("starts_at", models.DateTimeField()),
                        ("ends_at", models.DateTimeField()),
                        (
                            "state",
                            models.TextField(
                                choices=[
                                    ("open", "Open"),
                                    ("closing", "Closing"),
                                    ("closed", "Closed"),
                                    ("invoiced", "Invoiced"),
                                ],
                                default="open",
                            ),
                        ),
                        ("closed_at", models.DateTimeField(null=True)),
                    ],
                    options={"ordering": ["id"]},
                ),
                migrations.AddField("call", "period_id", models.IntegerField(null=True)),
            ],
            database_operations=[
                migrations.RunSQL(sql.CREATE_PERIODS + sql.FIRST_PERIODS + sql.GRANT_PERIODS, migrations.RunSQL.noop),
                migrations.RunSQL(sql.ADD_PERIOD, sql.DROP_PERIOD),
            ],
        ),
    ]
