"""Differences with payment providers in the admin: to read. What is said about them is said on their pages."""

from __future__ import annotations

from django.contrib import admin

from billing.models import ReconciliationItem, ReconciliationRun
from core.admin import ReadOnlyAdmin


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "compared", "differing", "error", "finished_at")
    list_filter = ("provider",)


@admin.register(ReconciliationItem)
class ReconciliationItemAdmin(ReadOnlyAdmin):
    list_display = ("reference", "provider", "fault", "difference", "state", "found_at")
    list_filter = ("state", "provider", "fault")
    search_fields = ("reference",)
