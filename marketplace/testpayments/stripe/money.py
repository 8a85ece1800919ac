"""The balance: every movement is a balance transaction. Refunds and disputes move it too."""

from __future__ import annotations

from typing import Any

from marketplace.testpayments.store import Body
from marketplace.testpayments.stripe import cards, errors
from marketplace.testpayments.stripe.api import Api, amount, boolean, listed, merged, route

# Stripe's list price for cards in the United States, in minor units: 2.9 % and 30 cents; 15 dollars for a dispute.
_FEE_PER_MILLE, _FEE_FIXED, _DISPUTE_FEE = 29, 30, 1500


def fee(minor: int) -> int:
    return (minor * _FEE_PER_MILLE + 500) // 1000 + _FEE_FIXED


def entry(api: Api, kind: str, minor: int, source: str, currency: str, *, fee: int = 0) -> Body:
    details = [{"amount": fee, "currency": currency, "type": "stripe_fee", "description": "Processing fees"}]
    return api.make(
        "balance_transaction",
        "txn",
        type=kind,
        reporting_category=kind,
        amount=minor,
        fee=fee,
        net=minor - fee,
        currency=currency,
        source=source,
        status="available",
        available_on=api.store.now(),
        fee_details=details if fee else [],
        description=None,
    )


@route("GET", "/v1/balance")
def balance(api: Api, parameters: Body) -> Body:
    sums: dict[str, int] = {}
    for each in api.every("balance_transaction"):
        sums[each["currency"]] = sums.get(each["currency"], 0) + each["net"]
    available = [
        {"amount": minor, "currency": currency, "source_types": {"card": minor}} for currency, minor in sums.items()
    ]
    return {"object": "balance", "available": available, "pending": [], "livemode": False}


@route("GET", "/v1/balance_transactions", "type", "source", "currency", pages=True)
def list_entries(api: Api, parameters: Body) -> Body:
    wanted = {name: parameters[name] for name in ("type", "source", "currency") if parameters.get(name)}
    return listed(api.every("balance_transaction", **wanted), parameters, "/v1/balance_transactions")


