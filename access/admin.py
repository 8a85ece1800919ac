from __future__ import annotations

from typing import ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import action

from access.models import AccessRequest, AgentSession, Grant, RequestEvent
from access.requests import deciding
from core.admin import ReadOnlyAdmin
from core.errors import MarketplaceError
from tenants.context import tenant_scope
from tenants.elevated import elevation_of
from tenants.web.guards import person


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


@admin.register(AccessRequest)
class AccessRequestAdmin(ReadOnlyAdmin):
    """Requests of the organisation whose records are open. Deciding goes the way of the pages: an operator decides as the member
    that they are, or not at all."""

    list_display = ("server_name", "subject_label", "requester_label", "max_trust", "state", "stage", "due_at")
    list_filter = ("state", "max_trust")
    search_fields = ("server_name", "subject_label", "requester_label", "reason")
    ordering = ("-created_at",)
    actions: ClassVar[list[str]] = ["approve"]

    @action(description="Approve as asked", permissions=["operate"])
    def approve(self, request: HttpRequest, queryset: QuerySet[AccessRequest]) -> None:
        elevation = elevation_of(request)
        assert elevation is not None, "records are open only by an elevation"
        chosen = list(queryset)
        with tenant_scope(elevation.tenant) as tenant:
            for found in chosen:
                try:
                    deciding.approve(
                        tenant=tenant, user=person(request), request_id=found.pk, digest=found.digest, via="admin"
                    )
                except MarketplaceError as error:
                    messages.error(request, f"{found}: {error.message} {error.next_step}")
                else:
                    messages.success(request, f"{found}: approved.")


@admin.register(RequestEvent)
class RequestEventAdmin(ReadOnlyAdmin):
    """What happened to requests, step by step."""

    list_display = ("created_at", "request", "kind", "actor_label", "on_behalf_of", "stage", "via")
    list_filter = ("kind", "via")
    list_select_related = ("request",)
    ordering = ("-created_at",)
