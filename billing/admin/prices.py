from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from audit.admin import operator
from billing.core import rating
from billing.models import PriceVersion
from billing.services import prices
from core.errors import InvalidError

_MODEL_HELP = (
    'How calls cost, such as {"kind": "per_unit", "rate": "0.02", "free": 100}; kinds: per_unit, package (rate, size), graduated '
    "and volume (tiers of up_to, rate, flat). Empty: the rate below for each call."
)


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    model = forms.JSONField(required=False, help_text=_MODEL_HELP)
    rate = forms.DecimalField(required=False, max_digits=20, decimal_places=10, help_text="For each call.")
    tell_ahead = forms.BooleanField(
        required=False, help_text="Hold to the notice as providers do: refused when somebody would pay more too soon."
    )

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
        self._clean_model(data)
        if server is not None and not self.errors and data.get("tell_ahead"):
            try:
                change = prices.foresee(
                    server=server,
                    model=data["terms"],
                    tool=tool,
                    tenant=data.get("tenant"),
                    effective_from=data["effective_from"],
                )
            except InvalidError as error:
                self.add_error(None, f"{error.message} {error.next_step}")
            else:
                data["effective_from"] = max(data["effective_from"], change.holds_from)
        return data

    def _clean_model(self, data: dict[str, Any]) -> None:
        given = data.get("model") or {"kind": "per_unit", "rate": data.get("rate")}
        try:
            data["terms"] = rating.parse(given)
        except InvalidError as error:
            field = "model" if data.get("model") else "rate"
            self.add_error(field, f"{error.data.get('field')}: {error.message}")
            return
        self.instance.model = data["model"] = rating.dump(data["terms"])
        self.instance.rate = data["rate"] = rating.quote(data["terms"])

    def validate_constraints(self) -> None:
        """The service makes room among the prices that there are, so the form asks nothing of them."""


@admin.register(PriceVersion)
class PriceVersionAdmin(ModelAdmin):
    """A price is set for a moment on and stays; another price replaces it from its own moment on."""

    form = PriceForm
    list_display = ("server", "tool", "tenant", "rate", "currency", "effective_from", "effective_to", "created_at")
    list_select_related = ("server", "tenant")
    list_filter = ("currency", "rises")
    search_fields = ("server__name", "server__slug", "tool", "tenant__slug")
    fields = ("server", "tool", "tenant", "model", "rate", "currency", "effective_from", "tell_ahead")
    list_per_page = 50

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fields
        return ("server", "tool", "tenant", "model", "rate", "currency", "effective_from", "effective_to", "created_by")

    def save_model(self, request: HttpRequest, obj: PriceVersion, form: Any, change: bool) -> None:
        """The service writes the row, its audit event and the word to the gateways; the admin shows what it wrote."""
        data, actor = form.cleaned_data, operator(request)
        if data["tell_ahead"]:
            price = prices.change_price(
                server=obj.server,
                model=data["terms"],
                actor=actor,
                tool=obj.tool,
                tenant=obj.tenant,
                effective_from=data["effective_from"],
            )
        else:
            price = prices.set_price(
                server=obj.server,
                model=data["terms"],
                tool=obj.tool,
                tenant=obj.tenant,
                currency=obj.currency,
                effective_from=obj.effective_from,
                actor=actor,
            )
        obj.pk = price.pk
