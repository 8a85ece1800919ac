from django.db import migrations

from access.requests import sql


class Migration(migrations.Migration):
    dependencies = [("access", "0007_requests")]
    operations = [migrations.RunSQL(sql.FORWARD, sql.BACKWARD)]
