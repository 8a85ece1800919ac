"""What an operator has to look at about money: everything that does not pass by itself, in one place, the oldest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from billing.core import postings
from billing.models import (
    AttemptState,
    Dispute,
    EarningRelease,
    JobFailure,
    PaymentAttempt,
    PayoutBatch,
    PayoutItem,
    ProviderAccount,
    ReceiptState,
    Refund,
    RefundState,
    WebhookReceipt,
)
from billing.selectors import invoices, ledger, proposals, reconciliation
from core import clock
from core.money import Money

# An answer that was lost is asked for each minute: after an hour something is wrong that asking does not mend.
UNKNOWN_FOR = timedelta(hours=1)
SHOWN = 20
# States of PayPal in which money neither arrives nor comes back for a while.
_STUCK = ("ONHOLD", "UNCLAIMED", "BLOCKED")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to look at: where it is decided, since when it is so, and until when it must be, if that is so."""

    what: str
    detail: str
    url: str
    since: datetime
    amount: Money | None = None
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Things of one kind. `hint` says what to do about them, `more` how many are not shown."""

    key: str
    title: str
    hint: str
    rows: list[Row]
    more: int = 0

    @property
    def count(self) -> int:
        return len(self.rows) + self.more


def sections() -> list[Section]:
    """Every kind, empty ones too: that nothing is wrong is worth knowing."""
    return [_section(key, title, hint, rows()) for key, title, hint, rows in _KINDS]


def _section(key: str, title: str, hint: str, rows: Iterable[Row]) -> Section:
    found = list(islice(rows, SHOWN * 50))
    return Section(key, title, hint, found[:SHOWN], max(0, len(found) - SHOWN))


# -- What waits for a decision


def _decisions() -> Iterable[Row]:
    for proposal in proposals.waiting():
        url = reverse("operations-billing-proposal", args=[proposal.pk])
        detail = f"{proposal.invoice.tenant.name}, proposed by {proposal.proposed_label}"
        yield Row(str(proposal), detail, url, proposal.created_at, proposal.amount)
    for batch in PayoutBatch.objects.filter(state=PayoutBatch.State.WAITING).order_by("created_at"):
        url = reverse("operations-billing-payout", args=[batch.pk])
        total = sum(batch.items.values_list("minor", flat=True))
        yield Row(f"Payouts {batch}", "Two operators approve it", url, batch.created_at, Money(total, batch.currency))
    for draft in invoices.drafts():
        if draft.warnings:
            url = reverse("operations-invoice", args=[draft.pk])
            words = " ".join(str(warning["text"]) for warning in draft.warnings)
            yield Row(f"{draft}, {draft.tenant.name}", words, url, draft.created_at, draft.total)


# -- What differs


def _differences() -> Iterable[Row]:
    for run in reconciliation.newest_runs():
        if run.error:
            url = reverse("operations-billing-reconciliation")
            yield Row(f"{run.get_provider_display()} could not be asked", run.error, url, run.created_at)
    for item in reconciliation.red_items():
        url = reverse("operations-billing-reconciliation-item", args=[item.pk])
        detail = f"{item.get_provider_display()}: {item.get_fault_display().lower()}"
        yield Row(item.reference, detail, url, item.found_at, item.difference)


# -- What nobody knows the outcome of


def _unknown() -> Iterable[Row]:
    before = clock.now() - UNKNOWN_FOR
    attempts = PaymentAttempt.objects.filter(state=AttemptState.ASKING, created_at__lte=before)
    for attempt in attempts.select_related("invoice", "tenant").order_by("created_at"):
        what = f"Payment of {attempt.subject}"
        yield Row(what, attempt.tenant.name, _about(attempt), attempt.created_at, attempt.amount)
    asked = Refund.objects.filter(state=RefundState.ASKING, created_at__lte=before)
    for refund in asked.select_related("attempt__invoice", "attempt__tenant").order_by("created_at"):
        what = f"Refund of {refund.attempt.subject}"
        yield Row(what, refund.attempt.tenant.name, _about(refund.attempt), refund.created_at, refund.amount)
    for batch in PayoutBatch.objects.filter(state=PayoutBatch.State.SENDING, decided_at__lte=before):
        url = reverse("operations-billing-payout", args=[batch.pk])
        yield Row(f"Payouts {batch}", batch.last_error or "No answer yet", url, batch.decided_at or batch.created_at)


# -- What banks decide


def _disputes() -> Iterable[Row]:
    """Those whose evidence is due first; the ones without a day last."""
    rows = Dispute.objects.filter(state="open").select_related("attempt__invoice", "attempt__tenant")
    far = clock.now() + timedelta(days=3650)
    for dispute in sorted(rows, key=lambda row: row.due_at or far):
        attempt = dispute.attempt
        detail = f"{attempt.tenant.name}: {dispute.reason.replace('_', ' ')}"
        what = f"Payment of {attempt.subject}"
        yield Row(what, detail, _about(attempt), dispute.created_at, dispute.amount, dispute.due_at)


def _about(attempt: PaymentAttempt) -> str:
    """Where an operator sees what a payment is for."""
    if attempt.invoice_id is not None:
        return reverse("operations-invoice", args=[attempt.invoice_id])
    return f"{reverse('operations-billing-ledger')}?q={attempt.external_id or attempt.pk}"


# -- What failed


def _failures() -> Iterable[Row]:
    for failure in JobFailure.objects.filter(ended_at=None).order_by("failed_at"):
        times = f", {failure.times} times" if failure.times > 1 else ""
        detail = f"{failure.error}{times} {failure.arguments if failure.arguments != '{}' else ''}".strip()
        yield Row(failure.job, detail, "", failure.failed_at)
    dead = WebhookReceipt.objects.filter(state=ReceiptState.DEAD).defer("body").order_by("created_at")
    for receipt in dead:
        url = reverse("operations-payment-events")
        yield Row(f"Event {receipt.kind}", f"{receipt.provider}: {receipt.error}", url, receipt.created_at)


# -- What is not paid out


def _held() -> Iterable[Row]:
    yield from _held_releases()
    yield from _stuck_items()
    for account in _payees():
        minor = -ledger.balance(postings.of(postings.AVAILABLE, account.provider_id))
        if minor >= _least(account):
            money = Money(minor, settings.BILLING_CURRENCY)
            url = reverse("operations-billing-payees")
            yield Row(account.provider.name, _why_not(account), url, account.updated_at, money)


def _held_releases() -> Iterable[Row]:
    rows = EarningRelease.objects.filter(released_at=None, due_at__lte=clock.now()).exclude(held_for="")
    for release in rows.select_related("provider", "invoice").order_by("due_at"):
        url = reverse("operations-invoice", args=[release.invoice_id])
        yield Row(f"{release.provider.name}, {release.invoice}", f"Held for {release.held_for}", url, release.due_at)


def _stuck_items() -> Iterable[Row]:
    rows = PayoutItem.objects.filter(state=PayoutItem.State.TRAVELLING, rail_status__in=_STUCK)
    for item in rows.select_related("provider").order_by("created_at"):
        url = reverse("operations-billing-payout", args=[item.batch_id])
        detail = f"{item.rail_status.capitalize()} at PayPal{': ' if item.reason else ''}{item.reason}"
        yield Row(item.provider.name, detail, url, item.created_at, item.amount)


def _payees() -> QuerySet[ProviderAccount]:
    """Whom nothing can be paid to as things stand."""
    rows = ProviderAccount.objects.exclude(state=ProviderAccount.State.ACTIVE)
    return rows.select_related("provider").order_by("updated_at")


def _least(account: ProviderAccount) -> int:
    """What would be worth a payment."""
    return max(settings.PAYOUT_MINIMUM.get(account.rail, min(settings.PAYOUT_MINIMUM.values())), 1)


def _why_not(account: ProviderAccount) -> str:
    if account.state == ProviderAccount.State.SUSPENDED:
        return "Suspended by an operator"
    return f"Cannot be paid yet. Missing: {', '.join(account.missing)}"


_KINDS: tuple[tuple[str, str, str, Callable[[], Iterable[Row]]], ...] = (
    ("decisions", "Decisions that wait", "Open each and decide.", _decisions),
    (
        "differences",
        "Books and providers differ",
        "Say what it is, have the booking made up, or close it with a reason.",
        _differences,
    ),
    (
        "unknown",
        "Outcome unknown for more than an hour",
        "They are asked for again by themselves. Look at the provider's own pages if that does not help; never pay twice.",
        _unknown,
    ),
    ("disputes", "Disputes", "Hand in the evidence at Stripe before it is due.", _disputes),
    (
        "failures",
        "Jobs and events that failed",
        "They pass when the same job succeeds. The worker's log has more.",
        _failures,
    ),
    ("held", "Payouts that are held", "Ask the provider for what is missing, or see what holds them.", _held),
)
