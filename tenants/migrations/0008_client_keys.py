import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("allauth_idp_oidc", "0003_client_allow_uri_wildcards"),
        ("tenants", "0007_former_slugs"),
    ]

    operations = [
        migrations.CreateModel(
            name="ClientKeys",
            fields=[
                (
                    "client",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="keys",
                        serialize=False,
                        to="allauth_idp_oidc.client",
                    ),
                ),
                (
                    "jwks",
                    models.JSONField(
                        default=dict, help_text="The keys, or the last copy of what stands at the address."
                    ),
                ),
                (
                    "address",
                    models.TextField(
                        blank=True, help_text="Where the client publishes its keys; empty: they stand here."
                    ),
                ),
                ("fresh_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("asked_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "verbose_name_plural": "client keys",
            },
        ),
        migrations.CreateModel(
            name="UsedAssertion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64)),
                ("expires_at", models.DateTimeField(db_index=True)),
                (
                    "client",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="allauth_idp_oidc.client",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("client", "digest"), name="used_assertion_once")],
            },
        ),
    ]
