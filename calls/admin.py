from __future__ import annotations

from django.contrib import admin

from calls.models import Call
from core.admin import ReadOnlyAdmin


@admin.register(Call)
class CallAdmin(ReadOnlyAdmin):
    """Calls of the organisation whose records are open. Rows are written by the gateway and by nobody else."""

    list_display = (
        "occurred_at",
        "server_name",
        "tool",
        "agent",
        "allowed",
        "outcome",
        "latency_ms",
        "price",
        "currency",
    )
    list_filter = ("allowed", "outcome")
    search_fields = ("server_name", "tool", "request_id")
    ordering = ("-call_id",)
