"""Pictures that come with listings: which one a server shows. The picture itself is in the entry that the source gave."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalog", "0023_indexes_once")]
    operations = [
        migrations.AddField(
            model_name="server",
            name="icon_digest",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="Of the picture that came with its listing; blank without one.",
                max_length=32,
            ),
        ),
    ]
