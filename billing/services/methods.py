"""Cards of an organisation. They are entered on a page of the payment provider and never pass through here."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit import services as audit
from billing.gateways import stripe
from billing.gateways.protocols import Card, Setup
from billing.models import UNDER_WAY, PaymentAttempt, PaymentCustomer, PaymentMethod
from core import clock
from core.errors import ConflictError, InvalidError, NotFoundError
from tenants.models import Tenant


def begin_setup(tenant: Tenant, *, email: str, back: str, leave: str, currency: str = "USD") -> Setup:
    """Where to send a person who enters a card; they come back to `back?session=<id>`, or to `leave`."""
    customer = customer_of(tenant, email=email)
    return stripe.gateway().begin_setup(customer=customer, back=back, leave=leave, currency=currency)


def customer_of(tenant: Tenant, *, email: str) -> str:
    """The organisation's customer at the provider, made when it has none. The provider makes one per organisation."""
    known = PaymentCustomer.objects.filter(tenant=tenant).first()
    if known is not None:
        return known.external_id
    made = stripe.gateway().ensure_customer(tenant=str(tenant.pk), name=tenant.name, email=email)
    row, _ = PaymentCustomer.objects.get_or_create(tenant=tenant, defaults={"external_id": made})
    return row.external_id


def finish_setup(tenant: Tenant, setup: str, *, actor: audit.Party) -> PaymentMethod | None:
    """Take over the card of a page that was filled in; None when it was left. Twice is once.

    Raises NotFoundError for a page that was not this organisation's.
    """
    result = stripe.gateway().setup_result(setup)
    known = PaymentCustomer.objects.filter(tenant=tenant).first()
    if known is None or result.customer != known.external_id:
        raise NotFoundError("This page for a card was not begun by this organisation.", code="billing.setup_unknown")
    return None if result.card is None else _keep(tenant, result.card, actor)


def _keep(tenant: Tenant, card: Card, actor: audit.Party) -> PaymentMethod:
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        there = PaymentMethod.objects.filter(external_id=card.id).first()
        if there is not None:
            return there
        is_first = not PaymentMethod.objects.filter(tenant=tenant, is_default=True, removed_at=None).exists()
        method = PaymentMethod.objects.create(
            tenant=tenant,
            external_id=card.id,
            brand=card.brand,
            last4=card.last4,
            exp_month=card.exp_month,
            exp_year=card.exp_year,
            fingerprint=card.fingerprint,
            is_default=is_first,
        )
        _note("saved", method, actor)
    return method


def make_default(method: PaymentMethod, *, actor: audit.Party) -> None:
    """Charge this card from now on."""
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=method.tenant_id)
        method.refresh_from_db()
        if method.removed_at is not None:
            raise ConflictError("This card was removed.", code="billing.card_removed")
        PaymentMethod.objects.filter(tenant_id=method.tenant_id, is_default=True).update(is_default=False)
        method.is_default = True
        method.save(update_fields=["is_default", "updated_at"])
        _note("default", method, actor)


def remove(method: PaymentMethod, *, actor: audit.Party) -> None:
    """Forget a card, here and at the provider. Raises ConflictError while a payment with it is under way."""
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=method.tenant_id)
        method.refresh_from_db()
        if method.removed_at is not None:
            return
        if PaymentAttempt.objects.filter(method=method, state__in=UNDER_WAY).exists():
            raise ConflictError(
                "A payment with this card is under way.",
                code="billing.card_in_use",
                next_step="Wait until it has ended, or confirm it.",
            )
        method.removed_at, method.is_default = clock.now(), False
        method.save(update_fields=["removed_at", "is_default", "updated_at"])
        _note("removed", method, actor)
    stripe.gateway().forget(method.external_id)


def of_tenant(tenant: Tenant) -> list[PaymentMethod]:
    return list(PaymentMethod.objects.filter(tenant=tenant, removed_at=None))


def find(tenant: Tenant, method_id: UUID) -> PaymentMethod:
    """Raises NotFoundError for what is not a card of this organisation."""
    found = PaymentMethod.objects.filter(tenant=tenant, removed_at=None, pk=method_id).first()
    if found is None:
        raise NotFoundError
    return found


def default_of(tenant_id: UUID) -> PaymentMethod | None:
    return PaymentMethod.objects.filter(tenant_id=tenant_id, is_default=True, removed_at=None).first()


def need_default(tenant_id: UUID) -> PaymentMethod:
    method = default_of(tenant_id)
    if method is None:
        raise InvalidError("There is no card to charge.", code="billing.no_card", next_step="Save a card first.")
    return method


def _note(what: str, method: PaymentMethod, actor: audit.Party) -> None:
    target = audit.Party("card", str(method.pk), str(method))
    audit.record(f"billing:card:{what}", actor=actor, target=target, data={"tenant": str(method.tenant_id)})
