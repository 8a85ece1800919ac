from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.postgres.forms import SimpleArrayField
from django.db import transaction
from django.db.models import QuerySet, URLField
from django.http import HttpRequest
from django.utils.text import Truncator
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget

from audit.admin import AuditedAdmin, operator
from catalog.labels import LABELS
from catalog.models import Provider, Server, ServerVersion, Tool, ToolLabel
from catalog.selectors import labels
from catalog.services import labelling, servers, serving
from catalog.services.serving import Serving
from core import clock
from core.admin import ReadOnlyAdmin
from core.errors import MarketplaceError

NAME_CHARS_SHOWN = 40


@admin.register(Provider)
class ProviderAdmin(AuditedAdmin):
    list_display = ("name", "slug", "tenant", "website", "verified_at")
    list_select_related = ("tenant",)
    search_fields = ("name", "slug", "tenant__name")
    readonly_fields = ("tenant", "slug", "verified_at")
    actions: ClassVar[list[str]] = ["verify"]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if isinstance(db_field, URLField):
            options["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **options)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @action(description="Mark as verified", permissions=["change"])
    def verify(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        for provider in queryset.filter(verified_at=None):
            provider.verified_at = clock.now()
            with transaction.atomic():
                provider.save(update_fields=["verified_at", "updated_at"])
                self._record(request, provider, "verified", {})
            messages.success(request, f"{provider.name} is verified.")


class ServingAdminForm(forms.ModelForm):
    """What operators may change of a server, held to the rules of the service before it is saved."""

    class Meta:
        model = Server
        fields: ClassVar[list[str]] = [field.name for field in dataclasses.fields(Serving)]

    further_urls = SimpleArrayField(
        forms.URLField(assume_scheme="https"),
        delimiter="\n",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Other addresses of the same server, one a line; calls go round all of them.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            wanted = {**cleaned, "further_urls": tuple(cleaned["further_urls"] or ())}
            try:
                serving.check(self.instance, Serving(**wanted))
            except MarketplaceError as error:
                raise forms.ValidationError(error.message) from error
        return cleaned


@admin.register(Server)
class ServerAdmin(ReadOnlyAdmin):
    """Listings of all organisations. The owner changes a listing; operators approve it and change how it is served, through
    the services."""

    form = ServingAdminForm

    list_display = (
        "short_name",
        "slug",
        "owner_tenant",
        "source_name",
        "visibility",
        "status",
        "gateway_enabled",
        "badge",
        "health",
    )
    list_select_related = ("owner_tenant",)
    list_filter = ("status", "origin", "source_kind", "visibility", "category", "health")
    search_fields = ("name", "slug", "registry_name", "owner_tenant__name")
    actions: ClassVar[list[str]] = ["approve", "close_gateway", "open_gateway"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        served = ServingAdminForm.Meta.fields
        return [name for name in super().get_readonly_fields(request, obj) if name not in served]

    def save_model(self, request: HttpRequest, obj: Server, form: Any, change: bool) -> None:
        serving.change(server_id=obj.pk, owner_id=None, serving=Serving.of(obj), actor=operator(request))

    @admin.display(description="Name", ordering="name")
    def short_name(self, server: Server) -> str:
        return Truncator(server.name).chars(NAME_CHARS_SHOWN)

    @action(description="Approve", permissions=["operate"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Server]) -> None:
        for server in queryset:
            try:
                servers.approve(server=server, actor=operator(request))
            except MarketplaceError as error:
                messages.error(request, f"{server.name}: {error.message}")
            else:
                messages.success(request, f"{server.name} is approved.")

    @action(description="Close at the gateway: refuse every call", permissions=["operate"])
    def close_gateway(self, request: HttpRequest, queryset: QuerySet[Server]) -> None:
        for server in queryset:
            servers.open_gateway(server=server, is_open=False, actor=operator(request))
            messages.success(request, f"{server.name} is closed: every call is refused.")

    @action(description="Open at the gateway", permissions=["operate"])
    def open_gateway(self, request: HttpRequest, queryset: QuerySet[Server]) -> None:
        for server in queryset:
            servers.open_gateway(server=server, is_open=True, actor=operator(request))
            messages.success(request, f"{server.name} is open to calls that a grant allows.")


class ToolLabelForm(forms.ModelForm):
    """What an operator confirms of a tool; the service keeps the rules."""

    class Meta:
        model = ToolLabel
        fields = ("server", "tool", "labels")

    labels = forms.MultipleChoiceField(
        choices=[(name, name.replace("_", " ").capitalize()) for name in LABELS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        server = cleaned.get("server")
        if not self.errors and server is not None:
            try:
                labels.check({cleaned["tool"]: cleaned["labels"]}, labels.definitions(server))
            except MarketplaceError as error:
                raise forms.ValidationError(error.message) from error
        return cleaned


@admin.register(ToolLabel)
class ToolLabelAdmin(ReadOnlyAdmin):
    """What tools touch. What an operator saves here its provider does not change."""

    form = ToolLabelForm
    list_display = ("server", "tool", "labels", "set_by", "set_by_label", "updated_at")
    list_select_related = ("server",)
    list_filter = ("set_by",)
    search_fields = ("server__name", "server__slug", "tool")
    raw_id_fields = ("server",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_operate_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["server", "tool"] if obj is not None else []

    def save_model(self, request: HttpRequest, obj: ToolLabel, form: Any, change: bool) -> None:
        labelling.confirm(
            server_id=obj.server_id, owner_id=None, wanted={obj.tool: obj.labels}, actor=operator(request)
        )


@admin.register(ServerVersion)
class ServerVersionAdmin(ReadOnlyAdmin):
    list_display = ("server", "version", "protocol", "tool_count", "created_at")
    list_select_related = ("server",)
    search_fields = ("server__name", "server__slug", "version")


@admin.register(Tool)
class ToolAdmin(ReadOnlyAdmin):
    list_display = ("name", "version", "required_trust", "side_effect")
    list_select_related = ("version",)
    list_filter = ("required_trust", "side_effect")
    search_fields = ("name", "version__server__slug")
