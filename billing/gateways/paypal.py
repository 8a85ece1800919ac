"""PayPal Payouts by its REST interface: a token, a batch, its items. Nothing else of PayPal is used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.core.cache import cache

from billing.gateways.protocols import Event, RefusedError, TryLaterError, UnknownOutcomeError
from core import egress, http
from core.errors import InvalidError, UnavailableError
from core.money import Money, exponent

ITEMS_MAX = 15_000
_PAGE = 1000
_TOKEN_MARGIN_S = 60
# Answers after which nothing of a batch will be paid; after any other one it may have been taken.
_SURELY_REFUSED = frozenset({"VALIDATION_ERROR", "INSUFFICIENT_FUNDS", "MALFORMED_REQUEST_JSON"})


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """One payment of a batch; `item` is our id of it, which PayPal gives back."""

    item: str
    receiver: str
    amount: Money


@dataclass(frozen=True, slots=True)
class PayoutItem:
    """How an item stands at PayPal. `state` is PayPal's word in small letters; `fee_minor` is what PayPal took for it."""

    item: str
    external_id: str
    state: str
    minor: int
    fee_minor: int
    error: str


def gateway() -> PaypalGateway:
    """Raises UnavailableError when no client is configured."""
    if not settings.PAYPAL_CLIENT_ID:
        raise UnavailableError("Payouts by PayPal are not configured.", code="billing.no_provider")
    return PaypalGateway(settings.PAYPAL_URL, settings.PAYPAL_CLIENT_ID, settings.PAYPAL_SECRET)


class PaypalGateway:
    def __init__(self, url: str, client_id: str, secret: str) -> None:
        self._url, self._client_id, self._secret = url, client_id, secret
        parts = urlsplit(url)
        self._allow = frozenset({(parts.hostname or "", parts.port)}) if parts.port else frozenset()

    def submit(self, batch: str, lines: list[PayoutLine], *, note: str) -> str:
        """Send a batch; PayPal's id of it. Sent again under the same id, it is the same batch.

        Raises UnknownOutcomeError when it may have been taken: only the same batch may follow.
        """
        header = {"sender_batch_id": batch, "email_subject": note}
        items = [
            {
                "recipient_type": "EMAIL",
                "receiver": line.receiver,
                "amount": {"value": _value(line.amount), "currency": line.amount.currency},
                "sender_item_id": line.item,
            }
            for line in lines
        ]
        answer = self._ask("POST", "/v1/payments/payouts", {"sender_batch_header": header, "items": items})
        body = _body(answer)
        if answer.is_success:
            return str(body["batch_header"]["payout_batch_id"])
        # A batch that is there already is told of by a link to it; the error's name is not documented.
        for link in body.get("links", []):
            before, _, identifier = str(link.get("href", "")).rpartition("/")
            if before.endswith("/v1/payments/payouts") and identifier:
                return identifier
        if answer.status_code == httpx.codes.BAD_REQUEST and body.get("name") in _SURELY_REFUSED:
            raise _refusal(answer)
        raise UnknownOutcomeError

    def items(self, external_batch: str) -> Iterator[PayoutItem]:
        page, pages = 1, 1
        while page <= pages:
            answer = self._ask(
                "GET", f"/v1/payments/payouts/{external_batch}?page={page}&page_size={_PAGE}&total_required=true"
            )
            if not answer.is_success:
                raise _refusal(answer)
            body = _body(answer)
            pages = int(body.get("total_pages", 1))
            for each in body.get("items", []):
                yield _item(each)
            page += 1

    def cancel(self, external_item: str) -> PayoutItem:
        """Take an unclaimed item back."""
        answer = self._ask("POST", f"/v1/payments/payouts-item/{external_item}/cancel")
        if not answer.is_success:
            raise _refusal(answer)
        return _item(_body(answer))

    def is_genuine(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether PayPal says that a webhook is its own. The event goes back byte for byte: the signature is over them."""
        parts = {
            "auth_algo": headers.get("Paypal-Auth-Algo", ""),
            "cert_url": headers.get("Paypal-Cert-Url", ""),
            "transmission_id": headers.get("Paypal-Transmission-Id", ""),
            "transmission_sig": headers.get("Paypal-Transmission-Sig", ""),
            "transmission_time": headers.get("Paypal-Transmission-Time", ""),
            "webhook_id": settings.PAYPAL_WEBHOOK_ID,
        }
        if not all(parts.values()):
            return False
        content = json.dumps(parts).encode()[:-1] + b', "webhook_event": ' + body + b"}"
        answer = self._send("POST", "/v1/notifications/verify-webhook-signature", content, self._token())
        return answer.is_success and _body(answer).get("verification_status") == "SUCCESS"

    def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        answer = self._send(method, path, content, self._token())
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            cache.delete(self._cached)
            answer = self._send(method, path, content, self._token())
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise TryLaterError
        if answer.is_server_error:
            raise UnknownOutcomeError if method == "POST" else TryLaterError
        return answer

    @property
    def _cached(self) -> str:
        return f"paypal-token:{self._client_id}"

    def _token(self) -> str:
        known = cache.get(self._cached)
        if known:
            return str(known)
        try:
            with self._http() as client:
                answer = client.post(
                    f"{self._url}/v1/oauth2/token",
                    data={"grant_type": "client_credentials"},
                    auth=(self._client_id, self._secret),
                )
        except httpx.HTTPError as error:
            raise TryLaterError from error
        if not answer.is_success:
            # Even a wrong secret says nothing of what was asked before.
            raise TryLaterError
        body = _body(answer)
        cache.set(self._cached, body["access_token"], max(int(body["expires_in"]) - _TOKEN_MARGIN_S, 1))
        return str(body["access_token"])

    def _send(self, method: str, path: str, content: bytes | None, token: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        try:
            with self._http() as client:
                return client.request(method, self._url + path, content=content, headers=headers)
        except (httpx.ConnectError, egress.EgressRefusedError, egress.NameUnresolvedError) as error:
            raise TryLaterError from error
        except httpx.HTTPError as error:
            raise (UnknownOutcomeError if method == "POST" else TryLaterError) from error

    def _http(self) -> httpx.Client:
        return http.client(self._allow, timeout=settings.PAYMENT_TIMEOUT_S)


def event_of(body: bytes) -> Event:
    """What a webhook says that happened, before anybody has said that it is genuine. Raises InvalidError."""
    try:
        told = json.loads(body)
        return Event(str(told["id"])[:255], str(told["event_type"]), "")
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidError("This is no event.", code="billing.webhook_unreadable") from error


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(answer: httpx.Response) -> RefusedError:
    name = str(_body(answer).get("name", answer.status_code))
    return RefusedError(code=f"billing.refused.{name[:60].lower()}")


def _value(amount: Money) -> str:
    return f"{amount.major:.{exponent(amount.currency)}f}"


def _minor(amount: Mapping[str, str]) -> int:
    return Money.from_rate(Decimal(amount["value"]), amount["currency"]).minor


def _item(body: Mapping[str, Any]) -> PayoutItem:
    asked = body["payout_item"]
    return PayoutItem(
        item=str(asked.get("sender_item_id", "")),
        external_id=str(body["payout_item_id"]),
        state=str(body["transaction_status"]).lower(),
        minor=_minor(asked["amount"]),
        fee_minor=_minor(body["payout_item_fee"]) if "payout_item_fee" in body else 0,
        error=str((body.get("errors") or {}).get("name", "")),
    )
