from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from audit import services
from audit.models import AuditEvent
from core.admin import ReadOnlyAdmin


def operator(request: HttpRequest) -> services.Party:
    """The operator behind an admin request, as an actor."""
    return services.Party("operator", str(request.user.pk), request.user.get_username())


class AuditedAdmin(ModelAdmin):
    """An admin whose changes are events of the platform's audit log, in the same transaction as the change."""

    list_per_page = 50

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        verb = "changed" if change else "added"
        self._record(request, obj, verb, {"fields": sorted(form.changed_data)})

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._record(request, obj, "deleted", {})
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for obj in queryset:
            self._record(request, obj, "deleted", {})
        super().delete_queryset(request, queryset)

    def _record(self, request: HttpRequest, obj: Any, verb: str, data: dict[str, Any]) -> None:
        services.record(
            f"operations:{self.opts.model_name}:{verb}",
            actor=operator(request),
            target=services.Party(str(self.opts.model_name), str(obj.pk), str(obj)),
            data=data,
        )


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Events of the organisation whose records are open."""

    list_display = ("sequence", "occurred_at", "actor_label", "action", "target_type", "target_label")
    list_filter = ("actor_type",)
    search_fields = ("action", "actor_label", "target_label", "target_id")
    ordering = ("-sequence",)
    exclude: ClassVar[list[str]] = ["previous_hash", "hash"]
