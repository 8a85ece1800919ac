"""What the product sends to PayPal is what PayPal's descriptions know: the stand-in holds every request to them as it arrives."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from billing.gateways import paypal
from billing.gateways.paypal import PayoutLine
from core.ids import uuid7
from core.money import Money
from marketplace.testpayments.paypal import rules
from tests.support.payment_providers import PAYPAL, Fake

pytestmark = pytest.mark.django_db
EVENT = b'{"id": "WH-1", "event_type": "PAYMENT.PAYOUTSBATCH.SUCCESS", "resource": {"amount": 1.10}}'
SIGNED = {
    "Paypal-Auth-Algo": "SHA256withRSA",
    "Paypal-Cert-Url": "https://api.paypal.com/v1/notifications/certs/X",
    "Paypal-Transmission-Id": str(uuid7()),
    "Paypal-Transmission-Sig": "c2lnbmF0dXJl",
    "Paypal-Transmission-Time": "2027-03-01T12:00:00Z",
}


@pytest.fixture
def gateway(settings, paypal_fake: Fake):
    settings.PAYPAL_URL = paypal_fake.url
    settings.PAYPAL_CLIENT_ID, settings.PAYPAL_SECRET = PAYPAL["client_id"], PAYPAL["secret"]
    settings.PAYPAL_WEBHOOK_ID = "WH-ID"
    return paypal.gateway()


@pytest.fixture
def wire(paypal_fake: Fake) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=paypal_fake.url, trust_env=False) as http:
        auth = (PAYPAL["client_id"], PAYPAL["secret"])
        answer = http.post("/v1/oauth2/token", data={"grant_type": "client_credentials"}, auth=auth)
        http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http


def test_every_request_that_the_product_sends_is_described(gateway, paypal_fake):
    before = len(paypal_fake.control("requests"))
    lines = [PayoutLine(str(uuid7()), f"unclaimed+{n}@x.example", Money(6237, "USD")) for n in range(2)]
    batch = gateway.submit(str(uuid7()), lines, note="Your earnings of February 2027")
    paypal_fake.control("clock", ahead=10)
    items = list(gateway.items(batch))
    gateway.cancel(items[0].external_id)
    assert not gateway.is_genuine(EVENT, SIGNED)

    sent = paypal_fake.control("requests")[before:]
    used = {
        rules.check(*(each[name] for name in ("method", "path", "query", "media")), each["body"].encode()).path.pattern
        for each in sent
    }
    # A token is asked for before, and single items are not asked about.
    assert [each.path.pattern for each in rules.OPERATIONS if each.path.pattern not in used] == [
        "/v1/oauth2/token",
        "/v1/payments/payouts-item/[^/]{1,32}",
    ]
    assert {item.state for item in items} == {"unclaimed"}


def payout(**item) -> dict:
    asked = {
        "recipient_type": "EMAIL",
        "receiver": "good@x.example",
        "amount": {"value": "20.00", "currency": "USD"},
        "sender_item_id": str(uuid7()),
    }
    asked = {name: value for name, value in (asked | item).items() if value is not None}
    return {"sender_batch_header": {"sender_batch_id": str(uuid7())}, "items": [asked]}


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"reciever": "good@x.example"}, "$.items[0]"),
        ({"receiver": None}, "$.items[0]"),
        ({"recipient_type": None}, "$.items[0]"),
        ({"purpose": "WAGES"}, "$.items[0].purpose"),
        ({"sender_item_id": "x" * 64}, "$.items[0].sender_item_id"),
        ({"amount": {"value": 20.0, "currency": "USD"}}, "$.items[0].amount.value"),
        ({"amount": {"value": "20.00", "currency": "US"}}, "$.items[0].amount.currency"),
    ],
)
def test_a_payout_that_is_not_described_is_refused_by_its_field(wire, item, field):
    answer = wire.post("/v1/payments/payouts", json=payout(**item))

    assert (answer.status_code, answer.json()["name"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"][0]["field"] == field


def test_what_no_item_says_of_its_receiver_may_be_said_by_the_batch(wire):
    asked = payout(recipient_type=None)
    asked["sender_batch_header"]["recipient_type"] = "EMAIL"

    assert wire.post("/v1/payments/payouts", json=asked).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/payments/payouts/X?pages=1", 400),
        ("GET", "/v1/payments/payouts/X?page=0", 400),
        ("GET", "/v1/payments/payouts/X?page_size=1001", 400),
        ("GET", "/v1/payments/payouts/X?total_required=yes", 400),
        ("GET", "/v1/payments/payouts-item/X?page=1", 400),
        ("PUT", "/v1/payments/payouts", 404),
        ("GET", "/v1/payments/payout/X", 404),
    ],
)
def test_parameters_and_paths_that_are_not_described_are_refused(wire, method, path, status):
    assert wire.request(method, path).status_code == status


def test_a_body_comes_as_what_it_is_said_to_be(wire):
    content = json.dumps(payout()).encode()

    assert wire.post("/v1/payments/payouts", content=content, headers={"content-type": "text/plain"}).status_code == 415
    assert wire.post("/v1/payments/payouts", data={"items": "1"}).status_code == 415


def test_a_token_is_asked_for_in_the_one_way_that_is_described(paypal_fake):
    auth = (PAYPAL["client_id"], PAYPAL["secret"])
    asked = {"grant_type": "password"}

    assert httpx.post(f"{paypal_fake.url}/v1/oauth2/token", data=asked, auth=auth, trust_env=False).status_code == 400
