from django.db import migrations

from core import sql


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunSQL(sql.append_only("audit_auditevent"), sql.drop_append_only("audit_auditevent"))]
