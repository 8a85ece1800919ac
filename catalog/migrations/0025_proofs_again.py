"""Proofs of claims are looked for again: how often in a row one was missing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalog", "0024_icons")]
    operations = [
        migrations.AddField(
            model_name="listingclaim",
            name="failed_looks",
            field=models.PositiveSmallIntegerField(
                default=0, help_text="How often in a row a proof that was there has not been found."
            ),
        ),
    ]
