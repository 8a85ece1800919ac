from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from audit.admin import AuditedAdmin, operator
from billing.models import Plan, PlanVersion, RevenueAgreement, Subscription
from billing.services import agreements, plans
from core.errors import MarketplaceError


class KeptAdmin(AuditedAdmin):
    """Rows that are added and stay as they are."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Plan)
class PlanAdmin(AuditedAdmin):
    list_display = ("name", "slug", "rank", "self_service")
    fields = ("slug", "name", "summary", "rank", "self_service")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(PlanVersion)
class PlanVersionAdmin(KeptAdmin):
    """The terms of a plan; other terms follow from their own moment on. With an organisation: its contract."""

    list_display = ("plan", "tenant", "price_minor", "calls_per_month", "requests_per_minute", "effective_from")
    list_select_related = ("plan", "tenant")
    list_filter = ("plan",)
    fields = (
        "plan", "tenant", "currency", "price_minor", "included_minor", "calls_per_day", "calls_per_month", "calls_hard",
        "requests_per_minute", "spend_minor", "effective_from",
    )  # fmt: skip

    def save_model(self, request: HttpRequest, obj: PlanVersion, form: Any, change: bool) -> None:
        obj.created_by = operator(request).label[:254]
        super().save_model(request, obj, form, change)


class SubscriptionForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    plan = forms.ModelChoiceField(Plan.objects.all(), help_text="By the terms agreed with the organisation, if any.")

    class Meta:
        model = Subscription
        fields = ("tenant",)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                plans.foresee(data["tenant"], data["plan"], by_operator=True)
            except MarketplaceError as error:
                self.add_error("plan", error.message)
        return data


@admin.register(Subscription)
class SubscriptionAdmin(ModelAdmin):
    """Which organisation is on which plan; here operators put one on a plan that is agreed with them."""

    form = SubscriptionForm
    list_display = ("tenant", "plan_version", "starts_at", "ends_at", "created_by")
    list_select_related = ("tenant", "plan_version__plan")
    search_fields = ("tenant__slug", "tenant__name")
    list_per_page = 50

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ("tenant", "plan")
        return ("tenant", "plan_version", "starts_at", "ends_at", "created_by")

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        data = form.cleaned_data
        row = plans.subscribe(tenant=data["tenant"], plan=data["plan"], actor=operator(request), by_operator=True)
        obj.pk, obj.plan_version = row.pk, row.plan_version


@admin.register(RevenueAgreement)
class RevenueAgreementAdmin(KeptAdmin):
    """What share providers keep; without a provider: all that have no own agreement."""

    list_display = ("provider", "bps", "effective_from", "reason", "created_by")
    list_select_related = ("provider",)
    fields = ("provider", "bps", "effective_from", "reason")

    def save_model(self, request: HttpRequest, obj: RevenueAgreement, form: Any, change: bool) -> None:
        row = agreements.agree(
            provider=obj.provider,
            bps=obj.bps,
            actor=operator(request),
            effective_from=obj.effective_from,
            reason=obj.reason,
        )
        obj.pk = row.pk
