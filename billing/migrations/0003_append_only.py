from django.db import migrations

from core import sql


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_initial")]
    operations = [
        migrations.RunSQL(sql.append_only("billing_priceversion"), sql.drop_append_only("billing_priceversion"))
    ]
