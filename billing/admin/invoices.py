"""Invoices in the operators' admin: to be read. What may be done is on the pages under `/operations/billing/`."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin

from billing.models import BillingProfile, CreditNote, Invoice
from core.admin import ReadOnlyAdmin


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = ("number", "tenant", "month", "state", "total", "due_at")
    list_filter = ("state", "month")
    list_select_related = ("tenant",)
    search_fields = ("number", "tenant__name", "tenant__slug")


@admin.register(CreditNote)
class CreditNoteAdmin(ReadOnlyAdmin):
    list_display = ("number", "tenant", "invoice", "total", "reason", "issued_at")
    list_select_related = ("tenant", "invoice")
    search_fields = ("number", "invoice__number", "tenant__name")


@admin.register(BillingProfile)
class BillingProfileAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "legal_name", "country", "tax_id")
    list_select_related = ("tenant",)
    search_fields: ClassVar[tuple[str, ...]] = ("tenant__name", "legal_name", "tax_id")
