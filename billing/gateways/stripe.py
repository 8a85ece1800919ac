"""Stripe by its SDK. Its objects end here: what leaves are values of `protocols`.

The SDK's parameters are typed, so a misspelt one does not pass mypy. Each call has a key where it moves something, the version of
the API is fixed, and errors become three kinds: refused (nothing was done), try later (nothing was done), unknown (ask again).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx
import stripe
from django.conf import settings

from billing.gateways.protocols import (
    Card,
    Charge,
    ChargeRequest,
    ChargeState,
    DisputeResult,
    Event,
    Movement,
    RefundResult,
    RefusedError,
    Setup,
    SetupResult,
    TryLaterError,
    UnknownOutcomeError,
)
from core import egress, http
from core.errors import InvalidError, NotFoundError, UnavailableError

log = logging.getLogger(__name__)

VERSION = "2026-10-28.endive"
# Seconds for which the signature of a webhook is good, by Stripe's own advice.
TOLERANCE_S = 300
_RETRIES = 2
_PAGE = 100
_AUTHENTICATION = "authentication_required"
_CHARGE = ["latest_charge.balance_transaction"]

_STATES = {
    "succeeded": ChargeState.SUCCEEDED,
    "requires_payment_method": ChargeState.DECLINED,
    "requires_confirmation": ChargeState.DECLINED,
    "requires_action": ChargeState.NEEDS_HOLDER,
    "processing": ChargeState.PROCESSING,
    "requires_capture": ChargeState.PROCESSING,
    "canceled": ChargeState.CANCELLED,
}


class Transport(stripe.HTTPClient):
    """The SDK's requests by our guarded client: no proxy of the environment, no redirect, no answer without end."""

    name = "marketplace"

    def __init__(self, allow: egress.AllowList, timeout_s: int) -> None:
        super().__init__()
        self._client = http.client(allow, timeout=timeout_s)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        try:
            answer = self._client.request(method, url, headers=dict(headers or {}), content=post_data)
        except httpx.HTTPError as error:
            raise stripe.APIConnectionError(f"No answer: {type(error).__name__}", should_retry=True) from error
        return answer.text, answer.status_code, answer.headers

    def close(self) -> None:
        self._client.close()


@lru_cache(maxsize=4)
def _client(key: str, url: str, timeout_s: int) -> stripe.StripeClient:
    parts = urlsplit(url)
    allow = frozenset({(parts.hostname or "", parts.port or 0)}) if parts.port else frozenset()
    return stripe.StripeClient(
        key,
        stripe_version=VERSION,
        base_addresses={"api": url} if url else None,
        max_network_retries=_RETRIES,
        http_client=Transport(allow, timeout_s),
    )


def gateway() -> StripeGateway:
    """Raises UnavailableError when no key is configured."""
    if not settings.STRIPE_KEY:
        raise UnavailableError(
            "Cards cannot be used on this installation.",
            next_step="Ask the operator to configure the payment provider.",
            code="billing.no_provider",
        )
    return StripeGateway(_client(settings.STRIPE_KEY, settings.STRIPE_URL, settings.PAYMENT_TIMEOUT_S))