@route("GET", "/v1/balance_transactions/{}")
def retrieve_entry(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("balance_transaction", identifier)


@route("POST", "/v1/refunds", "payment_intent", "charge", "amount", "reason", "metadata")
def refund(api: Api, parameters: Body) -> Body:
    charge = _charge_of(api, parameters)
    left = charge["amount"] - charge["amount_refunded"]
    minor = amount(parameters) if "amount" in parameters else left
    if charge["status"] != "succeeded":
        raise errors.invalid("This charge did not succeed and cannot be refunded.", code="charge_not_refundable")
    if charge["disputed"]:
        raise errors.invalid("This charge has been charged back.", code="charge_disputed")
    if left == 0:
        raise errors.invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if minor > left:
        message = f"Refund amount ({minor}) is greater than unrefunded amount on charge ({left})."
        raise errors.invalid(message, param="amount")
    body = api.make(
        "refund",
        "re",
        amount=minor,
        charge=charge["id"],
        payment_intent=charge["payment_intent"],
        currency=charge["currency"],
        reason=parameters.get("reason"),
        metadata=parameters.get("metadata") or {},
        status="succeeded",
        failure_reason=None,
    )
    body["balance_transaction"] = entry(api, "refund", -minor, body["id"], charge["currency"])["id"]
    charge["amount_refunded"] += minor
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    api.save(charge)
    api.save(body)
    api.emit("refund.created", body)
    api.emit("charge.refunded", charge)
    if cards.CARDS[api.find("payment_method", charge["payment_method"])["_number"]].refund_fails:
        _fail_refund(api, body, charge)
    return body


def _fail_refund(api: Api, body: Body, charge: Body) -> None:
    """The bank sends the money back: later than the answer, which says that it succeeded."""
    failed = entry(api, "refund_failure", body["amount"], body["id"], charge["currency"])
    later = {**body, "status": "failed", "failure_reason": "expired_or_canceled_card"}
    later["failure_balance_transaction"] = failed["id"]
    charge |= {"amount_refunded": charge["amount_refunded"] - body["amount"], "refunded": False}
    api.save(charge)
    api.save(later)
    api.emit("refund.failed", later)


@route("POST", "/v1/payouts", "description", "metadata", "method", required=("amount", "currency"))
def pay_out(api: Api, parameters: Body) -> Body:
    """To our own bank, what the balance holds at most. It has arrived at once."""
    minor, currency = amount(parameters), parameters["currency"]
    if minor > _held(api, currency):
        message = "You have insufficient funds in your Stripe account for this payout."
        raise errors.invalid(message, code="balance_insufficient")
    body = api.make(
        "payout",
        "po",
        amount=minor,
        currency=currency,
        automatic=False,
        method=parameters.get("method", "standard"),
        description=parameters.get("description"),
        metadata=parameters.get("metadata") or {},
        status="paid",
        failure_code=None,
    )
    body["balance_transaction"] = entry(api, "payout", -minor, body["id"], currency)["id"]
    api.emit("payout.paid", body)
    return api.save(body)


@route("GET", "/v1/payouts/{}")
def retrieve_payout(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("payout", identifier)


@route("GET", "/v1/payouts", "status", pages=True)
def list_payouts(api: Api, parameters: Body) -> Body:
    wanted = {"status": parameters["status"]} if parameters.get("status") else {}
    return listed(api.every("payout", **wanted), parameters, "/v1/payouts")


def fail_payout(api: Api, body: Body) -> Body:
    """Our bank sends it back, days after it counted as paid."""
    if body["status"] != "paid":
        raise errors.invalid("This payout is not paid.")
    back = entry(api, "payout_failure", body["amount"], body["id"], body["currency"])
    body |= {"status": "failed", "failure_code": "account_closed", "failure_balance_transaction": back["id"]}
    api.emit("payout.failed", body)
    return api.save(body)


def _held(api: Api, currency: str) -> int:
    return sum(each["net"] for each in api.every("balance_transaction", currency=currency))


def _charge_of(api: Api, parameters: Body) -> Body:
    if parameters.get("charge"):
        return api.find("charge", parameters["charge"], param="charge")
    intent = api.find("payment_intent", parameters.get("payment_intent", ""), param="payment_intent")
    if not intent["latest_charge"]:
        raise errors.invalid("This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
    return api.find("charge", intent["latest_charge"])


@route("GET", "/v1/refunds/{}")
def retrieve_refund(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("refund", identifier)


@route("GET", "/v1/refunds", "payment_intent", "charge", pages=True)
def list_refunds(api: Api, parameters: Body) -> Body:
    wanted = {name: parameters[name] for name in ("payment_intent", "charge") if parameters.get(name)}
    return listed(api.every("refund", **wanted), parameters, "/v1/refunds")


def open_dispute(api: Api, charge: Body, reason: str) -> Body:
    """The card's holder objects: the amount and a fee are taken until it is decided."""
    dispute = api.make(
        "dispute",
        "dp",
        amount=charge["amount"] - charge["amount_refunded"],
        currency=charge["currency"],
        charge=charge["id"],
        payment_intent=charge["payment_intent"],
        reason=reason,
        status="needs_response",
        is_charge_refundable=False,
        metadata={},
        evidence={},
        evidence_details={"due_by": api.store.now() + 7 * 86_400, "has_evidence": False, "submission_count": 0},
    )
    taken = entry(api, "adjustment", -dispute["amount"], dispute["id"], charge["currency"], fee=_DISPUTE_FEE)
    dispute["balance_transactions"] = [taken]
    charge["disputed"] = True
    api.save(charge)
    api.emit("charge.dispute.created", dispute)
    api.emit("charge.dispute.funds_withdrawn", dispute)
    return api.save(dispute)


def close_dispute(api: Api, dispute: Body, outcome: str) -> Body:
    """`won` gives the amount and the fee back; `lost` leaves them taken."""
    if dispute["status"] in {"won", "lost"}:
        raise errors.invalid("This dispute is closed.")
    dispute["status"] = outcome
    if outcome == "won":
        back = entry(api, "adjustment", dispute["amount"], dispute["id"], dispute["currency"], fee=-_DISPUTE_FEE)
        dispute["balance_transactions"].append(back)
        charge = api.find("charge", dispute["charge"])
        api.save({**charge, "disputed": False})
        api.emit("charge.dispute.funds_reinstated", dispute)
    api.emit("charge.dispute.closed", dispute)
    return api.save(dispute)


@route("GET", "/v1/disputes/{}")
def retrieve_dispute(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("dispute", identifier)


@route("GET", "/v1/disputes", "payment_intent", "charge", pages=True)
def list_disputes(api: Api, parameters: Body) -> Body:
    wanted = {name: parameters[name] for name in ("payment_intent", "charge") if parameters.get(name)}
    return listed(api.every("dispute", **wanted), parameters, "/v1/disputes")


@route("POST", "/v1/disputes/{}", "evidence", "submit", "metadata")
def update_dispute(api: Api, parameters: Body, identifier: str) -> Body:
    """Evidence that holds `winning_evidence` or `losing_evidence` decides the dispute, as in Stripe's test mode."""
    dispute = api.find("dispute", identifier)
    dispute["evidence"] = {**dispute["evidence"], **(parameters.get("evidence") or {})}
    dispute["metadata"] = merged(dispute["metadata"], parameters.get("metadata"))
    api.save(dispute)
    words: Any = dispute["evidence"].get("uncategorized_text", "")
    if boolean(parameters.get("submit", "true")) and words in {"winning_evidence", "losing_evidence"}:
        return close_dispute(api, dispute, "won" if words == "winning_evidence" else "lost")
    return dispute
