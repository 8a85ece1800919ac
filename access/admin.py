from __future__ import annotations

from django.contrib import admin

from access.models import Grant
from core.admin import ReadOnlyAdmin


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    """Grants of the organisation whose records are open."""

    list_display = ("server", "subject_kind", "subject_label", "max_trust", "state", "expires_at", "granted_by_label")
    list_filter = ("subject_kind", "max_trust")
    list_select_related = ("server",)
    search_fields = ("subject", "subject_label")
    ordering = ("-created_at",)
