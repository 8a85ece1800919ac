"""Sources and readings of all organisations, for operators: looking only. Changes go through the pages."""

from __future__ import annotations

from django.contrib import admin

from core.admin import ReadOnlyAdmin
from repositories.models import Repository, SyncRun


@admin.register(Repository)
class RepositoryAdmin(ReadOnlyAdmin):
    exclude = ("credentials", "validators")
    list_display = (
        "name",
        "kind",
        "owner_tenant",
        "trust_level",
        "enabled",
        "sync_status",
        "last_sync",
        "server_count",
    )
    list_select_related = ("owner_tenant",)
    list_filter = ("kind", "trust_level", "sync_status", "enabled")
    search_fields = ("name", "url", "owner_tenant__name")


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    exclude = ("validators", "lease")
    list_display = ("repository", "state", "full", "created_at", "ended_at", "read", "problem_count")
    list_select_related = ("repository",)
    list_filter = ("state", "full", "reason")
    search_fields = ("repository__name",)
