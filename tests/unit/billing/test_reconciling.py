"""Which booking a movement at the provider is, and what counts as a difference."""

from __future__ import annotations

import pytest

from billing.core.reconciling import Fault, Side, compare, references


@pytest.mark.parametrize(
    ("kind", "subject", "minor", "fee", "expected"),
    [
        ("charge", "pi_1", 6_134, 208, [("pi:pi_1:succeeded", 6_134), ("txn:txn_1", -208)]),
        ("refund", "re_1", -100, 0, [("re:re_1", -100)]),
        ("refund_failure", "re_1", 100, 0, [("re:re_1:failed", 100)]),
        ("adjustment", "dp_1", -6_134, 1_500, [("dp:dp_1:open", -6_134)]),
        ("adjustment", "du_1", 6_134, -1_500, [("dp:du_1:won", 6_134)]),
        ("transfer", "item", -2_000, 0, [("po:item:done", -2_000)]),
        ("transfer_refund", "item", 2_000, 0, [("po:item:fail:1", 2_000)]),
        # Nothing of ours: sought under the movement's own id.
        ("transfer", "", -2_000, 0, [("mv:txn_1", -2_000)]),
        ("payout", "po_1", -5_000, 0, [("mv:txn_1", -5_000)]),
        ("stripe_fee", "", -200, 0, [("mv:txn_1", -200)]),
    ],
)
def test_a_movement_is_sought_under_the_key_of_its_booking(kind, subject, minor, fee, expected):
    assert references(kind, movement="txn_1", subject=subject, minor=minor, fee=fee) == expected


def usd(minor: int) -> Side:
    return Side(minor, "USD")


def test_each_way_to_differ_has_its_name_and_what_agrees_is_left_out():
    theirs = {"same": usd(1), "lost": usd(2), "other": usd(3), "balance:USD": usd(4), "waits": usd(0)}
    ours = {"same": usd(1), "made up": usd(2), "other": usd(4), "balance:USD": usd(5)}

    assert {each.reference: (each.fault, each.ours, each.theirs) for each in compare(theirs, ours)} == {
        "lost": (Fault.NOT_BOOKED, None, 2),
        "made up": (Fault.NOT_FOUND, 2, None),
        "other": (Fault.AMOUNT, 4, 3),
        "balance:USD": (Fault.BALANCE, 5, 4),
    }


def test_the_same_number_in_another_currency_is_another_amount():
    [found] = compare({"x": usd(1)}, {"x": Side(1, "EUR")})
    assert found.fault is Fault.AMOUNT
