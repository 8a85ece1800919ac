"""Lines of a month: they sum to the price of what was counted, whatever the order, and each cent has one owner."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.core.rated import Price, RatedLine, Used, by_day, key_of, rate_usage
from billing.core.rating import Kind, PriceModel, Tier, rate
from billing.core.shares import muldiv
from tests.unit.billing.models import anything

MONTH = date(2026, 11, 1)
SERVER, PROVIDER = UUID(int=1), UUID(int=2)
VERSIONS, PROVIDERS = [UUID(int=n) for n in (11, 12)], [UUID(int=n) for n in (21, 22)]
AGREEMENT = UUID(int=99)


def used(**changes: object) -> Used:
    values = {
        "server_id": SERVER,
        "server_name": "payments",
        "tool": "refund",
        "provider_id": PROVIDER,
        "price_version_id": VERSIONS[0],
        "origin_month": MONTH,
        "quantity": Decimal(1),
    }
    return Used(**(values | changes))  # type: ignore[arg-type]


def lines_of(rows: list[Used], model: PriceModel, bps: int = 7000) -> list[RatedLine]:
    return rate_usage(
        rows,
        month=MONTH,
        prices={version: Price(model, "USD") for version in VERSIONS},
        provider_names={PROVIDER: "Initech"},
        agreement=lambda provider, month: (AGREEMENT, bps),
    )


rows = st.lists(
    st.builds(
        used,
        tool=st.sampled_from(["a", "b", "c"]),
        price_version_id=st.sampled_from(VERSIONS),
        provider_id=st.sampled_from([*PROVIDERS, None]),
        origin_month=st.sampled_from([MONTH, date(2026, 10, 1)]),
        quantity=st.integers(0, 5000).map(Decimal),
    ),
    max_size=12,
    unique_by=key_of,
)


@given(rows, anything, st.integers(0, 10_000), st.randoms())
def test_lines_sum_to_the_price_of_all_units_and_do_not_depend_on_the_order(found, model, bps, random) -> None:
    lines = lines_of(found, model, bps)
    shuffled = list(found)
    random.shuffle(shuffled)
    assert lines_of(shuffled, model, bps) == lines
    assert [line.key for line in lines] == sorted(key_of(row) for row in found)
    for version in {row.price_version_id for row in found}:
        mine = [line for line in lines if line.price_version_id == version]
        total = sum((line.quantity for line in mine), Decimal(0))
        assert sum((line.exact for line in mine), Decimal(0)) == rate(model, total)
        assert sum((line.free_quantity for line in mine), Decimal(0)) == min(total, model.free)


@given(rows, anything, st.integers(0, 10_000))
def test_each_provider_has_its_rounded_share_and_the_platform_the_rest(found, model, bps) -> None:
    lines = lines_of(found, model, bps)
    by_provider: dict[UUID | None, list[RatedLine]] = defaultdict(list)
    for line in lines:
        assert line.provider_minor + line.platform_minor == line.minor
        by_provider[line.provider_id].append(line)
    for provider, part in by_provider.items():
        total = sum(line.minor for line in part)
        wanted = muldiv(total, bps, 10_000) if provider else 0
        assert sum(line.provider_minor for line in part) == wanted


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 5000).map(Decimal)), anything)
def test_days_sum_to_the_price_of_the_month(counts, model) -> None:
    days = {MONTH + timedelta(days=number): count for number, count in counts.items()}
    assert sum(by_day(days, model).values(), Decimal(0)) == rate(model, sum(counts.values(), Decimal(0)))


def test_calls_of_a_month_before_count_first_and_are_said_to_be_late() -> None:
    model = PriceModel(Kind.GRADUATED, tiers=(Tier(10, Decimal(1)), Tier(None, Decimal("0.5"))))
    late = used(origin_month=date(2026, 10, 1), quantity=Decimal(10))
    [first, second] = lines_of([used(quantity=Decimal(10)), late], model)
    assert (first.late, first.exact, first.minor) == (True, 10, 1000)
    assert (second.late, second.exact, second.minor) == (False, 5, 500)


def test_a_line_is_rounded_once_half_up() -> None:
    model = PriceModel(Kind.PER_UNIT, rate=Decimal("0.005"))
    [line] = lines_of([used(quantity=Decimal(3))], model)
    assert (line.exact, line.minor, line.provider_minor, line.platform_minor) == (Decimal("0.015"), 2, 1, 1)


def test_what_has_no_provider_is_the_platform_s() -> None:
    [line] = lines_of([used(provider_id=None, quantity=Decimal(100))], PriceModel(Kind.PER_UNIT, rate=Decimal(1)))
    assert (line.provider_minor, line.platform_minor, line.agreement_id) == (0, 10_000, None)


def test_keys_stay_short_and_apart_for_the_longest_names() -> None:
    one, other = key_of(used(tool="x" * 512)), key_of(used(tool="x" * 511 + "y"))
    assert one != other
    assert len(one) <= 200
