"""Customers and their payment methods."""

from __future__ import annotations

from typing import Any

from marketplace.testpayments.store import Body
from marketplace.testpayments.stripe import cards, errors
from marketplace.testpayments.stripe.api import Api, listed, merged, route

_CUSTOMER = ("email", "name", "description", "metadata", "invoice_settings", "address", "phone")


@route("POST", "/v1/customers", *_CUSTOMER)
def create(api: Api, parameters: Body) -> Body:
    customer = api.make("customer", "cus", **_members({}, parameters))
    api.emit("customer.created", customer)
    return customer


@route("GET", "/v1/customers/{}")
def retrieve(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("customer", identifier)


@route("POST", "/v1/customers/{}", *_CUSTOMER)
def update(api: Api, parameters: Body, identifier: str) -> Body:
    customer = api.find("customer", identifier)
    customer |= _members(customer, parameters)
    default = customer["invoice_settings"]["default_payment_method"]
    if default and api.find("payment_method", default, param="invoice_settings")["customer"] != identifier:
        raise errors.invalid("The payment method must be attached to the customer.", param="invoice_settings")
    api.emit("customer.updated", customer)
    return api.save(customer)


def _members(old: Body, parameters: Body) -> Body:
    settings = parameters.get("invoice_settings") or {}
    default = (old.get("invoice_settings") or {}).get("default_payment_method")
    if "default_payment_method" in settings:
        default = settings["default_payment_method"] or None
    return {
        **{name: parameters.get(name, old.get(name)) for name in ("email", "name", "description", "address", "phone")},
        "metadata": merged(old.get("metadata", {}), parameters.get("metadata")),
        "invoice_settings": {"default_payment_method": default},
    }


@route("GET", "/v1/customers/{}/payment_methods", "type", pages=True)
def methods_of(api: Api, parameters: Body, customer: str) -> Body:
    api.find("customer", customer)
    found = api.every("payment_method", customer=customer)
    return listed(found, parameters, f"/v1/customers/{customer}/payment_methods")


@route("POST", "/v1/payment_methods", "card", "billing_details", "metadata", required=("type",))
def create_method(api: Api, parameters: Body) -> Body:
    card: dict[str, Any] = parameters.get("card") or {}
    number = cards.plain(str(card.get("number", "")))
    if parameters["type"] != "card" or number not in cards.CARDS:
        raise errors.declined("incorrect_number", "", "Your card number is incorrect.", param="number")
    described = cards.described(number, int(card.get("exp_month", 0)), int(card.get("exp_year", 0)))
    return api.make(
        "payment_method",
        "pm",
        type="card",
        card=described,
        customer=None,
        billing_details=parameters.get("billing_details") or {},
        metadata=parameters.get("metadata") or {},
        _number=number,
        _authenticated=False,
    )


@route("GET", "/v1/payment_methods/{}")
def retrieve_method(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("payment_method", identifier)


@route("POST", "/v1/payment_methods/{}/attach", required=("customer",))
def attach(api: Api, parameters: Body, identifier: str) -> Body:
    method = api.find("payment_method", identifier)
    customer = api.find("customer", parameters["customer"], param="customer")
    card = cards.CARDS[method["_number"]]
    if method["customer"] not in (None, customer["id"]):
        raise errors.invalid("The payment method is attached to another customer.")
    if method.get("_detached"):
        raise errors.invalid("This PaymentMethod was detached and may not be used again.")
    if card.refused_at_once:
        raise errors.declined(*card.charge, cards.MESSAGES[card.charge[0]])
    method["customer"] = customer["id"]
    api.emit("payment_method.attached", method)
    return api.save(method)


@route("POST", "/v1/payment_methods/{}/detach")
def detach(api: Api, parameters: Body, identifier: str) -> Body:
    method = api.find("payment_method", identifier)
    if method["customer"] is None:
        raise errors.invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    customer = api.find("customer", method["customer"])
    if customer["invoice_settings"]["default_payment_method"] == identifier:
        customer["invoice_settings"]["default_payment_method"] = None
        api.save(customer)
    method |= {"customer": None, "_detached": True}
    api.emit("payment_method.detached", method)
    return api.save(method)
