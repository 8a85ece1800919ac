"""The pages of cards and payments, as a browser walks them."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlsplit

import httpx
import pytest
from allauth.mfa.models import Authenticator

from billing.models import PaymentMethod, ReceiptState, WebhookReceipt
from billing.services import invoices
from core.ids import uuid7
from tenants.context import platform_scope
from tests.support.invoices import draft, usage
from tests.support.payment_providers import STRIPE_KEY

CARDS = "/o/acme/billing/payment-methods/"


@pytest.fixture(autouse=True)
def provider(settings, stripe_fake):
    settings.STRIPE_KEY, settings.STRIPE_URL = STRIPE_KEY, stripe_fake.url
    settings.TEST_PAYMENTS = True


def save(browser, number: str):
    """From the button to the way back."""
    leaving = browser.post(f"{CARDS}new/").content.decode()
    url = unescape(re.search(r'href="([^"]*/hosted/checkout/[^"]*)"', leaving)[1])
    form = {"number": number, "expiry": "12/40", "cvc": "123", "choice": "save"}
    back = urlsplit(httpx.post(url, data=form, trust_env=False).headers["location"])
    return browser.get(f"{back.path}?{back.query}", follow=True).content.decode()


def test_an_owner_saves_a_card_pays_with_it_and_removes_it(cast, signed_in):
    browser = signed_in(cast.alice)
    page = save(browser, "4242424242424242")
    assert "Visa ending in 4242" in page
    assert "Test payments" in page

    with platform_scope():
        invoice = invoices.open(draft(cast.acme, [usage(cast.payments.provider_id, 6_134)]))
    paid = browser.post(f"/o/acme/billing/invoices/{invoice.pk}/pay/", follow=True).content.decode()
    assert "61.34 USD are paid" in paid

    [card] = PaymentMethod.objects.filter(tenant=cast.acme, removed_at=None)
    assert "Remove this card?" in browser.get(f"{CARDS}{card.pk}/remove/").content.decode()
    assert "No card" in browser.post(f"{CARDS}{card.pk}/remove/", follow=True).content.decode()


def test_a_payment_that_the_bank_asks_about_leads_there(cast, signed_in):
    browser = signed_in(cast.alice)
    leaving = browser.post(f"{CARDS}new/").content.decode()
    url = unescape(re.search(r'href="([^"]*/hosted/checkout/[^"]*)"', leaving)[1])
    form = {"number": "4000002760003184", "expiry": "12/40", "cvc": "123", "choice": "save"}
    asks = httpx.post(url, data=form, trust_env=False).headers["location"]
    back = urlsplit(httpx.post(asks, data={"choice": "approve"}, trust_env=False).headers["location"])
    browser.get(f"{back.path}?{back.query}")
    with platform_scope():
        invoice = invoices.open(draft(cast.acme, [usage(cast.payments.provider_id, 100)]))

    page = browser.post(f"/o/acme/billing/invoices/{invoice.pk}/pay/", follow=True).content.decode()
    confirm = re.search(r'action="([^"]*/confirm/)"', page)[1]
    bank = unescape(re.search(r'href="([^"]*/hosted/authenticate/[^"]*)"', browser.post(confirm).content.decode())[1])
    back = urlsplit(httpx.post(bank, data={"choice": "approve"}, trust_env=False).headers["location"])

    assert "1.00 USD are paid" in browser.get(f"{back.path}?{back.query}", follow=True).content.decode()


def test_without_a_provider_the_page_says_so_and_offers_nothing(cast, signed_in, settings):
    settings.STRIPE_KEY = ""
    page = signed_in(cast.alice).get(CARDS).content.decode()

    assert "no payment provider is configured" in page
    assert "Save a card" not in page


def test_operators_see_events_that_were_given_up_and_try_them_again(cast, signed_in):
    receipt = WebhookReceipt.objects.create(
        provider="stripe",
        event_id=f"evt_{uuid7().hex}",
        kind="charge.dispute.created",
        body=b"{}",
        state=ReceiptState.DEAD,
    )
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "sealed-secret"})
    browser = signed_in(cast.olga)
    assert receipt.event_id in browser.get("/operations/billing/payment-events/").content.decode()

    browser.post("/operations/billing/payment-events/", {"receipt": str(receipt.pk)})

    receipt.refresh_from_db()
    assert receipt.state == ReceiptState.WAITING
    assert browser.post("/operations/billing/payment-events/", {"receipt": "nonsense"}).status_code == 404
