"""One function for each event of money. What is booked is what `billing.core.postings` says; how much of it is still there to
be moved is read from the ledger itself, under a lock of the invoice, so that the order of events does not matter.

Every function may be called again: it gives the booking that is there. An event that moves nothing books nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.db import connection, transaction

from billing.core import postings
from billing.core.postings import (
    AR,
    AVAILABLE,
    DEFERRED_SUBSCRIPTION,
    PENDING,
    STRIPE,
    Entry,
    Kind,
    Parts,
    Share,
    Taken,
)
from billing.core.shares import muldiv
from billing.models import LedgerTransaction, Prepayment
from billing.selectors import ledger as reading
from billing.services import ledger
from core.errors import ConflictError
from tenants.services import revisions

_LOCK_CLASS = 82


class Billed(Protocol):
    """What these events need to know of an invoice."""

    @property
    def pk(self) -> UUID: ...
    @property
    def tenant_id(self) -> UUID: ...
    @property
    def currency(self) -> str: ...


type_booked = LedgerTransaction | None


# -- Invoices


def invoice_opened(invoice: Billed, parts: Parts, *, at: datetime | None = None) -> type_booked:
    return _about(invoice, Kind.INVOICE_OPENED, f"inv:{invoice.pk}:open", lambda: postings.invoice_opened(parts), at=at)


def invoice_voided(invoice: Billed) -> type_booked:
    """The opposite of its opening. An invoice on which anything else was booked is not voided but credited."""
    key = f"inv:{invoice.pk}:void"
    with _deriving(invoice.pk):
        if (there := _there(key)) is not None:
            return there
        opened = _there(f"inv:{invoice.pk}:open")
        if opened is None:
            return None
        if LedgerTransaction.objects.filter(invoice_id=invoice.pk).exclude(pk=opened.pk).exists():
            raise ConflictError(
                "Something was booked on this invoice since it was opened.",
                code="billing.invoice_moved",
                next_step="Issue a credit note instead.",
            )
        return ledger.reverse(opened, Kind.INVOICE_VOIDED, key=key, source_type="invoice", source_id=invoice.pk)


def month_earned(invoice: Billed, minor: int, *, subscription_id: UUID, month: str, at: datetime) -> type_booked:
    """A month (`2026-11`) of a subscription has passed; credit notes may have taken some of it back before."""

    def entries() -> list[Entry]:
        left = -reading.of_invoice(invoice.pk, DEFERRED_SUBSCRIPTION)
        return postings.month_earned(max(min(minor, left), 0))

    return _about(invoice, Kind.MONTH_EARNED, f"sub:{subscription_id}:{month}:{invoice.pk}", entries, at=at)


def credit_used(invoice: Billed, minor: int, *, key: str = "") -> type_booked:
    """`key` tells several uses on one invoice apart."""
    name = f"inv:{invoice.pk}:credit" + (f":{key}" if key else "")
    return _about(invoice, Kind.CREDIT_USED, name, lambda: postings.credit_used(invoice.tenant_id, minor))


def promo_used(invoice: Billed, minor: int) -> type_booked:
    return _about(
        invoice, Kind.PROMO_USED, f"inv:{invoice.pk}:promo", lambda: postings.promo_used(invoice.tenant_id, minor)
    )


def credit_noted(
    invoice: Billed,
    *,
    note_id: UUID,
    shares: Mapping[UUID, int],
    platform: int,
    subscription: int = 0,
    credit: int = 0,
    tax: Mapping[str, int] | None = None,
) -> type_booked:
    """A credit note: what each provider and the platform give back, in minor units, all positive."""

    def entries() -> list[Entry]:
        taken = _taken(invoice, shares, platform=platform, subscription=subscription, credit=credit, tax=tax or {})
        return postings.credit_note(taken, unpaid=due(invoice))

    return _about(invoice, Kind.CREDIT_NOTE, f"cn:{note_id}", entries, source_type="credit_note", source_id=note_id)


def written_off(invoice: Billed) -> type_booked:
    """Nobody will pay what is due. Providers keep what of their shares was paid."""

    def entries() -> list[Entry]:
        owed, pending = due(invoice), _pending(invoice.pk)
        billed = _settled(invoice) + owed
        lost = {who: Share(pending=_part(left, owed, billed)) for who, left in pending.items()}
        return postings.write_off(invoice.tenant_id, lost, owed)

    return _about(invoice, Kind.WRITE_OFF, f"inv:{invoice.pk}:wo", entries)


def recovered(invoice: Billed) -> type_booked:
    """What was written off is paid after all; book it before the payment."""
    key = f"inv:{invoice.pk}:recovered"
    with _deriving(invoice.pk):
        if (there := _there(key)) is not None:
            return there
        off = _there(f"inv:{invoice.pk}:wo")
        if off is None:
            return None
        return ledger.reverse(off, Kind.RECOVERY, key=key, source_type="invoice", source_id=invoice.pk)


# -- Money that comes in and goes back


def payment_succeeded(
    invoice: Billed, minor: int, *, payment_id: str, into: str = STRIPE, at: datetime | None = None
) -> type_booked:
    """A payment of `minor` for an invoice; what is more than was due becomes the organisation's credit."""
    return _about(
        invoice,
        Kind.PAYMENT,
        f"pi:{payment_id}:succeeded",
        lambda: postings.payment(invoice.tenant_id, minor, due(invoice), into),
        source_type="payment",
        source_id=payment_id,
        at=at,
    )


