"""Buying credit with a saved card, and sending back what of it was not used.

An attempt to buy is one of `payments`: committed with its key before the provider is asked, and asked about under it until the
outcome is known. `once` names what somebody asked for, so that a form that is sent twice buys once.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from audit import services as audit
from billing.core.postings import CUSTOMER_CREDIT, of
from billing.models import UNDER_WAY, AttemptState, LedgerAccount, PaymentAttempt, PaymentCustomer, Refund
from billing.selectors import credit
from billing.services import methods, payments, refunds
from core import jobs
from core.errors import ConflictError, InvalidError, NotFoundError
from core.money import Money
from notifications.models import Notification
from notifications.services import messages
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant
from tenants.selectors.people import holders
from tenants.services import revisions

_KIND = "billing.credit"


def buy(tenant: Tenant, minor: int, *, once: str, actor: audit.Party, automatic: bool = False) -> PaymentAttempt:
    """Charge the organisation's card for credit; what was asked for under the same `once` is not asked for again.

    One purchase is under way at a time; one that waits for the card's holder is cancelled first. Raises InvalidError for an
    amount that is not sold and without a card, ConflictError while another one is under way, UnknownOutcomeError when the
    provider did not say: it is asked again by itself.
    """
    name = uuid5(tenant.pk, once)
    there = PaymentAttempt.objects.filter(pk=name).first()
    if there is None:
        check_amount(minor)
        payments.end_waiting(credit.top_ups(tenant))
        there = _begin(tenant, name, minor, actor, automatic=automatic)
    return payments.resolve(there.pk)


def check_amount(minor: int, field: str = "amount") -> None:
    """Raises InvalidError for an amount that is not sold."""
    least, most = (Money(each, settings.BILLING_CURRENCY) for each in (settings.TOP_UP_MIN, settings.TOP_UP_MAX))
    if not least.minor <= minor <= most.minor:
        raise InvalidError(f"Credit is bought for {least} to {most}.", code="billing.top_up_amount", field=field)


@transaction.atomic
def _begin(tenant: Tenant, name: UUID, minor: int, actor: audit.Party, *, automatic: bool) -> PaymentAttempt:
    Tenant.objects.select_for_update().get(pk=tenant.pk)
    there = PaymentAttempt.objects.filter(pk=name).first()
    if there is not None:
        return there
    if credit.top_ups(tenant).filter(state__in=UNDER_WAY).exists():
        raise ConflictError(
            "Credit is being bought already.",
            code="billing.top_up_under_way",
            next_step="Wait until that has ended; the list of payments says how it stands.",
        )
    method = methods.need_default(tenant.pk)
    attempt = PaymentAttempt.objects.create(
        id=name,
        tenant=tenant,
        method=method,
        customer=PaymentCustomer.objects.get(tenant=tenant).external_id,
        automatic=automatic,
        minor=minor,
        currency=settings.BILLING_CURRENCY,
        key=f"attempt:{name}",
    )
    payments.note("attempted", attempt, actor)
    return attempt


def send_back(tenant: Tenant, minor: int, *, once: str, actor: audit.Party) -> list[Refund]:
    """Send unused credit back to the cards that bought it, the newest purchase first; jobs ask the provider for it.

    Raises InvalidError for more than is unused, or than was bought by card.
    """
    key = f"unused:{uuid5(tenant.pk, once)}"
    with transaction.atomic():
        # Invoices that are opened use credit under the same lock.
        LedgerAccount.objects.filter(code=of(CUSTOMER_CREDIT, tenant.pk)).select_for_update().first()
        there = list(Refund.objects.filter(tenant=tenant, key__startswith=f"{key}:").order_by("pk"))
        if there:
            return there
        most = Money(credit.refundable(tenant), settings.BILLING_CURRENCY)
        if not 0 < minor <= most.minor:
            raise InvalidError(
                f"Up to {most} can go back to your cards.", code="billing.credit_not_refundable", field="amount"
            )
        found = _spread(tenant, minor, key, actor)
        revisions.touch(tenant.pk)
    return found


def _spread(tenant: Tenant, minor: int, key: str, actor: audit.Party) -> list[Refund]:
    found = []
    for attempt in credit.refundable_from(tenant):
        part = min(minor, attempt.minor - attempt.refunded_minor)
        if part > 0:
            row = refunds.ask(attempt, part, key=f"{key}:{attempt.pk}", reason="Unused credit", actor=actor)
            jobs.enqueue("billing.resolve_refund", refund_id=str(row.pk))
            found.append(row)
            minor -= part
    return found


def find(tenant: Tenant, attempt_id: UUID) -> PaymentAttempt:
    """Raises NotFoundError for what is no purchase of this organisation's."""
    found = credit.top_ups(tenant).filter(pk=attempt_id).first()
    if found is None:
        raise NotFoundError("There is no such purchase of credit.", next_step="See the list of payments.")
    return found


def tell(attempt_id: UUID) -> None:
    """The receipt of a purchase, or what is to be done about one that was made by itself; once."""
    with platform_scope():
        attempt = PaymentAttempt.objects.select_related("tenant", "method").get(pk=attempt_id)
    here = {"org": attempt.tenant.slug}
    if attempt.state == AttemptState.SUCCEEDED:
        title = f"Receipt: {attempt.amount} of credit"
        body = f"{attempt.method} was charged {attempt.amount}. It pays for calls and invoices from now on."
        tell_people(
            attempt.tenant, title, body, reverse("org:credit-receipt", kwargs={**here, "top_up_id": attempt.pk})
        )
    elif attempt.state == AttemptState.NEEDS_HOLDER:
        body = f"Credit ran low, and your bank asks you to confirm {attempt.amount}."
        tell_people(attempt.tenant, "Confirm the purchase of credit", body, reverse("org:credit", kwargs=here))
    elif attempt.state == AttemptState.DECLINED:
        body = (
            f"Credit ran low, and {attempt.method} could not be charged {attempt.amount}. Save another card, or buy credit "
            "yourself; it is not tried again today."
        )
        tell_people(attempt.tenant, "Credit could not be bought", body, reverse("org:credit", kwargs=here))


def tell_people(tenant: Tenant, title: str, body: str, url: str) -> None:
    """To everybody who may pay; not again in the same words while they are unread."""
    with platform_scope():
        found = [(person.pk, person.email) for person in holders(tenant, Right.MANAGE_BILLING)]
    with tenant_scope(tenant), transaction.atomic():
        for user_id, email in found:
            told = Notification.objects.filter(
                kind=_KIND, recipient_id=user_id, title=title, body=body, url=url, read_at=None
            )
            if not told.exists():
                messages.notify(kind=_KIND, title=title, body=body, url=url, recipient_id=user_id, email=email)