class StripeGateway:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._api = client.v1

    def ensure_customer(self, *, tenant: str, name: str, email: str) -> str:
        """One customer per organisation. The key's request holds nothing that changes, or asking again would be refused."""
        with _asking():
            made = self._api.customers.create(
                {"metadata": {"tenant": tenant}}, {"idempotency_key": f"customer:{tenant}"}
            )
            self._api.customers.update(made.id, {"name": name, "email": email})
        return made.id

    def begin_setup(self, *, customer: str, back: str, leave: str, currency: str) -> Setup:
        """`back` gets `session=<id>`: Stripe writes the id where the braces stand."""
        with _asking():
            session = self._api.checkout.sessions.create(
                {
                    "mode": "setup",
                    "customer": customer,
                    "currency": currency.lower(),
                    "success_url": f"{back}?session={{CHECKOUT_SESSION_ID}}",
                    "cancel_url": leave,
                }
            )
        return Setup(session.id, session.url or "")

    def setup_result(self, setup: str) -> SetupResult:
        with _asking():
            session = self._api.checkout.sessions.retrieve(setup, {"expand": ["setup_intent.payment_method"]})
        customer = _id(session.customer)
        intent: Any = session.setup_intent
        saved = session.status == "complete" and intent is not None and intent.status == "succeeded"
        return SetupResult(saved, customer, _card(intent.payment_method, customer) if saved else None)

    def cards(self, customer: str) -> list[Card]:
        with _asking():
            found = self._api.customers.payment_methods.list(customer, {"type": "card", "limit": _PAGE})
        return [_card(each, customer) for each in found.data]

    def forget(self, card: str) -> None:
        with _asking():
            if self._api.payment_methods.retrieve(card).customer is not None:
                self._api.payment_methods.detach(card)

    def charge(self, request: ChargeRequest) -> Charge:
        """Charge a saved card while its holder is not there. A decline is an outcome, not an error."""
        with _asking():
            try:
                intent = self._api.payment_intents.create(
                    {
                        "customer": request.customer,
                        "payment_method": request.card,
                        "amount": request.minor,
                        "currency": request.currency.lower(),
                        "confirm": True,
                        "off_session": True,
                        "description": request.description,
                        "metadata": {"attempt": request.attempt, "invoice": request.invoice},
                        "expand": _CHARGE,
                    },
                    {"idempotency_key": request.key},
                )
            except stripe.CardError as error:
                return _declined(error)
        return _charge(intent)

    def found(self, charge: str) -> Charge:
        with _asking():
            return _charge(self._api.payment_intents.retrieve(charge, {"expand": _CHARGE}))

    def found_by_attempt(self, customer: str, attempt: str) -> Charge | None:
        """For outcomes older than the keys that Stripe remembers. Lists, because Stripe's search lags behind."""
        with _asking():
            for intent in self._api.payment_intents.list({"customer": customer, "limit": _PAGE}).auto_paging_iter():
                if _attempt(intent) == attempt:
                    return self.found(intent.id)
        return None

    def with_holder(self, charge: str, *, card: str, back: str) -> Charge:
        """Try again while the holder is there, who may be sent to the bank's page (`redirect`) and comes `back`."""
        with _asking():
            try:
                intent = self._api.payment_intents.confirm(
                    charge, {"payment_method": card, "return_url": back, "expand": _CHARGE}
                )
            except stripe.CardError as error:
                return _declined(error)
        return _charge(intent)

    def cancel(self, charge: str) -> Charge:
        with _asking():
            return _charge(self._api.payment_intents.cancel(charge))

    def refund(self, *, charge: str, minor: int, key: str, refund: str) -> RefundResult:
        with _asking():
            made = self._api.refunds.create(
                {"payment_intent": charge, "amount": minor, "metadata": {"refund": refund}}, {"idempotency_key": key}
            )
        return _refund(made)

    def found_refund(self, charge: str, refund: str) -> RefundResult | None:
        """The refund of a charge that was asked for under this id of ours, for outcomes older than the keys."""
        with _asking():
            for made in self._api.refunds.list({"payment_intent": charge, "limit": _PAGE}).auto_paging_iter():
                if made.metadata and made.metadata.to_dict().get("refund") == refund:
                    return _refund(made)
        return None

    def refund_result(self, refund: str) -> RefundResult:
        with _asking():
            return _refund(self._api.refunds.retrieve(refund))

    def dispute(self, dispute: str) -> DisputeResult:
        with _asking():
            found = self._api.disputes.retrieve(dispute)
        state = found.status if found.status in {"won", "lost"} else "open"
        fee = sum(entry.fee for entry in found.balance_transactions)
        charge, due = _id(found.payment_intent), found.evidence_details.due_by
        due_at = datetime.fromtimestamp(due, UTC) if due else None
        return DisputeResult(found.id, charge, found.amount, found.currency.upper(), state, found.reason, fee, due_at)

    def movements(self, since: datetime) -> Iterator[Movement]:
        """Lines of the balance from a moment on, newest first."""
        created: Any = {"gte": int(since.timestamp())}
        with _asking():
            pages = self._api.balance_transactions.list({"created": created, "limit": _PAGE, "expand": ["data.source"]})
            for entry in pages.auto_paging_iter():
                moment = datetime.fromtimestamp(entry.created, UTC)
                source, currency = _id(entry.source), entry.currency.upper()
                amounts = (entry.amount, entry.fee, entry.net)
                yield Movement(entry.id, entry.type, source, *amounts, currency, moment, _subject(entry.source))

    def balance(self, currency: str) -> int:
        """All that Stripe holds for us, in minor units."""
        with _asking():
            held = self._api.balance.retrieve()
        parts: list[Any] = [*held.available, *held.pending]
        return sum(part.amount for part in parts if part.currency == currency.lower())

    def verified(self, body: bytes, signature: str) -> Event:
        """The event of a webhook whose signature is ours and not old. Raises InvalidError."""
        for secret in settings.STRIPE_WEBHOOK_SECRETS:
            try:
                event = stripe.Webhook.construct_event(body, signature, secret, tolerance=TOLERANCE_S)  # type: ignore[no-untyped-call]
            except (stripe.SignatureVerificationError, ValueError):
                continue
            subject = getattr(event.data.object, "id", "")
            return Event(event.id, event.type, subject if isinstance(subject, str) else "")
        raise InvalidError("This is not signed by the payment provider.", code="billing.webhook_unsigned")

    # Connect: providers' accounts at Stripe.

    def create_account(self, *, provider: str, email: str, country: str) -> str:
        """One account for the same provider, person and country: repeated after a lost answer it is the one that was made."""
        same = hashlib.sha256(f"{country}:{email}".encode()).hexdigest()[:16]
        with _asking():
            made = self._api.accounts.create(
                {
                    "type": "express",
                    "email": email,
                    "country": country,
                    "capabilities": {"transfers": {"requested": True}},
                    "metadata": {"provider": provider},
                },
                {"idempotency_key": f"account:{provider}:{same}"},
            )
        return made.id

    def onboarding_url(self, account: str, *, back: str, again: str) -> str:
        with _asking():
            link = self._api.account_links.create(
                {"account": account, "type": "account_onboarding", "return_url": back, "refresh_url": again}
            )
        return link.url

    def account_ready(self, account: str) -> bool:
        """Whether transfers to an account arrive and are paid out."""
        with _asking():
            found = self._api.accounts.retrieve(account)
        takes = found.capabilities is not None and found.capabilities.transfers == "active"
        return bool(takes and found.details_submitted and found.payouts_enabled)

    def transfer(self, *, account: str, minor: int, currency: str, item: str) -> str:
        """Send money to a provider's account; an item has one transfer, whatever is repeated."""
        with _asking():
            made = self._api.transfers.create(
                {
                    "amount": minor,
                    "currency": currency.lower(),
                    "destination": account,
                    "transfer_group": f"payout:{item}",
                    "metadata": {"payout_item": item},
                },
                {"idempotency_key": f"payout:{item}"},
            )
        return made.id

    def transfer_of(self, item: str) -> tuple[str, int, int] | None:
        """Id, amount and reversed amount of an item's transfer."""
        with _asking():
            found = self._api.transfers.list({"transfer_group": f"payout:{item}", "limit": 1}).data
        return (found[0].id, found[0].amount, found[0].amount_reversed) if found else None


