"""When somebody was told that a source cannot be read."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("repositories", "0002_row_policies")]
    operations = [
        migrations.AddField(
            model_name="repository",
            name="failing_told_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
