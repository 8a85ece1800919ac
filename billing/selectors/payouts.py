"""Payouts for operators: batches with what they pay, and payees with what they still have to do."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Sum, Value, When

from billing.models import PayoutBatch, PayoutItem, ProviderAccount
from core.money import Money

_WAITING_FIRST = Case(
    When(state=PayoutBatch.State.WAITING, then=Value(0)), default=Value(1), output_field=IntegerField()
)


def batches() -> QuerySet[PayoutBatch]:
    counted = PayoutBatch.objects.annotate(payees=Count("items"), minor=Sum("items__minor"))
    return counted.order_by(_WAITING_FIRST, "-created_at")


def batch(batch_id: UUID) -> PayoutBatch | None:
    return PayoutBatch.objects.prefetch_related("approvals").filter(pk=batch_id).first()


def items(batch: PayoutBatch) -> QuerySet[PayoutItem]:
    return batch.items.select_related("provider__tenant", "statement").order_by("provider__name", "pk")


def total(batch: PayoutBatch) -> Money:
    return Money(batch.items.aggregate(sum=Sum("minor"))["sum"] or 0, batch.currency)


def payees(q: str = "") -> QuerySet[ProviderAccount]:
    rows = ProviderAccount.objects.select_related("provider__tenant").order_by("known_at", "provider__name")
    return rows.filter(Q(provider__name__icontains=q) | Q(legal_name__icontains=q)) if q else rows
