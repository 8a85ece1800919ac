"""The bookings of events, by hand and as any sequence that can happen."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core import postings
from billing.core.postings import RULES, Entry, Kind, Parts, Share, Taken
from core.errors import InvalidError

ACME, SMITH, JONES = (UUID(int=n) for n in (1, 2, 3))
cents = st.integers(0, 10_000_000)


def parts_of(*numbers: int) -> Parts:
    smith, jones, platform, subscription, credit, tax = numbers
    return Parts(
        ACME,
        {SMITH: smith, JONES: jones},
        platform=platform,
        subscription=subscription,
        credit=credit,
        tax={"DE": tax},
    )


class TestEveryKind:
    def test_has_a_rule(self):
        assert set(RULES) == set(Kind)

    def test_names_families_that_exist_on_both_sides(self):
        families = postings.SINGLE | postings.TENANTS | postings.PROVIDERS | postings.JURISDICTIONS

        assert {family for rule in RULES.values() for side in rule for family in side} <= families


class TestAccounts:
    def test_a_code_says_whose_it_is(self):
        assert postings.owner_of(postings.of(postings.PENDING, SMITH)) == ("provider", str(SMITH))
        assert postings.owner_of(postings.of(postings.AR, ACME)) == ("tenant", str(ACME))
        assert postings.owner_of(postings.of(postings.TAX, "DE")) == ("jurisdiction", "DE")
        assert postings.owner_of(postings.STRIPE) == ("", "")

    @pytest.mark.parametrize("code", ["", "A:cash", "A:ar", "A:ar:", "L:prov_pending", "X:stripe", "A:stripe:more"])
    def test_a_code_that_names_no_account_is_refused(self, code):
        with pytest.raises(InvalidError):
            postings.family_of(code)


class TestCheck:
    def refusal(self, kind: Kind, *entries: Entry) -> str:
        with pytest.raises(InvalidError) as caught:
            postings.check(kind, entries)
        return caught.value.error_code

    def test_a_booking_has_two_sides(self):
        assert self.refusal(Kind.PAYMENT) == "billing.booking_empty"
        assert self.refusal(Kind.PAYMENT, Entry(postings.STRIPE, 0), Entry("A:bank", 0)) == "billing.booking_empty"

    def test_a_booking_balances(self):
        owed = Entry(postings.of(postings.AR, ACME), -9)

        assert self.refusal(Kind.PAYMENT, Entry(postings.STRIPE, 10), owed) == "billing.booking_unbalanced"

    def test_a_balanced_booking_between_accounts_that_have_nothing_to_do_with_each_other_is_refused(self):
        entries = Entry(postings.STRIPE, 10), Entry(postings.of(postings.AVAILABLE, SMITH), -10)

        assert self.refusal(Kind.PAYMENT, *entries) == "billing.booking_not_allowed"

    def test_the_right_accounts_the_wrong_way_round_are_refused(self):
        assert self.refusal(Kind.RELEASE, *postings.reversed_(postings.release(SMITH, 5))) == (
            "billing.booking_not_allowed"
        )


class TestEvents:
    def test_an_invoice_is_owed_in_full_and_divided_among_those_who_earned_it(self):
        assert postings.invoice_opened(parts_of(700, 0, 300, 2900, 0, 741)) == [
            Entry(f"A:ar:{ACME}", 4641),
            Entry("L:deferred_sub", -2900),
            Entry(f"L:prov_pending:{SMITH}", -700),
            Entry("L:tax:DE", -741),
            Entry("R:platform_fee", -300),
        ]

    def test_what_is_given_is_paid_by_the_platform_and_not_by_the_provider(self):
        booked = dict(postings.invoice_opened(parts_of(700, 0, 300, 0, 400, 0)))

        assert (booked["E:promo_credit"], booked[f"A:ar:{ACME}"], booked[f"L:prov_pending:{SMITH}"]) == (400, 600, -700)

    def test_a_total_below_zero_is_put_to_the_organisation_s_credit(self):
        booked = dict(postings.invoice_opened(parts_of(0, 0, 0, -500, 0, 0)))

        assert booked == {f"L:customer_credit:{ACME}": -500, "L:deferred_sub": 500}

    def test_what_is_paid_too_much_stays_as_credit(self):
        assert dict(postings.payment(ACME, 1000, due=900)) == {
            "A:stripe": 1000,
            f"A:ar:{ACME}": -900,
            f"L:customer_credit:{ACME}": -100,
        }

    def test_a_credit_note_lowers_what_is_due_before_it_gives_credit(self):
        taken = Taken(ACME, {SMITH: Share(pending=70)}, platform=30)

        assert dict(postings.credit_note(taken, unpaid=60))[f"A:ar:{ACME}"] == -60
        assert dict(postings.credit_note(taken, unpaid=60))[f"L:customer_credit:{ACME}"] == -40
        assert f"A:ar:{ACME}" not in dict(postings.credit_note(taken, unpaid=0))

    def test_a_share_that_was_given_on_is_taken_from_what_the_provider_gets_next(self):
        taken = Taken(ACME, {SMITH: Share(pending=20, available=50)}, platform=30)
        booked = dict(postings.credit_note(taken, unpaid=0))

        assert (booked[f"L:prov_pending:{SMITH}"], booked[f"L:prov_available:{SMITH}"]) == (20, 50)

    def test_a_lost_dispute_costs_the_fee_on_top(self):
        taken = Taken(ACME, {SMITH: Share(pending=70)}, platform=30)
        booked = dict(postings.dispute_lost(taken, fee=1500))

        assert booked == {
            f"L:prov_pending:{SMITH}": 70,
            "R:platform_fee": 30,
            "E:dispute": 1500,
            "A:disputed": -100,
            "A:stripe": -1500,
        }

    def test_a_payout_that_came_back_after_it_had_counted_as_done_comes_back_to_where_it_went_from(self):
        assert dict(postings.payout_failed(SMITH, 5000, back_in=postings.PAYPAL)) == {
            "A:paypal": 5000,
            f"L:prov_available:{SMITH}": -5000,
        }
        assert dict(postings.payout_failed(SMITH, 5000)) == {
            f"L:prov_transit:{SMITH}": 5000,
            f"L:prov_available:{SMITH}": -5000,
        }


class TestAnyAmounts:
    """Whatever the amounts are, a booking is empty or balances and joins only what its kind may."""

    @given(st.tuples(cents, cents, cents, st.integers(-10_000, 10_000), cents, cents))
    def test_of_an_invoice_and_of_taking_it_back(self, numbers):
        opened = postings.invoice_opened(parts_of(*numbers))

        assert_sound(Kind.INVOICE_OPENED, opened)
        assert_sound(Kind.INVOICE_VOIDED, postings.invoice_voided(opened))

    @given(cents, cents, cents, st.tuples(cents, cents), cents)
    def test_of_money_that_moves(self, minor, due, fee, share, platform):
        taken = Taken(ACME, {SMITH: Share(*share)}, platform=platform, deferred=fee, earned=due, tax={"DE": fee})
        for kind, entries in (
            (Kind.PAYMENT, postings.payment(ACME, minor, due)),
            (Kind.PROCESSOR_FEE, postings.processor_fee(fee)),
            (Kind.TOP_UP, postings.top_up(ACME, minor)),
            (Kind.CREDIT_USED, postings.credit_used(ACME, minor)),
            (Kind.PROMO_USED, postings.promo_used(ACME, minor)),
            (Kind.MONTH_EARNED, postings.month_earned(minor)),
            (Kind.CREDIT_NOTE, postings.credit_note(taken, due)),
            (Kind.REFUND, postings.refund(ACME, minor)),
            (Kind.REFUND_FAILED, postings.refund_failed(ACME, minor)),
            (Kind.DISPUTE_OPENED, postings.dispute_opened(minor)),
            (Kind.DISPUTE_WON, postings.dispute_won(minor)),
            (Kind.DISPUTE_LOST, postings.dispute_lost(taken, fee)),
            (Kind.WRITE_OFF, postings.write_off(ACME, {SMITH: Share(min(share[0], due))}, due)),
            (Kind.RECOVERY, postings.recovery(postings.write_off(ACME, {SMITH: Share(min(share[0], due))}, due))),
            (Kind.RELEASE, postings.release(SMITH, minor)),
            (Kind.PAYOUT_RESERVED, postings.payout_reserved(SMITH, minor)),
            (Kind.PAYOUT_DONE, postings.payout_done(SMITH, minor, postings.PAYPAL)),
            (Kind.PAYOUT_FAILED, postings.payout_failed(SMITH, minor)),
            (Kind.PAYOUT_FEE, postings.payout_fee(fee, postings.PAYPAL)),
            (Kind.TRANSFER, postings.transfer(postings.BANK, postings.PAYPAL, minor)),
        ):
            assert_sound(kind, entries)


def assert_sound(kind: Kind, entries: list[Entry]) -> None:
    if entries:
        postings.check(kind, entries)
