from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from calls import selectors
from calls.record import Outcome
from calls.selectors import CallFilter
from core import clock
from core.ids import uuid7
from tenants.context import tenant_scope
from tests.support.calls import add_call, add_refusal

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = CallFilter(since=NOW - timedelta(days=1))


@pytest.fixture
def acme(cast):
    with clock.frozen(NOW), tenant_scope(cast.acme):
        yield cast.acme


class TestListCalls:
    def test_the_newest_come_first_and_pages_follow_the_last_row_seen(self, acme):
        ids = [add_call(acme, at=NOW - timedelta(minutes=minute)) for minute in range(5)]

        first = selectors.list_calls(DAY, limit=2)
        second = selectors.list_calls(DAY, limit=2, before=first[-1].pk)

        assert [call.pk for call in first + second] == ids[:4]

    def test_it_is_bounded_by_time(self, acme):
        add_call(acme, at=NOW - timedelta(days=2))

        assert selectors.list_calls(DAY, limit=10) == []

    def test_it_is_narrowed_by_server_key_tool_and_outcome(self, acme):
        server, key = uuid7(), uuid7()
        wanted = add_call(acme, server_id=server, api_key_id=key, tool="refund")
        denied = add_refusal(acme, "no_matching_grant")
        failed = add_call(acme, outcome=Outcome.TIMEOUT)

        def found(**narrow):
            return {call.pk for call in selectors.list_calls(CallFilter(since=DAY.since, **narrow), limit=10)}

        assert found(server_id=server) == found(api_key_id=key) == found(tool="refund") == {wanted}
        assert found(outcome="denied") == {denied}
        assert found(outcome="allowed") == {wanted, failed}
        assert found(outcome="timeout") == {failed}

    def test_another_organisation_has_other_calls(self, acme, cast):
        call = add_call(acme)

        with tenant_scope(cast.globex):
            assert selectors.find_call(call) is None
            assert selectors.newest_call(DAY) is None
            assert not selectors.has_calls()


class TestTotals:
    def test_they_count_decisions_and_endings(self, acme):
        for latency in (10.0, 20.0, 30.0):
            add_call(acme, latency_ms=latency)
        add_call(acme, outcome=Outcome.TOOL_ERROR, latency_ms=40.0)
        add_refusal(acme, "trust_too_low", latency_ms=0.1)

        totals = selectors.totals(DAY)

        assert (totals.calls, totals.allowed, totals.denied, totals.failed, totals.ok) == (5, 4, 1, 1, 3)
        assert totals.median_ms == pytest.approx(25.0)
        assert totals.p95_ms == pytest.approx(38.5)

    def test_without_calls_latency_is_unknown(self, acme):
        assert selectors.totals(DAY) == selectors.Totals()

    def test_only_refusals_leave_latency_unknown(self, acme):
        add_refusal(acme, "no_matching_grant")

        assert selectors.totals(DAY).median_ms is None

    def test_each_step_of_time_has_its_own(self, acme):
        add_call(acme, at=NOW - timedelta(minutes=90), latency_ms=5.0)
        add_call(acme, at=NOW - timedelta(minutes=61), latency_ms=7.0)
        add_refusal(acme, "tool_unknown", at=NOW - timedelta(minutes=1))

        steps = selectors.totals_by_step(DAY, timedelta(hours=1))

        assert set(steps) == {NOW - timedelta(hours=2), NOW - timedelta(hours=1)}
        assert steps[NOW - timedelta(hours=2)].median_ms == pytest.approx(6.0)
        assert steps[NOW - timedelta(hours=1)].denied == 1


class TestSpend:
    def test_it_is_exact_by_currency_and_tells_today_apart(self, acme):
        paid = {"billable": True, "quantity": Decimal(1)}
        for _ in range(3):
            add_call(acme, price=Decimal("0.0000000001"), currency="EUR", **paid)
        add_call(acme, price=Decimal("0.02"), **paid)
        add_call(acme, price=Decimal("0.03"), at=NOW - timedelta(hours=13), **paid)

        spend = selectors.spend(DAY, midnight=NOW.replace(hour=0))

        assert [(each.currency, each.today, each.period) for each in spend] == [
            ("USD", Decimal("0.02"), Decimal("0.05")),
            ("EUR", Decimal("0.0000000003"), Decimal("0.0000000003")),
        ]


class TestCalledServers:
    def test_each_is_named_once_as_it_was_called_last(self, acme):
        first, second = uuid7(), uuid7()
        add_call(acme, server_id=first, server_name="old", at=NOW - timedelta(minutes=2))
        add_call(acme, server_id=first, server_name="zeta")
        add_call(acme, server_id=second, server_name="alpha")
        add_refusal(acme, "server_unknown", server_name="nowhere")

        assert selectors.called_servers() == [(second, "alpha"), (first, "zeta")]

    def test_nothing_was_called(self, acme):
        assert selectors.called_servers() == []
