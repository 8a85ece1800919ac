"""Connect: providers' accounts, the links of their onboarding, transfers to them and reversals."""

from __future__ import annotations

from typing import Any

from marketplace.testpayments.store import Body
from marketplace.testpayments.stripe import errors, money
from marketplace.testpayments.stripe.api import Api, amount, listed, merged, route

_LINK_LIVES_S = 300


@route(
    "POST", "/v1/accounts", "type", "email", "country", "capabilities", "metadata", "business_type", "controller",
    "business_profile",
)  # fmt: skip
def create(api: Api, parameters: Body) -> Body:
    account = api.make(
        "account",
        "acct",
        type=parameters.get("type", "express"),
        email=parameters.get("email"),
        country=parameters.get("country", "US"),
        metadata=parameters.get("metadata") or {},
        **_state(onboarded=False),
    )
    api.emit("account.updated", account)
    return account


def _state(*, onboarded: bool) -> dict[str, Any]:
    due = [] if onboarded else ["external_account", "individual.verification.document", "tos_acceptance.date"]
    return {
        "details_submitted": onboarded,
        "charges_enabled": onboarded,
        "payouts_enabled": onboarded,
        "capabilities": {"transfers": "active" if onboarded else "inactive"},
        "requirements": {
            "currently_due": due,
            "past_due": [],
            "eventually_due": due,
            "disabled_reason": None if onboarded else "requirements.past_due",
        },
    }


@route("GET", "/v1/accounts/{}")
def retrieve(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("account", identifier)


@route("DELETE", "/v1/accounts/{}")
def delete(api: Api, parameters: Body, identifier: str) -> Body:
    account = api.find("account", identifier)
    api.save({**account, **_state(onboarded=False), "deleted": True})
    return {"id": identifier, "object": "account", "deleted": True}


@route(
    "POST",
    "/v1/account_links",
    "collect",
    "collection_options",
    required=("account", "type", "refresh_url", "return_url"),
)
def link(api: Api, parameters: Body) -> Body:
    account = api.find("account", parameters["account"], param="account")
    account |= {"_return": parameters["return_url"]}
    api.save(account)
    expires = api.store.now() + _LINK_LIVES_S
    url = f"{api.url}/hosted/onboarding/{account['id']}"
    return {"object": "account_link", "created": api.store.now(), "expires_at": expires, "url": url}


def onboard(api: Api, account: Body) -> Body:
    account |= _state(onboarded=True)
    api.emit("account.updated", account)
    return api.save(account)


_TRANSFER = ("destination", "metadata", "description", "transfer_group", "source_transaction")


@route("POST", "/v1/transfers", *_TRANSFER, required=("amount", "currency", "destination"))
def transfer(api: Api, parameters: Body) -> Body:
    account = api.find("account", parameters["destination"], param="destination")
    if account["capabilities"]["transfers"] != "active":
        message = (
            "Your destination account needs to have at least one of the following capabilities enabled: transfers."
        )
        raise errors.invalid(message, code="insufficient_capabilities_for_transfer")
    minor = amount(parameters)
    if minor > _available(api, parameters["currency"]):
        message = "You have insufficient available funds in your Stripe account."
        raise errors.invalid(message, code="balance_insufficient")
    body = api.make(
        "transfer",
        "tr",
        amount=minor,
        amount_reversed=0,
        reversed=False,
        currency=parameters["currency"],
        destination=account["id"],
        description=parameters.get("description"),
        metadata=parameters.get("metadata") or {},
        transfer_group=parameters.get("transfer_group"),
        source_transaction=None,
    )
    body["balance_transaction"] = money.entry(api, "transfer", -minor, body["id"], body["currency"])["id"]
    api.emit("transfer.created", body)
    return api.save(body)


def _available(api: Api, currency: str) -> int:
    found = [each["amount"] for each in money.balance(api, {})["available"] if each["currency"] == currency]
    return int(found[0]) if found else 0


@route("GET", "/v1/transfers/{}")
def retrieve_transfer(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("transfer", identifier)


@route("GET", "/v1/transfers", "destination", "transfer_group", pages=True)
def list_transfers(api: Api, parameters: Body) -> Body:
    wanted = {name: parameters[name] for name in ("destination", "transfer_group") if parameters.get(name)}
    return listed(api.every("transfer", **wanted), parameters, "/v1/transfers")


@route("POST", "/v1/transfers/{}/reversals", "amount", "metadata", "description")
def reverse(api: Api, parameters: Body, identifier: str) -> Body:
    body = api.find("transfer", identifier)
    left = body["amount"] - body["amount_reversed"]
    minor = amount(parameters) if "amount" in parameters else left
    if minor > left or not left:
        raise errors.invalid(f"Cannot reverse more than is left of the transfer ({left}).", param="amount")
    reversal = api.make(
        "transfer_reversal",
        "trr",
        amount=minor,
        currency=body["currency"],
        transfer=identifier,
        metadata=merged({}, parameters.get("metadata")),
    )
    reversal["balance_transaction"] = money.entry(api, "transfer_refund", minor, reversal["id"], body["currency"])["id"]
    body["amount_reversed"] += minor
    body["reversed"] = body["amount_reversed"] == body["amount"]
    api.save(body)
    api.emit("transfer.reversed", body)
    return api.save(reversal)
