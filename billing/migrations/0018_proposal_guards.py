from django.db import migrations

from billing.statements import DROP_PROPOSALS, PROPOSALS


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_proposals")]
    operations = [migrations.RunSQL(PROPOSALS, DROP_PROPOSALS)]
