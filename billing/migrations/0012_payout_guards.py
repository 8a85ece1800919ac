from django.db import migrations

from billing.statements import DROP_PAYOUTS, PAYOUTS


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_payouts")]
    operations = [migrations.RunSQL(PAYOUTS, DROP_PAYOUTS)]
