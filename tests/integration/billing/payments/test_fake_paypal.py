"""The fake PayPal, asked over its wire."""

from __future__ import annotations

import httpx
import pytest

from core.ids import uuid7
from tests.support.payment_providers import PAYPAL, Fake


@pytest.fixture
def paypal(paypal_fake: Fake):
    with httpx.Client(base_url=paypal_fake.url, trust_env=False) as http:
        auth = (PAYPAL["client_id"], PAYPAL["secret"])
        token = http.post("/v1/oauth2/token", data={"grant_type": "client_credentials"}, auth=auth).json()[
            "access_token"
        ]
        http.headers["authorization"] = f"Bearer {token}"
        yield http


def payout(*receivers: str, name: str = "", value: str = "20.00") -> dict:
    items = [
        {
            "recipient_type": "EMAIL",
            "receiver": each,
            "amount": {"value": value, "currency": "USD"},
            "sender_item_id": str(uuid7()),
        }
        for each in receivers
    ]
    return {"sender_batch_header": {"sender_batch_id": name or str(uuid7())}, "items": items}


def test_a_batch_is_pending_and_then_each_item_ends_as_its_receiver_says(paypal, paypal_fake):
    made = paypal.post("/v1/payments/payouts", json=payout("good@x.example", "fail@x.example", "unclaimed+1@x.example"))
    batch = made.json()["batch_header"]["payout_batch_id"]
    assert (made.status_code, made.json()["batch_header"]["batch_status"]) == (201, "PENDING")

    paypal_fake.control("clock", ahead=10)

    shown = paypal.get(f"/v1/payments/payouts/{batch}").json()
    assert shown["batch_header"]["batch_status"] == "SUCCESS"
    assert [item["transaction_status"] for item in shown["items"]] == ["SUCCESS", "FAILED", "UNCLAIMED"]
    assert shown["items"][0]["payout_item_fee"]["value"] == "0.40"
    item = shown["items"][2]["payout_item_id"]
    assert paypal.post(f"/v1/payments/payouts-item/{item}/cancel").json()["transaction_status"] == "RETURNED"


def test_a_batch_asked_for_again_is_refused_with_a_link_to_the_first(paypal):
    asked = payout("good@x.example")
    first = paypal.post("/v1/payments/payouts", json=asked).json()["batch_header"]["payout_batch_id"]

    again = paypal.post("/v1/payments/payouts", json=asked)

    assert again.status_code == 400
    assert again.json()["links"][0]["href"].endswith(f"/v1/payments/payouts/{first}")


@pytest.mark.parametrize("value", ["20", "0.00", "20.001", "-1.00", 20])
def test_amounts_are_text_with_two_decimals_and_more_than_nothing(paypal, value):
    answer = paypal.post("/v1/payments/payouts", json=payout("good@x.example", value=value))

    assert (answer.status_code == 201) == (value == "20")
    assert answer.status_code in {201, 400}


def test_an_empty_batch_and_a_stranger_are_refused(paypal, paypal_fake):
    assert paypal.post("/v1/payments/payouts", json=payout()).json()["name"] == "VALIDATION_ERROR"
    assert httpx.get(f"{paypal_fake.url}/v1/payments/payouts/X", trust_env=False).status_code == 401


def test_a_dropped_answer_leaves_the_batch_made(paypal, paypal_fake):
    asked = payout("good@x.example")
    paypal_fake.switch("drop_answer", method="POST", path="/v1/payments/payouts")

    with pytest.raises(httpx.RemoteProtocolError):
        paypal.post("/v1/payments/payouts", json=asked)

    assert "links" in paypal.post("/v1/payments/payouts", json=asked).json()
