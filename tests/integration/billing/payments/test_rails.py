"""Payouts over both rails: paid once, whatever answers are lost, and called refused only when they surely are."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from billing.gateways import paypal
from billing.gateways.protocols import RefusedError, TryLaterError, UnknownOutcomeError
from billing.gateways.rails import BatchOrder, ItemStatus, PayoutOrder
from core.ids import uuid7
from tests.support.payment_providers import client


def batch(*destinations: str, minor: int = 2_000, external_id: str = "") -> BatchOrder:
    return BatchOrder(uuid7(), tuple(PayoutOrder(uuid7(), each, minor, "USD") for each in destinations), external_id)


class TestPaypal:
    def test_items_end_as_paypal_says_with_its_fee(self, over_paypal, paypal_fake):
        told = batch("good@x.example", "fail@x.example")
        answer = over_paypal.submit(told)
        paypal_fake.control("clock", ahead=10)

        states = over_paypal.poll(BatchOrder(told.batch_id, told.orders, answer.external_id))

        assert [(each.status, each.fee_minor) for each in states] == [(ItemStatus.SUCCESS, 40), (ItemStatus.FAILED, 0)]
        assert [each.item_id for each in states] == [order.item_id for order in told.orders]

    @pytest.mark.parametrize("fault", ["drop_answer", "fail_after"])
    def test_a_batch_whose_answer_was_lost_is_the_same_batch_again(self, over_paypal, paypal_fake, fault):
        told = batch("good@x.example")
        paypal_fake.switch(fault, method="POST", path="/v1/payments/payouts")
        with pytest.raises(UnknownOutcomeError):
            over_paypal.submit(told)

        assert over_paypal.submit(told).external_id == over_paypal.submit(told).external_id

    def test_only_what_is_surely_not_taken_is_called_refused(self, over_paypal, paypal_fake, settings):
        with pytest.raises(RefusedError):
            over_paypal.submit(batch("good@x.example", minor=0))
        settings.PAYPAL_SECRET = "wrong"
        cache.clear()
        with pytest.raises(TryLaterError):
            over_paypal.submit(batch("good@x.example"))

    def test_a_webhook_is_genuine_when_paypal_says_so_of_these_very_bytes(self, over_paypal):
        forged = {f"Paypal-{name}": "x" for name in ("Auth-Algo", "Cert-Url", "Transmission-Id", "Transmission-Sig")}
        forged["Paypal-Transmission-Time"] = "2026-11-01T00:00:00Z"

        assert not paypal.gateway().is_genuine(b'{"id": "WH-1"}', forged)
        assert not paypal.gateway().is_genuine(b'{"id": "WH-1"}', {})


class TestConnect:
    def test_an_item_has_one_transfer_whatever_is_lost(self, over_connect, account, stripe_fake):
        told = batch(account)
        stripe_fake.switch("drop_answer", method="POST", path="/v1/transfers", times=3)
        with pytest.raises(UnknownOutcomeError):
            over_connect.submit(told)

        [state] = over_connect.submit(told).items
        assert state.status is ItemStatus.SUCCESS
        found = client(stripe_fake).v1.transfers.list({"destination": account}).data
        assert [each.id for each in found] == [state.external_id]

    def test_an_account_that_takes_nothing_fails_and_missing_funds_wait(self, over_connect, account):
        [state] = over_connect.submit(batch("acct_nobody")).items
        assert state.status is ItemStatus.FAILED
        with pytest.raises(TryLaterError):
            over_connect.submit(batch(account, minor=90_000_000))

    def test_a_transfer_that_was_taken_back_is_told_when_asked(self, over_connect, account, stripe_fake):
        told = batch(account)
        [state] = over_connect.submit(told).items
        client(stripe_fake).v1.transfers.reversals.create(state.external_id)

        assert [each.status for each in over_connect.poll(told)] == [ItemStatus.REVERSED]
