"""Pages that Stripe hosts: entering a card, proving to be its holder, and the onboarding of a provider."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from marketplace.testpayments import pages
from marketplace.testpayments.pages import Page
from marketplace.testpayments.store import Body
from marketplace.testpayments.stripe import connect, customers, payments, setups
from marketplace.testpayments.stripe.api import Api
from marketplace.testpayments.stripe.errors import ApiError
from marketplace.testpayments.wire import Answer

_PATH = re.compile(r"/hosted/(checkout|authenticate|onboarding)/([A-Za-z0-9_]+)")
_EXPIRY = re.compile(r"(\d{1,2})\s*/\s*(?:20)?(\d{2})")
_HINTS = (
    ("4242 4242 4242 4242", "works"),
    ("4000 0025 0000 3155", "asks its holder once, now"),
    ("4000 0027 6000 3184", "asks its holder at each payment"),
    ("4000 0000 0000 0341", "is saved, and declined later"),
    ("4000 0000 0000 0002", "is declined"),
    ("4000 0000 0000 0259", "is paid, then disputed"),
)


def answer(api: Api, method: str, path: str, form: Body) -> Answer:
    if path == "/hosted/style.css":
        return pages.style()
    match = _PATH.fullmatch(path)
    if match is None:
        return _gone()
    serve: dict[str, Callable[[Api, str, str, Body], Answer]] = {
        "checkout": _checkout,
        "authenticate": _authenticate,
        "onboarding": _onboarding,
    }
    return serve[match[1]](api, method, match[2], form)


def _gone() -> Answer:
    return pages.show(
        Page("Nothing to do here", "Stripe", "<p>This page was used or has expired. Go back and start again.</p>"), 404
    )


def _checkout(api: Api, method: str, identifier: str, form: Body) -> Answer:
    session = api.store.get("checkout.session", identifier)
    if session is None or session["status"] != "open" or session["expires_at"] < api.store.now():
        return _gone()
    if method != "POST":
        return _card_page(session, "")
    if form.get("choice") == "cancel":
        return pages.go(session["cancel_url"] or session["success_url"])
    try:
        return _save(api, session, form)
    except ApiError as error:
        return _card_page(session, error.body["error"]["message"])


def _save(api: Api, session: Body, form: Body) -> Answer:
    expiry = _EXPIRY.fullmatch(str(form.get("expiry", "")).strip())
    if expiry is None or not 1 <= int(expiry[1]) <= 12:
        return _card_page(session, "Write the expiry as MM / YY.")
    card = {"number": form.get("number", ""), "exp_month": expiry[1], "exp_year": f"20{expiry[2]}"}
    made = customers.create_method(
        api, {"type": "card", "card": card, "billing_details": {"name": form.get("name", "")}}
    )
    asked = {"payment_method": made["id"], "return_url": f"{api.url}/hosted/checkout/{session['id']}"}
    intent = setups.confirm(api, asked, session["setup_intent"])
    if intent["status"] == "requires_action":
        return pages.go(intent["next_action"]["redirect_to_url"]["url"])
    return pages.go(setups.complete(api, session))


def _card_page(session: Body, error: str) -> Answer:
    said = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    fields = (
        '<form method="post"><label for="number">Card number</label>'
        '<input id="number" name="number" inputmode="numeric" autocomplete="off" placeholder="4242 4242 4242 4242" autofocus>'
        '<div class="pair"><div><label for="expiry">Expiry</label><input id="expiry" name="expiry" placeholder="MM / YY"></div>'
        '<div><label for="cvc">CVC</label><input id="cvc" name="cvc" inputmode="numeric" placeholder="123"></div></div>'
        '<label for="name">Name on the card</label><input id="name" name="name">'
        '<button name="choice" value="save">Save card</button>'
        '<button class="other" name="choice" value="cancel" formnovalidate>Go back</button></form>'
    )
    hint = '<p class="soft">Any date to come and any three digits will do. Cards for trying things out:</p>'
    body = f'<p class="soft">The card is kept for the payment of invoices.</p>{said}{fields}{hint}{pages.table(_HINTS)}'
    return pages.show(Page("Save a card", "Stripe", body), 402 if error else 200)


def _authenticate(api: Api, method: str, identifier: str, form: Body) -> Answer:
    intent = api.store.get(None, identifier)
    if intent is None or intent.get("status") != "requires_action":
        return _gone()
    if method != "POST":
        what = (
            f"a payment of {intent['amount'] / 100:.2f} {intent['currency'].upper()}"
            if "amount" in intent
            else "saving a card"
        )
        body = f"<p>Your bank asks whether {escape(what)} is your wish.</p>"
        choices = pages.buttons(("approve", "Yes, it is me"), ("refuse", "No, refuse it"))
        return pages.show(Page("Is it you?", "a bank's 3-D Secure page", body + choices))
    approved = form.get("choice") == "approve"
    return (
        _setup_answer(api, intent, approved)
        if intent["object"] == "setup_intent"
        else _payment_answer(api, intent, approved)
    )


def _setup_answer(api: Api, intent: Body, approved: bool) -> Answer:
    session = api.store.get("checkout.session", intent.get("_session", ""))
    if approved:
        setups.succeed(api, intent)
        return pages.go(setups.complete(api, session) if session else intent["_return"])
    setups.refuse(api, intent, "setup_intent_authentication_failure", "")
    return pages.go(intent["_return"])


def _payment_answer(api: Api, intent: Body, approved: bool) -> Answer:
    if approved:
        payments.succeed(api, intent)
    else:
        payments.fail(api, intent, "payment_intent_authentication_failure", "")
    joint = "&" if "?" in intent["_return"] else "?"
    return pages.go(f"{intent['_return']}{joint}payment_intent={intent['id']}")


def _onboarding(api: Api, method: str, identifier: str, form: Body) -> Answer:
    account = api.store.get("account", identifier)
    if account is None or "_return" not in account:
        return _gone()
    if method != "POST":
        body = "<p>Stripe would ask here for the identity of the provider, its bank account and its consent.</p>"
        choices = pages.buttons(("done", "Give all of it"), ("later", "Later"))
        return pages.show(Page("Set up payouts", "Stripe", body + choices))
    if form.get("choice") == "done":
        connect.onboard(api, account)
    return pages.go(account["_return"])