def processor_fee(
    minor: int, *, currency: str, transaction_id: str, account: str = STRIPE, invoice_id: UUID | None = None
) -> type_booked:
    """What the processor kept of one of its balance transactions."""
    return _post(
        Kind.PROCESSOR_FEE,
        f"txn:{transaction_id}",
        postings.processor_fee(minor, account),
        currency,
        ("balance_transaction", transaction_id),
        invoice_id,
    )


def topped_up(tenant_id: UUID, minor: int, *, currency: str, payment_id: str, into: str = STRIPE) -> type_booked:
    entries = postings.top_up(tenant_id, minor, into)
    return _post(Kind.TOP_UP, f"topup:{payment_id}", entries, currency, ("payment", payment_id))


def top_up_disputed(minor: int, *, currency: str, dispute_id: str, out_of: str = STRIPE) -> type_booked:
    """As `dispute_opened`, of a payment that bought credit."""
    entries = postings.dispute_opened(minor, out_of)
    return _post(Kind.DISPUTE_OPENED, f"dp:{dispute_id}:open", entries, currency, ("dispute", dispute_id))


def top_up_dispute_won(minor: int, *, currency: str, dispute_id: str, into: str = STRIPE) -> type_booked:
    entries = postings.dispute_won(minor, into)
    return _post(Kind.DISPUTE_WON, f"dp:{dispute_id}:won", entries, currency, ("dispute", dispute_id))


def top_up_dispute_lost(
    tenant_id: UUID, minor: int, *, currency: str, dispute_id: str, fee: int = 0, out_of: str = STRIPE
) -> type_booked:
    """The credit that was bought is taken back as far as it is there; what was used of it is the platform's loss."""
    key = f"dp:{dispute_id}:lost"
    with _deriving(tenant_id):
        if (there := _there(key)) is not None:
            return there
        left = -reading.balance(postings.of(postings.CUSTOMER_CREDIT, tenant_id))
        taken = min(minor, max(left, 0))
        entries = postings.dispute_lost(Taken(tenant_id, balance=taken, earned=minor - taken), fee, out_of)
        return _post(Kind.DISPUTE_LOST, key, entries, currency, ("dispute", dispute_id))


def refunded(
    tenant_id: UUID, minor: int, *, currency: str, refund_id: str, out_of: str = STRIPE, invoice_id: UUID | None = None
) -> type_booked:
    """Money of the organisation's credit goes back to its card; the credit note that gave the credit is booked before."""
    entries = postings.refund(tenant_id, minor, out_of)
    return _post(Kind.REFUND, f"re:{refund_id}", entries, currency, ("refund", refund_id), invoice_id)


def refund_failed(
    tenant_id: UUID, minor: int, *, currency: str, refund_id: str, back_in: str = STRIPE, invoice_id: UUID | None = None
) -> type_booked:
    entries = postings.refund_failed(tenant_id, minor, back_in)
    return _post(Kind.REFUND_FAILED, f"re:{refund_id}:failed", entries, currency, ("refund", refund_id), invoice_id)


def dispute_opened(invoice: Billed, minor: int, *, dispute_id: str, out_of: str = STRIPE) -> type_booked:
    return _about(
        invoice,
        Kind.DISPUTE_OPENED,
        f"dp:{dispute_id}:open",
        lambda: postings.dispute_opened(minor, out_of),
        source_type="dispute",
        source_id=dispute_id,
    )


