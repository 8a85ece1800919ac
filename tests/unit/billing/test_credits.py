"""Any way of crediting an invoice ends at the whole, to the cent."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.credits import Credited, Whole, split_credit
from billing.core.shares import muldiv, split

AMOUNTS = st.lists(st.integers(1, 10**9), min_size=1, max_size=4)


@st.composite
def steps_of(draw: st.DrawFn, amounts: list[int]) -> list[tuple[int, int]]:
    """Every line cut into a few credits, in any order: (place, minor units)."""
    found = []
    for place, amount in enumerate(amounts):
        cuts = sorted({0, amount, *draw(st.lists(st.integers(0, amount), max_size=3))})
        found += [(place, after - before) for before, after in pairwise(cuts)]
    return draw(st.permutations(found))


@given(AMOUNTS, st.integers(0, 10_000), st.integers(0, 300_000), st.data())
def test_credits_of_all_lines_in_any_steps_end_at_every_part_and_never_exceed_it(amounts, bps, ppm, data):
    shares = [provider for provider, _ in split(amounts, bps)]
    net, tax = sum(amounts), muldiv(sum(amounts), ppm, 1_000_000)
    done, back, taxes = [0] * len(amounts), [0] * len(amounts), 0
    for place, step in data.draw(steps_of(amounts)):
        line = Credited(amounts[place], shares[place], done[place], step)
        [part] = split_credit(Whole(net, tax, sum(done)), [line])
        assert part.minor == step
        assert 0 <= part.provider_minor <= step
        done[place] += step
        back[place] += part.provider_minor
        taxes += part.tax_minor
        assert 0 <= taxes <= tax

    assert (done, back, taxes) == (amounts, shares, tax)


def test_an_invoice_with_an_included_credit_is_credited_whole():
    lines = [Credited(1_000, 700, 0, 1_000), Credited(-300, 0, 0, -300)]

    parts = split_credit(Whole(net_minor=700, tax_minor=133, credited_minor=0), lines)

    assert [part.minor for part in parts] == [1_000, -300]
    assert sum(part.tax_minor for part in parts) == 133
    assert parts[0].provider_minor == 700


@pytest.mark.parametrize(
    ("whole", "line"),
    [
        (Whole(100, 0, 0), Credited(100, 70, 0, 101)),
        (Whole(100, 0, 60), Credited(100, 70, 60, 41)),
        (Whole(100, 0, 0), Credited(100, 70, 0, -1)),
        (Whole(100, 0, 0), Credited(100, 70, 0, 0)),
        (Whole(40, 0, 30), Credited(100, 70, 0, 11)),
    ],
)
def test_more_than_is_left_is_refused(whole, line):
    with pytest.raises(ValueError, match="left"):
        split_credit(whole, [line])
