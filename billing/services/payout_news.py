"""Telling people about payouts: the provider's owners, and operators when a batch waits for them."""

from __future__ import annotations

from django.db import transaction
from django.urls import reverse

from billing.models import PayoutBatch, PayoutItem, ProviderAccount
from billing.services import four_eyes
from notifications import services as notifications
from tenants.choices import Right
from tenants.context import tenant_scope
from tenants.models import Tenant, User
from tenants.selectors.people import holders


def batch_waits(batch: PayoutBatch) -> None:
    four_eyes.tell_operators(
        kind="billing.payouts_wait",
        title=f"Payouts wait for approval: {batch}",
        body=f"{batch.items.count()} providers are to be paid. Two operators have to approve the batch.",
        url=reverse("operations-billing-payouts"),
    )


def paid(item: PayoutItem) -> None:
    organisation = item.provider.tenant
    statement = reverse("org:earnings-statement", args=[organisation.slug, item.pk])
    body = "The self-billed statement says of what; there is a PDF for your books."
    title = f"{item.amount} of earnings was paid out"
    _tell(organisation, "billing.payout_paid", title, body, mail=True, url=statement)


def not_paid(item: PayoutItem) -> None:
    body = f"It did not arrive: {item.reason}. The amount is available again and goes out with the next payout."
    _tell(item.provider.tenant, "billing.payout_failed", f"A payout of {item.amount} did not arrive", body, mail=True)


def method_changed(account: ProviderAccount, by: User, rests_until: str) -> None:
    body = (
        f"{by.email} changed where earnings are paid to. Nothing is paid there before {rests_until} UTC. If that was not agreed, "
        "change it back now and tell an operator of the platform."
    )
    _tell(account.provider.tenant, "billing.payout_method", "The payout method was changed", body, mail=True)


def _tell(organisation: Tenant, kind: str, title: str, body: str, *, mail: bool = False, url: str = "") -> None:
    with tenant_scope(organisation), transaction.atomic():
        for person in holders(organisation, Right.MANAGE_SETTINGS):
            notifications.notify(
                kind=kind,
                title=title,
                body=body,
                url=url or reverse("org:earnings", args=[organisation.slug]),
                recipient_id=person.pk,
                email=person.email if mail else "",
            )
