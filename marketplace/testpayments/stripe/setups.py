"""Saving a card for later: SetupIntents, and Checkout sessions whose hosted page asks for the card."""

from __future__ import annotations

from marketplace.testpayments.store import Body
from marketplace.testpayments.stripe import cards, customers, errors
from marketplace.testpayments.stripe.api import Api, listed, merged, route

_DAY_S = 86_400


@route(
    "POST",
    "/v1/setup_intents",
    "customer",
    "usage",
    "payment_method_types",
    "metadata",
    "description",
    "payment_method",
)
def create(api: Api, parameters: Body) -> Body:
    if parameters.get("customer"):
        api.find("customer", parameters["customer"], param="customer")
    return make(
        api, parameters.get("customer"), parameters.get("usage", "off_session"), parameters.get("metadata") or {}
    )


def make(api: Api, customer: str | None, usage: str, metadata: Body) -> Body:
    intent = api.make(
        "setup_intent",
        "seti",
        customer=customer,
        usage=usage,
        metadata=metadata,
        payment_method=None,
        payment_method_types=["card"],
        status="requires_payment_method",
        next_action=None,
        last_setup_error=None,
    )
    intent["client_secret"] = f"{intent['id']}_secret_test"
    return api.save(intent)


@route("GET", "/v1/setup_intents/{}")
def retrieve(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("setup_intent", identifier)


@route("POST", "/v1/setup_intents/{}/confirm", "payment_method", "return_url")
def confirm(api: Api, parameters: Body, identifier: str) -> Body:
    intent = api.find("setup_intent", identifier)
    if intent["status"] in {"succeeded", "canceled"}:
        raise _unexpected(intent)
    method = api.find("payment_method", parameters.get("payment_method", ""), param="payment_method")
    card = cards.CARDS[method["_number"]]
    if card.refused_at_once:
        raise refuse(api, intent, *card.charge)
    intent |= {"payment_method": method["id"], "_return": parameters.get("return_url", "")}
    if card.asks_holder == "never":
        return succeed(api, intent)
    url = f"{api.url}/hosted/authenticate/{intent['id']}"
    redirect = {"url": url, "return_url": intent["_return"]}
    intent |= {"status": "requires_action", "next_action": {"type": "redirect_to_url", "redirect_to_url": redirect}}
    api.emit("setup_intent.requires_action", intent)
    return api.save(intent)


def succeed(api: Api, intent: Body) -> Body:
    method = api.find("payment_method", intent["payment_method"])
    method["_authenticated"] = True
    api.save(method)
    if intent["customer"]:
        customers.attach(api, {"customer": intent["customer"]}, method["id"])
    intent |= {"status": "succeeded", "next_action": None, "last_setup_error": None}
    api.emit("setup_intent.succeeded", intent)
    return api.save(intent)


def refuse(api: Api, intent: Body, code: str, decline_code: str) -> errors.ApiError:
    """The intent is back to asking for a card; the error to raise."""
    message = cards.MESSAGES.get(code, "The card was refused.")
    error = {"type": "card_error", "code": code, "decline_code": decline_code or None, "message": message}
    intent |= {
        "status": "requires_payment_method",
        "next_action": None,
        "payment_method": None,
        "last_setup_error": error,
    }
    api.emit("setup_intent.setup_failed", intent)
    api.save(intent)
    return errors.declined(code, decline_code, message)


@route("POST", "/v1/setup_intents/{}/cancel", "cancellation_reason")
def cancel(api: Api, parameters: Body, identifier: str) -> Body:
    intent = api.find("setup_intent", identifier)
    if intent["status"] == "succeeded":
        raise _unexpected(intent)
    intent |= {"status": "canceled", "next_action": None}
    api.emit("setup_intent.canceled", intent)
    return api.save(intent)


def _unexpected(intent: Body) -> errors.ApiError:
    message = f"You cannot do this with a SetupIntent of status {intent['status']}."
    return errors.invalid(message, code="setup_intent_unexpected_state")


_SESSION = (
    "customer",
    "currency",
    "cancel_url",
    "client_reference_id",
    "metadata",
    "setup_intent_data",
    "payment_method_types",
)


@route("POST", "/v1/checkout/sessions", *_SESSION, required=("mode", "success_url"))
def create_session(api: Api, parameters: Body) -> Body:
    if parameters["mode"] != "setup":
        raise errors.invalid("Only the mode `setup` is served by these test payments.", param="mode")
    if not parameters.get("currency") and not parameters.get("payment_method_types"):
        raise errors.invalid("Missing required param: currency.", param="currency", code="parameter_missing")
    api.find("customer", parameters.get("customer", ""), param="customer")
    data = parameters.get("setup_intent_data") or {}
    intent = make(api, parameters["customer"], "off_session", data.get("metadata") or {})
    session = api.make(
        "checkout.session",
        "cs_test",
        mode="setup",
        status="open",
        payment_status="no_payment_required",
        customer=parameters["customer"],
        setup_intent=intent["id"],
        success_url=parameters["success_url"],
        cancel_url=parameters.get("cancel_url"),
        client_reference_id=parameters.get("client_reference_id"),
        currency=parameters.get("currency"),
        metadata=merged({}, parameters.get("metadata")),
        expires_at=api.store.now() + _DAY_S,
    )
    session["url"] = f"{api.url}/hosted/checkout/{session['id']}"
    intent["_session"] = session["id"]
    api.save(intent)
    return api.save(session)


@route("GET", "/v1/checkout/sessions/{}")
def retrieve_session(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("checkout.session", identifier)


@route("GET", "/v1/checkout/sessions", "customer", pages=True)
def list_sessions(api: Api, parameters: Body) -> Body:
    wanted = {"customer": parameters["customer"]} if parameters.get("customer") else {}
    return listed(api.every("checkout.session", **wanted), parameters, "/v1/checkout/sessions")


def complete(api: Api, session: Body) -> str:
    """Close a session whose card was saved; the address that the browser goes to."""
    session |= {"status": "complete", "url": None}
    api.save(session)
    api.emit("checkout.session.completed", session)
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])
