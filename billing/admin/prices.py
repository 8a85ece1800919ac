from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from audit.admin import operator
from billing.models import PriceVersion
from billing.services import prices


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    def clean_currency(self) -> str:
        currency = self.cleaned_data["currency"].strip().upper()
        if len(currency) != 3 or not currency.isalpha() or not currency.isascii():
            raise forms.ValidationError("A currency is three letters, such as USD.")
        return currency

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        server, tool = data.get("server"), data.get("tool", "")
        version = server.current_version if server else None
        if tool and not (version and version.tools.filter(name=tool).exists()):
            self.add_error("tool", "The server's current version has no tool of this name.")
        return data


@admin.register(PriceVersion)
class PriceVersionAdmin(ModelAdmin):
    """A price is set for a moment on and stays; another price replaces it from its own moment on."""

    form = PriceForm
    list_display = ("server", "tool", "rate", "currency", "effective_from", "created_at")
    list_select_related = ("server",)
    list_filter = ("currency",)
    search_fields = ("server__name", "server__slug", "tool")
    fields = ("server", "tool", "rate", "currency", "effective_from")
    list_per_page = 50

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: PriceVersion, form: Any, change: bool) -> None:
        """The service writes the row, its audit event and the word to the gateways; the admin shows what it wrote."""
        price = prices.set_price(
            server=obj.server,
            rate=obj.rate,
            tool=obj.tool,
            currency=obj.currency,
            effective_from=obj.effective_from,
            actor=operator(request),
        )
        obj.pk = price.pk
