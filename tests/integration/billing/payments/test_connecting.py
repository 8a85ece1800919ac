"""A provider chooses to be paid to a bank account: to Stripe's page and back, and what Stripe says of it afterwards."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlsplit

import httpx
import pytest
from allauth.mfa.models import Authenticator

from billing.gateways import stripe
from billing.gateways.protocols import Event
from billing.models import PayoutRail, ProviderAccount, ReceiptState
from billing.services import connecting, inbox, provider_accounts
from billing.tasks.payments import refresh_account
from catalog.models import Provider
from core import clock
from core.errors import ConflictError
from core.ids import uuid7
from tenants.context import platform_scope
from tenants.models import User
from tests.support.operators import prove
from tests.support.payment_providers import STRIPE_KEY
from tests.support.payment_providers import client as sdk_of

ACCOUNT = "/o/initech/earnings/account/"


@pytest.fixture(autouse=True)
def over_stripe(settings, stripe_fake):
    settings.STRIPE_KEY, settings.STRIPE_URL = STRIPE_KEY, stripe_fake.url


@pytest.fixture
def provider(cast) -> Provider:
    with platform_scope():
        found = Provider.objects.select_related("tenant").get(pk=cast.payments.provider_id)
    form = {"legal_name": "Initech Ltd", "address": "Street 1", "country": "DE", "tax_id": "DE1"}
    provider_accounts.save_tax_form(provider=found, actor=cast.diana, **form)
    return found


@pytest.fixture
def browser(cast, client):
    # The stand-in outlives a test, and would give the account of the test before.
    User.objects.filter(pk=cast.diana.pk).update(email=f"{uuid7().hex}@initech.example")
    client.force_login(cast.diana)
    prove(client, cast.diana)
    Authenticator.objects.create(user=cast.diana, type=Authenticator.Type.TOTP, data={})
    return client


def leave(browser) -> str:
    """Choose a bank account; the address of Stripe's page."""
    page = browser.post(ACCOUNT, {"what": "connect"}).content.decode()
    return unescape(re.search(r'href="([^"]*/hosted/onboarding/[^"]*)"', page)[1])


def come_back(browser, page: str, choice: str) -> str:
    back = urlsplit(httpx.post(page, data={"choice": choice}, trust_env=False).headers["location"])
    return browser.get(back.path, follow=True).content.decode()


def account(provider: Provider) -> ProviderAccount:
    return ProviderAccount.objects.select_related("provider__tenant").get(provider=provider)


def tell(destination: str) -> ReceiptState:
    with platform_scope():
        receipt = inbox.receive("stripe", Event(f"evt_{uuid7().hex}", "account.updated", destination), b"{}")
        return ReceiptState(inbox.handle(receipt.pk).state)


def test_it_is_proven_once_stripe_says_so_and_rests_like_any_other_change(provider, browser):
    page = leave(browser)
    chosen = account(provider)
    assert (chosen.rail, chosen.destination_verified_at) == (PayoutRail.CONNECT, None)

    assert "Stripe pays out to your bank account" in come_back(browser, page, "done")

    chosen = account(provider)
    assert chosen.missing == ["the check of your identity by an operator"]
    assert chosen.rests_until > clock.now()


def test_who_leaves_the_page_comes_back_to_the_same_account(provider, browser):
    assert "does not pay out to your account yet" in come_back(browser, leave(browser), "later")
    first = account(provider)
    assert first.destination_verified_at is None
    come_back(browser, leave(browser), "done")

    assert account(provider).destination == first.destination
    assert account(provider).destination_verified_at


def test_what_the_browser_says_on_its_way_back_is_not_believed(provider, browser):
    leave(browser)
    browser.get(f"{ACCOUNT}connected/?ready=1")

    assert account(provider).destination_verified_at is None


def test_stripe_s_own_news_proves_it_without_the_browser(provider, browser):
    httpx.post(leave(browser), data={"choice": "done"}, trust_env=False)

    assert tell(account(provider).destination) == ReceiptState.HANDLED
    assert account(provider).destination_verified_at


def test_nothing_is_paid_there_once_stripe_takes_it_back(provider, browser, cast, stripe_fake):
    come_back(browser, leave(browser), "done")
    provider_accounts.check_identity(provider=provider, known=True, operator=cast.olga)
    chosen = account(provider)
    assert chosen.state == ProviderAccount.State.ACTIVE
    sdk_of(stripe_fake).v1.accounts.delete(chosen.destination)
    tell(chosen.destination)

    assert not account(provider).may_be_paid(chosen.rests_until)
    assert account(provider).state == ProviderAccount.State.ONBOARDING


def test_an_account_whose_news_were_lost_is_asked_about(provider, browser, stripe_fake):
    httpx.post(leave(browser), data={"choice": "done"}, trust_env=False)
    chosen = account(provider)
    with platform_scope():
        assert connecting.sweep() >= 1
    refresh_account.run(account_id=str(chosen.pk))
    assert account(provider).destination_verified_at

    ProviderAccount.objects.filter(pk=chosen.pk).update(destination="acct_gone")
    refresh_account.run(account_id=str(chosen.pk))
    assert account(provider).destination_verified_at is None


def test_news_of_an_account_that_was_replaced_changes_nothing(provider, browser, cast):
    httpx.post(leave(browser), data={"choice": "done"}, trust_env=False)
    left = account(provider)
    provider_accounts.choose_method(
        provider=provider, rail="paypal", destination="money@initech.example", actor=cast.diana
    )
    tell(left.destination)

    assert account(provider).destination_verified_at is None
    with pytest.raises(ConflictError):
        connecting.refresh(left)


def test_without_a_second_factor_no_account_is_made(provider, browser, cast, monkeypatch):
    Authenticator.objects.filter(user=cast.diana).delete()
    monkeypatch.setattr(stripe.StripeGateway, "create_account", lambda *_, **__: pytest.fail("an account was made"))
    page = browser.post(ACCOUNT, {"what": "connect"}, follow=True).content.decode()

    assert "second factor" in page
    assert account(provider).destination == ""


def test_the_country_is_asked_for_first(provider, browser):
    ProviderAccount.objects.filter(provider=provider).update(country="")

    assert "Fill in the tax form first" in browser.post(ACCOUNT, {"what": "connect"}, follow=True).content.decode()


def test_the_page_offers_it_only_where_stripe_is_configured(provider, browser, settings):
    assert "Use a bank account" in browser.get(ACCOUNT).content.decode()
    settings.STRIPE_KEY = ""

    assert "Use a bank account" not in browser.get(ACCOUNT).content.decode()
