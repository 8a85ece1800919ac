"""What two operators decide, in the admin: to be read. It is decided on the pages under `/operations/billing/`."""

from __future__ import annotations

from django.contrib import admin

from billing.models import Proposal
from core.admin import ReadOnlyAdmin


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display = ("act", "invoice", "amount", "state", "proposed_label", "decided_label", "created_at")
    list_filter = ("act", "state")
    list_select_related = ("invoice",)
    search_fields = ("invoice__number", "proposed_label", "decided_label")
