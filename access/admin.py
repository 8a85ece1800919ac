from __future__ import annotations

from django.contrib import admin

from access.models import AgentSession, Grant
from core.admin import ReadOnlyAdmin


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    """Grants of the organisation whose records are open."""

    list_display = ("name", "server", "subject_label", "max_trust", "state", "expires_at", "origin", "granted_by_label")
    list_filter = ("max_trust", "origin")
    list_select_related = ("server",)
    search_fields = ("name", "subject_user", "subject_agent", "subject_team", "subject_key", "subject_label")
    ordering = ("-created_at",)


@admin.register(AgentSession)
class AgentSessionAdmin(ReadOnlyAdmin):
    """Sessions of agents of the organisation whose records are open."""

    list_display = (
        "name",
        "server",
        "subject_label",
        "consented_trust",
        "state",
        "expires_at",
        "last_used_at",
        "origin",
    )
    list_filter = ("consented_trust", "origin")
    list_select_related = ("server",)
    search_fields = ("name", "subject_user", "subject_agent", "subject_team", "subject_label")
    exclude = ("credential",)
    ordering = ("-created_at",)
