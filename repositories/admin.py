"""Sources and readings of all organisations, for operators: looking, and vouching for one. Other changes go through the pages."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import action

from audit.admin import operator
from core.admin import ReadOnlyAdmin
from core.errors import MarketplaceError
from repositories.models import Repository, SyncRun
from repositories.services import sources


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
    actions: ClassVar[list[str]] = ["verify"]

    @action(description="Raise to Verified: an operator has looked at it", permissions=["operate"])
    def verify(self, request: HttpRequest, queryset: QuerySet[Repository]) -> None:
        for source in queryset:
            try:
                sources.verify(source.pk, operator(request))
            except MarketplaceError as error:
                messages.error(request, error.message)
            else:
                messages.success(request, f"{source.name} is verified; its entries follow within a minute.")


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    exclude = ("validators", "lease")
    list_display = ("repository", "state", "full", "created_at", "ended_at", "read", "problem_count")
    list_select_related = ("repository",)
    list_filter = ("state", "full", "reason")
    search_fields = ("repository__name",)
