from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.proration import pieces, portion
from billing.core.shares import muldiv, part, split

amounts = st.integers(0, 10**12)
START = datetime(2028, 2, 1, tzinfo=UTC)
END = datetime(2028, 3, 1, tzinfo=UTC)
moments = st.integers(0, (END - START) // timedelta(microseconds=1)).map(lambda n: START + timedelta(microseconds=n))


class TestMuldiv:
    @given(st.integers(-(10**12), 10**12), st.integers(0, 10**6), st.integers(1, 10**6))
    def test_it_rounds_half_away_from_zero(self, amount, numerator, denominator):
        exact = abs(amount) * numerator * 2
        size = abs(muldiv(amount, numerator, denominator))

        assert (size * 2 - 1) * denominator <= exact < (size * 2 + 1) * denominator

    @given(st.integers(-(10**12), 10**12), st.integers(0, 10**4))
    def test_it_agrees_with_decimals(self, amount, bps):
        exact = Decimal(amount) * bps / 10_000

        assert muldiv(amount, bps, 10_000) == int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))

    def test_nothing_is_divided_by_nothing(self):
        with pytest.raises(ValueError, match="positive"):
            muldiv(1, 1, 0)


class TestSplit:
    @given(st.lists(amounts, max_size=30), st.integers(0, 10_000))
    def test_parts_lie_within_the_line_and_sum_to_the_rounded_share(self, lines, bps):
        parts = split(lines, bps)

        assert [provider + platform for provider, platform in parts] == lines
        assert all(0 <= provider <= line for (provider, _), line in zip(parts, lines, strict=True))
        assert sum(provider for provider, _ in parts) == muldiv(sum(lines), bps, 10_000)

    def test_seventy_percent_of_three_cents_in_lines_of_one(self):
        assert split([1, 1, 1], 7000) == [(1, 0), (0, 1), (1, 0)]

    @pytest.mark.parametrize("bps", [-1, 10_001])
    def test_a_share_is_at_most_everything(self, bps):
        with pytest.raises(ValueError, match="basis points"):
            split([1], bps)


class TestPart:
    @given(amounts, st.lists(st.integers(1, 10**9), min_size=1, max_size=20))
    def test_parts_end_exactly_at_the_whole_however_it_was_cut(self, whole, steps):
        total, done, given_out = sum(steps), 0, []
        for step in steps:
            given_out.append(part(whole, done, step, total))
            done += step

        assert sum(given_out) == whole
        assert all(0 <= one <= whole for one in given_out)

    @given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**9))
    def test_a_share_of_a_line_is_never_taken_back_beyond_the_line(self, share, step, total):
        share, step = min(share, total), min(step, total)

        assert 0 <= part(share, 0, step, total) <= step or share == 0


class TestProration:
    @given(amounts, st.lists(moments, max_size=6).map(sorted))
    def test_pieces_add_up_to_the_price(self, minor, cuts):
        parts = pieces(minor, (START, END), cuts)

        assert sum(parts) == minor
        assert all(0 <= one <= minor for one in parts)

    @given(amounts, moments)
    def test_a_piece_outside_the_period_counts_nothing(self, minor, at):
        assert portion(minor, (START, END), (END, END + timedelta(days=3))) == 0
        assert portion(minor, (START, END), (at, at)) == 0
        assert portion(minor, (START, END), (START - timedelta(days=9), END + timedelta(days=9))) == minor

    def test_half_of_a_leap_month_is_half_of_the_price(self):
        assert portion(2900, (START, END), (START + timedelta(days=14, hours=12), END)) == 1450

    def test_a_period_without_length_is_refused(self):
        with pytest.raises(ValueError, match="ends after"):
            portion(1, (START, START), (START, END))
