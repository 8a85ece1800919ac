from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from calls.charts import PERIODS, series
from calls.selectors import Totals

NOW = datetime(2026, 11, 21, 9, 31, 7, tzinfo=UTC)


class TestPeriod:
    @pytest.mark.parametrize("name", PERIODS)
    def test_the_last_step_holds_the_present(self, name):
        period = PERIODS[name]
        last = period.begins(NOW) + period.step * (period.steps - 1)

        assert last <= NOW < last + period.step

    @pytest.mark.parametrize("name", PERIODS)
    def test_it_begins_at_the_same_moment_throughout_a_step(self, name):
        period = PERIODS[name]
        begins = period.begins(NOW)
        last = begins + period.step * (period.steps - 1)

        assert period.begins(last) == period.begins(last + period.step - timedelta(seconds=1)) == begins

    def test_days_begin_at_midnight_utc_wherever_the_clock_stands(self):
        moment = NOW.astimezone(timezone(timedelta(hours=13)))

        assert PERIODS["30d"].begins(moment) == datetime(2026, 10, 23, tzinfo=UTC)


class TestSeries:
    def test_a_step_without_calls_counts_none_and_knows_no_latency(self):
        period = PERIODS["24h"]
        begins = period.begins(NOW)
        found = {begins + period.step: Totals(calls=4, allowed=3, denied=1, failed=1, median_ms=12.34, p95_ms=20.0)}

        drawn = series(period, begins, found)

        assert drawn.calls[:3] == [0, 4, 0]
        assert drawn.bars[1] == ("11:00", [2, 1, 1])
        assert drawn.median_ms[:2] == [None, 12.3]
        assert drawn.allowed_share[:2] == [None, 75.0]
        assert len(drawn.bars) == period.steps

    def test_labels_name_the_day_once_a_period_is_longer_than_one(self):
        for name, label in (("1h", "08:32"), ("24h", "10:00"), ("7d", "14 Nov 12:00"), ("30d", "23 Oct")):
            begins = PERIODS[name].begins(NOW)
            assert series(PERIODS[name], begins, {}).bars[0][0] == label
