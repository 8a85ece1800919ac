from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from django.core.cache import cache

from billing.gateways import rails, stripe
from core.ids import uuid7
from tests.support.payment_providers import PAYPAL, STRIPE_KEY, Fake, client, save_card


@pytest.fixture(scope="package")
def stripe_fake(tmp_path_factory) -> Iterator[Fake]:
    fake = Fake("stripe", tmp_path_factory.mktemp("stripe")).start()
    yield fake
    fake.kill()


@pytest.fixture(scope="package")
def paypal_fake(tmp_path_factory) -> Iterator[Fake]:
    fake = Fake("paypal", tmp_path_factory.mktemp("paypal")).start()
    yield fake
    fake.kill()


@pytest.fixture
def over_paypal(settings, paypal_fake):
    settings.PAYPAL_URL = paypal_fake.url
    settings.PAYPAL_CLIENT_ID, settings.PAYPAL_SECRET = PAYPAL["client_id"], PAYPAL["secret"]
    settings.PAYPAL_WEBHOOK_ID = PAYPAL["webhook_id"]
    cache.clear()
    return rails.rail("paypal")


@pytest.fixture
def over_connect(settings, stripe_fake):
    settings.STRIPE_KEY, settings.STRIPE_URL = STRIPE_KEY, stripe_fake.url
    return rails.rail("connect")


@pytest.fixture
def account(over_connect, stripe_fake) -> str:
    """An account that is onboarded, and money of ours to send it."""
    sdk = client(stripe_fake)
    customer = sdk.v1.customers.create({}).id
    method = save_card(sdk, customer).id
    asked = {"customer": customer, "amount": 50_000, "currency": "usd", "payment_method": method, "confirm": True}
    sdk.v1.payment_intents.create(asked)
    gateway = stripe.gateway()
    made = gateway.create_account(provider=str(uuid7()), email="pay@initech.example", country="US")
    url = gateway.onboarding_url(made, back="http://x.example/back", again="http://x.example/again")
    assert not gateway.account_ready(made)
    httpx.post(url, data={"choice": "done"}, trust_env=False)
    assert gateway.account_ready(made)
    return made
