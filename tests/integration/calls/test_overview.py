from __future__ import annotations

import pytest
from django.core.cache import cache

from calls.charts import PERIODS
from calls.overview import overview
from calls.selectors import CallFilter
from core import clock
from tenants.context import tenant_scope
from tests.support.calls import add_call

PERIOD = PERIODS["24h"]


def of(tenant):
    with tenant_scope(tenant):
        return overview(CallFilter(since=PERIOD.begins(clock.now())), PERIOD)


@pytest.fixture(autouse=True)
def nothing_kept():
    cache.clear()


class TestOverview:
    def test_a_call_counts_at_once_in_tiles_and_chart(self, cast, monkeypatch):
        monkeypatch.setattr(clock, "monotonic_ms", lambda: 0.0)  # numbers that cost little, also on a busy machine
        of(cast.acme)
        add_call(cast.acme)

        found = of(cast.acme)

        assert found.totals.calls == sum(found.series.calls) == 1
        assert found.allowed_share == 100

    def test_it_is_about_one_organisation(self, cast):
        add_call(cast.acme)

        assert of(cast.globex).totals.calls == 0
        assert of(cast.globex).allowed_share is None

    def test_costly_numbers_are_kept_for_a_while_and_say_how_old_they_are(self, cast, monkeypatch):
        ticks = iter([0.0, 400.0])
        monkeypatch.setattr(clock, "monotonic_ms", lambda: next(ticks))
        first = of(cast.acme)
        add_call(cast.acme)

        assert of(cast.acme) == first

    def test_what_is_kept_is_kept_apart_by_organisation(self, cast, monkeypatch):
        ticks = iter([0.0, 400.0, 400.0, 400.0])
        monkeypatch.setattr(clock, "monotonic_ms", lambda: next(ticks))
        add_call(cast.acme)

        assert of(cast.acme).totals.calls == 1
        assert of(cast.globex).totals.calls == 0

    def test_it_does_not_need_the_cache(self, cast, settings):
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://127.0.0.1:1/0",
                "OPTIONS": {"socket_connect_timeout": 1},
            }
        }
        add_call(cast.acme)

        assert of(cast.acme).totals.calls == 1
