"""One sequence for every revision: a number that is larger is newer, whatever it numbers."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE public.marketplace_revision AS bigint", "DROP SEQUENCE public.marketplace_revision"
        )
    ]
