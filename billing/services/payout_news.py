"""Telling people about payouts: the provider's owners, and operators when a batch waits for them."""

from __future__ import annotations

from django.db import transaction
from django.urls import reverse

from billing.models import PayoutBatch, PayoutItem, ProviderAccount
from notifications import services as notifications
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant, User
from tenants.selectors.people import holders


def batch_waits(batch: PayoutBatch) -> None:
    with platform_scope():
        for person in User.objects.filter(is_staff=True, is_active=True):
            notifications.notify(
                kind="billing.payouts_wait",
                title=f"Payouts wait for approval: {batch}",
                body=f"{batch.items.count()} providers are to be paid. Two operators have to approve the batch.",
                url=reverse("operations-billing-payouts"),
                recipient_id=person.pk,
            )


def paid(item: PayoutItem) -> None:
    _tell(
        item.provider.tenant,
        "billing.payout_paid",
        f"{item.amount} of earnings was paid out",
        "The statement says of what.",
    )


def not_paid(item: PayoutItem) -> None:
    body = f"It did not arrive: {item.reason}. The amount is available again and goes out with the next payout."
    _tell(item.provider.tenant, "billing.payout_failed", f"A payout of {item.amount} did not arrive", body, mail=True)


def method_changed(account: ProviderAccount, by: User, rests_until: str) -> None:
    body = (
        f"{by.email} changed where earnings are paid to. Nothing is paid there before {rests_until} UTC. If that was not agreed, "
        "change it back now and tell an operator of the platform."
    )
    _tell(account.provider.tenant, "billing.payout_method", "The payout method was changed", body, mail=True)


def _tell(organisation: Tenant, kind: str, title: str, body: str, *, mail: bool = False) -> None:
    with tenant_scope(organisation), transaction.atomic():
        for person in holders(organisation, Right.MANAGE_SETTINGS):
            notifications.notify(
                kind=kind,
                title=title,
                body=body,
                url=reverse("org:earnings", args=[organisation.slug]),
                recipient_id=person.pk,
                email=person.email if mail else "",
            )
