"""The ledger and payouts in the admin: to read. What moves money has pages of its own under /operations/billing/."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from billing.models import (
    EarningRelease,
    LedgerAccount,
    LedgerTransaction,
    PayoutBatch,
    PayoutItem,
    ProviderAccount,
    Statement,
)


class ReadOnlyAdmin(ModelAdmin):
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    list_display = ("code", "currency", "tenant", "provider", "created_at")
    list_select_related = ("tenant", "provider")
    list_filter = ("type", "currency")
    search_fields = ("code",)


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ReadOnlyAdmin):
    list_display = ("idempotency_key", "kind", "source_type", "source_id", "booked_at")
    list_filter = ("kind",)
    search_fields = ("idempotency_key", "source_id")


@admin.register(ProviderAccount)
class ProviderAccountAdmin(ReadOnlyAdmin):
    list_display = ("provider", "state", "rail", "country", "tax_form_at", "known_at")
    list_select_related = ("provider",)
    list_filter = ("state", "rail")
    search_fields = ("provider__name", "legal_name")


@admin.register(EarningRelease)
class EarningReleaseAdmin(ReadOnlyAdmin):
    list_display = ("provider", "invoice", "part", "due_at", "released_at", "minor", "held_for")
    list_select_related = ("provider", "invoice")
    list_filter = ("part",)


@admin.register(PayoutBatch)
class PayoutBatchAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "state", "currency", "created_at", "sent_at", "finished_at")
    list_filter = ("state", "rail")


@admin.register(PayoutItem)
class PayoutItemAdmin(ReadOnlyAdmin):
    list_display = ("provider", "batch", "minor", "currency", "state", "rail_status", "created_at")
    list_select_related = ("provider", "batch")
    list_filter = ("state",)


@admin.register(Statement)
class StatementAdmin(ReadOnlyAdmin):
    list_display = ("number", "provider", "paid_minor", "currency", "made_at")
    list_select_related = ("provider",)
    search_fields = ("number",)