def dispute_won(invoice: Billed, minor: int, *, dispute_id: str, into: str = STRIPE) -> type_booked:
    return _about(
        invoice,
        Kind.DISPUTE_WON,
        f"dp:{dispute_id}:won",
        lambda: postings.dispute_won(minor, into),
        source_type="dispute",
        source_id=dispute_id,
    )


def dispute_lost(invoice: Billed, minor: int, *, dispute_id: str, fee: int = 0, out_of: str = STRIPE) -> type_booked:
    """The bank gave the payment back for good: everybody who earned by the invoice gives up the same part of it.

    What cannot be taken from anybody (subscription, tax, an amount beyond the invoice) is the platform's loss.
    """

    def entries() -> list[Entry]:
        earned = _earned(invoice.pk)
        total = max(sum(earned.values()), minor)
        shares = {
            UUID(postings.owner_of(code).id): _part(left, minor, total)
            for code, left in earned.items()
            if postings.family_of(code) == PENDING
        }
        fee_part = _part(earned.get(postings.PLATFORM_FEE, 0), minor, total)
        rest = minor - sum(shares.values()) - fee_part
        return postings.dispute_lost(_taken(invoice, shares, platform=fee_part, earned=rest), fee, out_of)

    return _about(
        invoice, Kind.DISPUTE_LOST, f"dp:{dispute_id}:lost", entries, source_type="dispute", source_id=dispute_id
    )


def transferred(source: str, target: str, minor: int, *, currency: str, transfer_id: str) -> type_booked:
    """Our own money went from one place to another."""
    entries = postings.transfer(source, target, minor)
    return _post(Kind.TRANSFER, f"mv:{transfer_id}", entries, currency, ("transfer", transfer_id))


def paid_to_bank(minor: int, *, currency: str, movement_id: str, at: datetime) -> type_booked:
    """Stripe paid what it holds to our bank. `minor` is what that did to its balance: above zero, a payout came back."""
    entries = postings.transfer(STRIPE, postings.BANK, -minor)
    return _post(Kind.TRANSFER, f"mv:{movement_id}", entries, currency, ("balance_transaction", movement_id), at=at)


# -- Providers


def released(invoice: Billed, provider_id: UUID, minor: int, *, part: str) -> type_booked:
    """`part` is `main` or `reserve`: each is released once for an invoice and a provider."""
    key = f"rel:{invoice.pk}:{provider_id}" + ("" if part == "main" else f":{part}")
    return _about(invoice, Kind.RELEASE, key, lambda: postings.release(provider_id, minor))


def payout_reserved(item_id: UUID, provider_id: UUID, minor: int, *, currency: str) -> type_booked:
    entries = postings.payout_reserved(provider_id, minor)
    return _post(Kind.PAYOUT_RESERVED, f"po:{item_id}:reserve", entries, currency, ("payout", item_id))


def payout_done(item_id: UUID, provider_id: UUID, minor: int, *, currency: str, out_of: str) -> type_booked:
    entries = postings.payout_done(provider_id, minor, out_of)
    return _post(Kind.PAYOUT_DONE, f"po:{item_id}:done", entries, currency, ("payout", item_id))


def payout_failed(
    item_id: UUID, provider_id: UUID, minor: int, *, currency: str, number: int = 1, back_in: str = ""
) -> type_booked:
    """`back_in` names where the money came back to when the payout had counted as done."""
    entries = postings.payout_failed(provider_id, minor, back_in)
    return _post(Kind.PAYOUT_FAILED, f"po:{item_id}:fail:{number}", entries, currency, ("payout", item_id))


def payout_fee(item_id: UUID, minor: int, *, currency: str, out_of: str) -> type_booked:
    entries = postings.payout_fee(minor, out_of)
    return _post(Kind.PAYOUT_FEE, f"po:{item_id}:fee", entries, currency, ("payout", item_id))


# -- What the ledger says of an invoice


def due(invoice: Billed) -> int:
    """What the organisation still owes for an invoice."""
    return reading.of_invoice(invoice.pk, postings.of(AR, invoice.tenant_id))


def pending_of(invoice_id: UUID, provider_id: UUID) -> int:
    """What of a provider's share of an invoice is not released."""
    return -reading.of_invoice(invoice_id, postings.of(PENDING, provider_id))