@contextmanager
def _asking() -> Iterator[None]:
    """Errors of the SDK in our words. What a provider says of an error may quote what it was sent: it is not passed on."""
    try:
        yield
    except (stripe.RateLimitError, egress.EgressRefusedError, egress.NameUnresolvedError) as error:
        raise TryLaterError from error
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            raise NotFoundError("The payment provider does not know this any more.") from error
        raise RefusedError(code=f"billing.refused.{error.code or 'invalid'}") from error
    except (stripe.AuthenticationError, stripe.PermissionError, stripe.IdempotencyError) as error:
        # Our keys are at fault. It says nothing of what was done under the same key before.
        log.error("the payment provider refuses our key", extra={"why": type(error).__name__})
        raise TryLaterError from error
    except stripe.StripeError as error:
        # No connection, no answer, or an error on their side: it may have been done.
        raise UnknownOutcomeError from error


def _id(value: Any) -> str:
    return value if isinstance(value, str) else getattr(value, "id", "") or ""


def _subject(source: Any) -> str:
    """What moved, by the id that we know it under."""
    kind = getattr(source, "object", "")
    if kind == "charge":
        return _id(source.payment_intent)
    return _id(source.transfer) if kind == "transfer_reversal" else _id(source)


def _card(method: Any, customer: str) -> Card:
    card = method.card
    return Card(method.id, customer, card.brand, card.last4, card.exp_month, card.exp_year, card.fingerprint or "")


def _charge(intent: Any) -> Charge:
    state = _STATES.get(intent.status, ChargeState.PROCESSING)
    error, charge = intent.last_payment_error, intent.latest_charge
    entry = None if charge is None or isinstance(charge, str) else charge.balance_transaction
    known = None if isinstance(entry, str) else entry
    action = intent.next_action
    redirect = action.redirect_to_url.url if action and action.type == "redirect_to_url" else ""
    if state is ChargeState.DECLINED and error and error.code == _AUTHENTICATION:
        state = ChargeState.NEEDS_HOLDER
    return Charge(
        intent.id,
        state,
        intent.amount,
        intent.currency.upper(),
        fee=known.fee if known else 0,
        entry=known.id if known else "",
        code=_reason(error) if error and state is not ChargeState.SUCCEEDED else "",
        message=error.message if error and state is not ChargeState.SUCCEEDED else "",
        redirect=redirect,
        attempt=_attempt(intent),
    )


def _attempt(intent: Any) -> str:
    """Which attempt of ours a PaymentIntent says that it is; empty when it was not made here."""
    return str(intent.metadata.to_dict().get("attempt", "")) if intent.metadata else ""


def _reason(error: Any) -> str:
    return getattr(error, "decline_code", None) or error.code or ""


def _declined(error: stripe.CardError) -> Charge:
    """The intent stands in the error: nothing is asked twice."""
    found = error.error
    assert found is not None
    assert found.payment_intent is not None
    charge = _charge(found.payment_intent)
    state = ChargeState.NEEDS_HOLDER if error.code == _AUTHENTICATION else ChargeState.DECLINED
    return replace(charge, state=state, code=_reason(found), message=found.message or "")


def _refund(made: stripe.Refund) -> RefundResult:
    state = made.status if made.status in {"succeeded", "pending"} else "failed"
    return RefundResult(made.id, _id(made.payment_intent), made.amount, state, _id(made.balance_transaction))
