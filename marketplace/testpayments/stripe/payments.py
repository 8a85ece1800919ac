"""PaymentIntents and the charges that they make."""

from __future__ import annotations

import re
from typing import Any

from marketplace.testpayments.store import Body
from marketplace.testpayments.stripe import cards, errors, money
from marketplace.testpayments.stripe.api import Api, amount, boolean, listed, merged, route

_OPEN = {"requires_payment_method", "requires_confirmation", "requires_action"}
_CREATE = (
    "customer", "payment_method", "confirm", "off_session", "metadata", "description", "payment_method_types",
    "transfer_group", "statement_descriptor_suffix", "return_url", "receipt_email", "setup_future_usage",
    "automatic_payment_methods", "error_on_requires_action",
)  # fmt: skip
_SEARCH = re.compile(r"metadata\[['\"]([A-Za-z0-9_]+)['\"]\]:['\"]([^'\"]*)['\"]")


@route("POST", "/v1/payment_intents", *_CREATE, required=("amount", "currency"))
def create(api: Api, parameters: Body) -> Body:
    for name, kind in (("customer", "customer"), ("payment_method", "payment_method")):
        if parameters.get(name):
            api.find(kind, parameters[name], param=name)
    intent = api.make(
        "payment_intent",
        "pi",
        amount=amount(parameters),
        amount_received=0,
        amount_capturable=0,
        currency=parameters["currency"],
        customer=parameters.get("customer"),
        payment_method=parameters.get("payment_method"),
        payment_method_types=["card"],
        status="requires_confirmation" if parameters.get("payment_method") else "requires_payment_method",
        metadata=parameters.get("metadata") or {},
        description=parameters.get("description"),
        transfer_group=parameters.get("transfer_group"),
        latest_charge=None,
        last_payment_error=None,
        next_action=None,
        canceled_at=None,
        cancellation_reason=None,
    )
    intent["client_secret"] = f"{intent['id']}_secret_test"
    api.save(intent)
    api.emit("payment_intent.created", intent)
    return confirm(api, parameters, intent["id"]) if boolean(parameters.get("confirm")) else intent


@route("GET", "/v1/payment_intents/{}")
def retrieve(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("payment_intent", identifier)


@route("GET", "/v1/payment_intents", "customer", pages=True)
def list_intents(api: Api, parameters: Body) -> Body:
    wanted = {"customer": parameters["customer"]} if parameters.get("customer") else {}
    return listed(api.every("payment_intent", **wanted), parameters, "/v1/payment_intents")


@route("GET", "/v1/payment_intents/search", "limit", "page", required=("query",))
def search(api: Api, parameters: Body) -> Body:
    match = _SEARCH.fullmatch(parameters["query"])
    if match is None:
        raise errors.invalid("Test payments search by one member of the metadata only.", param="query")
    name, value = match.groups()
    found = [intent for intent in api.every("payment_intent") if intent["metadata"].get(name) == value]
    url = "/v1/payment_intents/search"
    return {"object": "search_result", "url": url, "data": found[:10], "has_more": False, "next_page": None}


@route(
    "POST", "/v1/payment_intents/{}/confirm", "payment_method", "off_session", "return_url", "error_on_requires_action"
)
def confirm(api: Api, parameters: Body, identifier: str) -> Body:
    intent = api.find("payment_intent", identifier)
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, "confirm")
    method = api.find(
        "payment_method", parameters.get("payment_method") or intent["payment_method"] or "", param="payment_method"
    )
    if method["customer"] is None or method["customer"] != intent["customer"]:
        raise errors.invalid(
            "The payment method must be attached to the customer of the PaymentIntent.", param="payment_method"
        )
    intent["payment_method"] = method["id"]
    card = cards.CARDS[method["_number"]]
    if card.charge[0]:
        raise fail(api, intent, *card.charge)
    if card.asks_holder == "always" or (card.asks_holder == "setup" and not method["_authenticated"]):
        return _ask_holder(api, intent, parameters)
    return succeed(api, intent)