def disputed(invoice_id: UUID) -> int:
    """What of an invoice's payment a bank holds until it has decided."""
    return reading.of_invoice(invoice_id, postings.DISPUTED)


def _pending(invoice_id: UUID) -> dict[UUID, int]:
    rows = reading.families_of_invoice(invoice_id, [PENDING])
    return {UUID(postings.owner_of(code).id): -left for code, left in rows.items()}


def _earned(invoice_id: UUID) -> dict[str, int]:
    """What everybody has of an invoice, by code; a provider's released share counts under its pending account."""
    rows = reading.families_of_invoice(
        invoice_id,
        [PENDING, AVAILABLE, postings.PLATFORM_FEE, DEFERRED_SUBSCRIPTION, postings.SUBSCRIPTION, postings.TAX],
    )
    found: dict[str, int] = {}
    for code, amount in rows.items():
        name = code.replace(AVAILABLE, PENDING, 1)
        found[name] = found.get(name, 0) - amount
    return found


def _settled(invoice: Billed) -> int:
    """What was paid of an invoice, by card, credit or promotion."""
    kinds = (Kind.PAYMENT, Kind.CREDIT_USED, Kind.PROMO_USED)
    return -reading.of_invoice(invoice.pk, postings.of(AR, invoice.tenant_id), kinds=kinds)


def _taken(
    invoice: Billed,
    shares: Mapping[UUID, int],
    *,
    platform: int,
    subscription: int = 0,
    earned: int = 0,
    credit: int = 0,
    tax: Mapping[str, int] | None = None,
) -> Taken:
    """Split what is taken into what still waits and what was already given on; the latter is netted from later payouts."""
    waiting = _pending(invoice.pk)
    deferred = min(subscription, max(-reading.of_invoice(invoice.pk, DEFERRED_SUBSCRIPTION), 0))
    split = {who: min(minor, max(waiting.get(who, 0), 0)) for who, minor in shares.items()}
    return Taken(
        invoice.tenant_id,
        {who: Share(split[who], minor - split[who]) for who, minor in shares.items()},
        platform=platform,
        deferred=deferred,
        earned=earned + subscription - deferred,
        credit=credit,
        tax=tax or {},
    )


def _part(whole: int, some: int, total: int) -> int:
    """So much of `whole` as `some` is of `total`."""
    return muldiv(whole, some, total) if total > 0 else 0


# -- Booking


def _about(
    invoice: Billed,
    kind: Kind,
    key: str,
    entries: Callable[[], list[Entry]],
    *,
    source_type: str = "invoice",
    source_id: object = None,
    at: datetime | None = None,
) -> type_booked:
    """Book an event of an invoice whose entries may depend on what was booked before."""
    with _deriving(invoice.pk):
        if (there := _there(key)) is not None:
            return there
        source = (source_type, invoice.pk if source_id is None else source_id)
        return _post(kind, key, entries(), invoice.currency, source, invoice.pk, at)


def _post(
    kind: Kind,
    key: str,
    entries: list[Entry],
    currency: str,
    source: tuple[str, object],
    invoice_id: UUID | None = None,
    at: datetime | None = None,
) -> type_booked:
    if not entries:
        return None
    booked = ledger.post(
        kind,
        key=key,
        source_type=source[0],
        source_id=source[1],
        entries=entries,
        currency=currency,
        invoice_id=invoice_id,
        effective_at=at,
    )
    _tell_gateways(entries)
    return booked


def _tell_gateways(entries: list[Entry]) -> None:
    """Credit that changes changes what an organisation that pays ahead may call.

    After the booking: whoever locks an organisation's credit and its row does so in this order.
    """
    owners = [postings.owner_of(code).id for code, _ in entries if postings.family_of(code) == postings.CUSTOMER_CREDIT]
    for tenant_id in Prepayment.objects.filter(tenant_id__in=owners, is_prepaid=True).values_list(
        "tenant_id", flat=True
    ):
        revisions.touch(tenant_id)


def _there(key: str) -> type_booked:
    return LedgerTransaction.objects.filter(idempotency_key=key).first()


@contextmanager
def _deriving(invoice_id: UUID) -> Iterator[None]:
    """One event of an invoice after the other: each reads what those before it have booked."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, str(invoice_id)])
        yield
