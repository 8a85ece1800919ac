"""Signs of fraud in the admin: to read. They are decided on their pages."""

from __future__ import annotations

from django.contrib import admin

from billing.models import FraudFlag
from core.admin import ReadOnlyAdmin


@admin.register(FraudFlag)
class FraudFlagAdmin(ReadOnlyAdmin):
    list_display = ("sign", "tenant", "provider", "state", "found_at", "decided_by")
    list_filter = ("state", "sign")
