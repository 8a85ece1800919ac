from __future__ import annotations

from django.conf import settings
from django.db import models

from core.models import Record
from tenants.models.tenant import Tenant


class SettingValue(Record):
    """A value that differs from its flag's default: of the platform (no tenant) or of one organisation."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, null=True, blank=True, related_name="setting_values")
    name = models.CharField(max_length=100)
    value = models.JSONField()
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="setting_unique_in_scope", nulls_distinct=False),
        ]
