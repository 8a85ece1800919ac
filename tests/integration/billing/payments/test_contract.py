"""What the product sends to Stripe is what the SDK's own types name: a fake that we wrote could be wrong in the way that we are.

Values are held to the same types by mypy, where the adapter writes them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NotRequired, get_origin

import pytest
from stripe._request_options import RequestOptions
from stripe.params import (
    AccountCreateParams,
    AccountLinkCreateParams,
    CustomerCreateParams,
    CustomerModifyParams,
    PaymentIntentCreateParams,
    RefundCreateParams,
    TransferCreateParams,
    checkout,
)

from billing.gateways import stripe
from billing.gateways.protocols import ChargeRequest
from core.errors import MarketplaceError
from core.ids import uuid7
from tests.support.payment_providers import STRIPE_KEY

TYPES: dict[str, Any] = {
    "/v1/customers": CustomerCreateParams,
    "/v1/checkout/sessions": checkout.SessionCreateParams,
    "/v1/payment_intents": PaymentIntentCreateParams,
    "/v1/refunds": RefundCreateParams,
    "/v1/accounts": AccountCreateParams,
    "/v1/account_links": AccountLinkCreateParams,
    "/v1/transfers": TransferCreateParams,
}


def names(params: Any) -> tuple[set[str], set[str]]:
    """The parameters that a type allows, and those that it asks for. Options of the SDK are not sent as parameters."""
    allowed = set(params.__annotations__) - set(RequestOptions.__annotations__)
    asked = {name for name in allowed if get_origin(params.__annotations__[name]) is not NotRequired}
    return allowed, asked


def test_every_request_that_moves_something_has_parameters_that_the_sdk_knows(settings, stripe_fake):
    settings.STRIPE_KEY, settings.STRIPE_URL = STRIPE_KEY, stripe_fake.url
    gateway, tenant = stripe.gateway(), str(uuid7())
    before = len(stripe_fake.control("requests"))
    customer = gateway.ensure_customer(tenant=tenant, name="Acme", email="bills@acme.example")
    gateway.begin_setup(customer=customer, back="http://x.example/b", leave="http://x.example/l", currency="USD")
    account = gateway.create_account(provider=tenant, email="pay@initech.example", country="US")
    gateway.onboarding_url(account, back="http://x.example/b", again="http://x.example/a")
    request = ChargeRequest(customer, "pm_none", 100, "USD", f"attempt:{tenant}", tenant, tenant, "Invoice 1")
    # Refused for what they name, after their parameters were looked at.
    for ask in (
        lambda: gateway.charge(request),
        lambda: gateway.refund(charge="pi_none", minor=1, key=f"refund:{tenant}", refund=tenant),
        lambda: gateway.transfer(account=account, minor=1, currency="USD", item=tenant),
    ):
        with suppress(MarketplaceError):
            ask()

    sent = [each for each in stripe_fake.control("requests")[before:] if each["method"] == "POST"]
    assert {each["path"] for each in sent} == {*TYPES, f"/v1/customers/{customer}"}
    for each in sent:
        allowed, asked = names(TYPES.get(each["path"], CustomerModifyParams))
        assert set(each["parameters"]) <= allowed, each["path"]
        assert asked <= set(each["parameters"]), each["path"]
        assert each["headers"]["stripe-version"] == stripe.VERSION


@pytest.mark.parametrize("path", TYPES)
def test_the_types_would_notice_a_misspelt_parameter(path):
    allowed, _ = names(TYPES[path])

    assert "metadata" in allowed or path == "/v1/account_links"
    assert "metdata" not in allowed
