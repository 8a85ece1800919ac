from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import CurrencyMismatchError, Money, exponent

MINOR = st.integers(-(10**15), 10**15)
CURRENCIES = st.sampled_from(["USD", "EUR", "JPY", "KWD"])
AMOUNTS = st.decimals(-(10**9), 10**9, places=10)


class TestFromRate:
    @pytest.mark.parametrize(
        ("amount", "currency", "minor"),
        [
            ("0.02", "USD", 2),
            ("0.005", "USD", 1),
            ("0.0049999999", "USD", 0),
            ("-0.005", "USD", -1),
            ("1.5", "JPY", 2),
            ("0.0005", "KWD", 1),
            ("0", "EUR", 0),
        ],
    )
    def test_it_rounds_half_up_to_the_minor_unit_of_the_currency(self, amount, currency, minor):
        assert Money.from_rate(Decimal(amount), currency) == Money(minor, currency)

    @given(AMOUNTS, CURRENCIES)
    def test_it_is_never_more_than_half_a_minor_unit_away(self, amount, currency):
        unit = Decimal(1).scaleb(-exponent(currency))

        assert abs(Money.from_rate(amount, currency).major - amount) <= unit / 2

    @given(MINOR, CURRENCIES)
    def test_an_amount_in_whole_minor_units_is_kept(self, minor, currency):
        money = Money(minor, currency)

        assert Money.from_rate(money.major, currency) == money


class TestArithmetic:
    @given(st.lists(MINOR, min_size=1), CURRENCIES)
    def test_sums_are_exact_in_any_order(self, counts, currency):
        total = Money(0, currency)
        for minor in reversed(counts):
            total += Money(minor, currency)

        assert total == Money(sum(counts), currency)

    @given(MINOR, MINOR)
    def test_subtracting_is_adding_the_opposite(self, one, other):
        assert Money(one, "USD") - Money(other, "USD") == Money(one, "USD") + -Money(other, "USD")

    def test_two_currencies_do_not_add_up(self):
        with pytest.raises(CurrencyMismatchError, match="USD and EUR"):
            Money(1, "USD") + Money(1, "EUR")
        with pytest.raises(CurrencyMismatchError):
            Money(1, "USD") - Money(1, "JPY")

    def test_two_currencies_are_not_equal(self):
        assert Money(1, "USD") != Money(1, "EUR")


class TestMoney:
    @pytest.mark.parametrize("minor", [1.0, Decimal(1), "1", True, None])
    def test_it_counts_whole_units_only(self, minor):
        with pytest.raises(TypeError):
            Money(minor, "USD")

    @pytest.mark.parametrize("currency", ["", "usd", "US", "USDT", "€UR", "U D", "12A"])
    def test_it_needs_a_currency_code(self, currency):
        with pytest.raises(ValueError, match="ISO 4217"):
            Money(1, currency)

    @pytest.mark.parametrize(
        ("money", "text"),
        [
            (Money(2, "USD"), "0.02 USD"),
            (Money(-150, "EUR"), "-1.50 EUR"),
            (Money(7, "JPY"), "7 JPY"),
            (Money(1234, "KWD"), "1.234 KWD"),
            (Money(123_456_789_012, "USD"), "1234567890.12 USD"),
        ],
    )
    def test_it_reads_in_major_units_with_every_digit_of_the_currency(self, money, text):
        assert str(money) == text
