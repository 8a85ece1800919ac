"""Price models and quantities for property tests."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from billing.core.rating import Kind, PriceModel, Tier

rates = st.integers(0, 10**13).map(lambda n: Decimal(n).scaleb(-10))
quantities = st.integers(0, 2 * 10**12).map(lambda n: Decimal(n).scaleb(-6))
free = st.sampled_from([0, 0, 1, 7, 1000]) | st.integers(0, 10**6)


@st.composite
def tiered(draw: st.DrawFn, kind: Kind) -> PriceModel:
    ends = sorted(draw(st.sets(st.integers(1, 5000), max_size=4)))
    tiers = tuple(Tier(end, draw(rates), draw(rates | st.just(Decimal(0)))) for end in [*ends, None])
    return PriceModel(kind, tiers=tiers, free=draw(free))


per_unit = st.builds(lambda rate, free: PriceModel(Kind.PER_UNIT, rate=rate, free=free), rates, free)
package = st.builds(
    lambda rate, size, free: PriceModel(Kind.PACKAGE, rate=rate, size=size, free=free),
    rates,
    st.integers(1, 5000),
    free,
)
monotone = per_unit | package | tiered(Kind.GRADUATED)
anything = monotone | tiered(Kind.VOLUME)


@st.composite
def _small_tiers(draw: st.DrawFn) -> PriceModel:
    ends = sorted(draw(st.sets(st.integers(1, 20), max_size=3)))
    tiers = tuple(Tier(end, draw(_cents), draw(st.just(Decimal(0)) | _cents)) for end in [*ends, None])
    kind = draw(st.sampled_from([Kind.GRADUATED, Kind.VOLUME]))
    return PriceModel(kind, tiers=tiers, free=draw(st.integers(0, 5)))


_cents = st.integers(0, 500).map(lambda n: Decimal(n).scaleb(-2))
# Whose edges are all within the first calls of a month.
small = _small_tiers() | st.builds(
    lambda kind, rate, size, free: PriceModel(kind, rate=rate, size=size if kind is Kind.PACKAGE else 1, free=free),
    st.sampled_from([Kind.PER_UNIT, Kind.PACKAGE]),
    _cents,
    st.integers(1, 8),
    st.integers(0, 5),
)