def _ask_holder(api: Api, intent: Body, parameters: Body) -> Body:
    if boolean(parameters.get("off_session")) or boolean(parameters.get("error_on_requires_action")):
        raise fail(api, intent, cards.AUTHENTICATION, cards.AUTHENTICATION)
    if not parameters.get("return_url"):
        raise errors.invalid(
            "A return_url must be specified because this payment needs the holder.", param="return_url"
        )
    redirect = {"url": f"{api.url}/hosted/authenticate/{intent['id']}", "return_url": parameters["return_url"]}
    intent |= {"status": "requires_action", "next_action": {"type": "redirect_to_url", "redirect_to_url": redirect}}
    intent |= {"_return": parameters["return_url"], "last_payment_error": None}
    api.emit("payment_intent.requires_action", intent)
    return api.save(intent)


def succeed(api: Api, intent: Body) -> Body:
    charge = _charge(api, intent, status="succeeded")
    fee = money.fee(intent["amount"])
    entry = money.entry(api, "charge", intent["amount"], charge["id"], intent["currency"], fee=fee)
    charge |= {"balance_transaction": entry["id"], "paid": True}
    api.save(charge)
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": charge["id"],
        "last_payment_error": None,
        "next_action": None,
    }
    api.save(intent)
    api.emit("charge.succeeded", charge)
    api.emit("payment_intent.succeeded", intent)
    if cards.CARDS[api.find("payment_method", intent["payment_method"])["_number"]].disputed:
        money.open_dispute(api, charge, "fraudulent")
    return intent


def fail(api: Api, intent: Body, code: str, decline_code: str) -> errors.ApiError:
    """A charge that failed, on record; the error to raise."""
    message = cards.MESSAGES.get(code, "Your card was declined.")
    charge = _charge(api, intent, status="failed", failure_code=code, failure_message=message)
    method = api.find("payment_method", intent["payment_method"])
    error = {"type": "card_error", "code": code, "message": message, "charge": charge["id"], "payment_method": method}
    error |= {"decline_code": decline_code} if decline_code else {}
    intent |= {"status": "requires_payment_method", "latest_charge": charge["id"], "last_payment_error": error}
    intent |= {"payment_method": None, "next_action": None}
    api.save(intent)
    api.emit("payment_intent.payment_failed", intent)
    return errors.declined(code, decline_code, message, charge=charge["id"], payment_intent=intent)


def _charge(api: Api, intent: Body, **members: Any) -> Body:
    method = api.find("payment_method", intent["payment_method"])
    return api.make(
        "charge",
        "ch",
        **{
            "amount": intent["amount"],
            "amount_refunded": 0,
            "currency": intent["currency"],
            "customer": intent["customer"],
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": {"type": "card", "card": method["card"]},
            "balance_transaction": None,
            "captured": members["status"] == "succeeded",
            "paid": False,
            "refunded": False,
            "disputed": False,
            "metadata": intent["metadata"],
            "transfer_group": intent["transfer_group"],
            "failure_code": None,
            "failure_message": None,
            **members,
        },
    )


@route("POST", "/v1/payment_intents/{}", "metadata", "description")
def update(api: Api, parameters: Body, identifier: str) -> Body:
    intent = api.find("payment_intent", identifier)
    intent["metadata"] = merged(intent["metadata"], parameters.get("metadata"))
    intent["description"] = parameters.get("description", intent["description"])
    return api.save(intent)


@route("POST", "/v1/payment_intents/{}/cancel", "cancellation_reason")
def cancel(api: Api, parameters: Body, identifier: str) -> Body:
    intent = api.find("payment_intent", identifier)
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, "cancel")
    reason = parameters.get("cancellation_reason")
    intent |= {"status": "canceled", "canceled_at": api.store.now(), "cancellation_reason": reason, "next_action": None}
    api.emit("payment_intent.canceled", intent)
    return api.save(intent)


def _unexpected(intent: Body, what: str) -> errors.ApiError:
    message = f"You cannot {what} this PaymentIntent because it has a status of {intent['status']}."
    return errors.ApiError(
        400, "invalid_request_error", message, code="payment_intent_unexpected_state", payment_intent=intent
    )


@route("GET", "/v1/charges/{}")
def retrieve_charge(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("charge", identifier)
