from django.db import migrations

from billing.statements import DROP_LEDGER, LEDGER


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_ledger")]
    operations = [migrations.RunSQL(LEDGER, DROP_LEDGER)]
