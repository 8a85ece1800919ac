from django.db import migrations

from access.approvals import sql


class Migration(migrations.Migration):
    dependencies = [("access", "0010_call_approvals")]
    operations = [migrations.RunSQL(sql.FORWARD, sql.BACKWARD)]
