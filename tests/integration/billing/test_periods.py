"""The turn of months: found by state, safe to repeat and to interrupt anywhere, and its sums are what the log says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from billing.models import JobRun, PriceVersion
from billing.services import periods as turning
from billing.tasks.periods import rate_days, turn_periods
from calls.models import Call, Period, PeriodState, UsageDay
from calls.selectors import usage
from calls.services import periods
from core import clock, jobs
from tenants.context import platform_scope, tenant_scope
from tests.support.calls import add_call, add_refusal
from tests.support.cast import cast_of_its_own


@pytest.fixture
def acme(cast: Any) -> Iterator[Any]:
    with tenant_scope(cast.acme):
        periods.open_ahead()
        yield cast.acme


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What was enqueued, whatever becomes of the test's transaction."""
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(jobs, "enqueue", lambda name, /, **arguments: found.append((name, arguments)))
    return found


def paid(tenant: Any, **fields: Any) -> Any:
    defaults = {"server_id": uuid4(), "billable": True, "quantity": Decimal(1), "price": Decimal("0.02")}
    return add_call(tenant, **(defaults | {"price_version_id": uuid4(), "provider_id": uuid4()} | fields))


def state_of(period: Period) -> str:
    return str(Period.objects.get(pk=period.pk).state)


class TestTurning:
    def test_a_month_goes_through_its_states_as_time_passes(self, acme):
        this = Period.objects.earliest("id")
        for moment, state in [
            (this.ends_at - timedelta(seconds=1), "open"),
            (this.ends_at, "closing"),
            (this.ends_at + timedelta(hours=6) - timedelta(seconds=1), "closing"),
            (this.ends_at + timedelta(hours=6), "closed"),
            (this.ends_at + timedelta(hours=7), "closed"),
        ]:
            with clock.frozen(moment):
                turn_periods.run(tenant_id=str(acme.pk))
            assert state_of(this) == state

    def test_months_that_passed_while_nothing_ran_are_closed_in_their_order_at_once(self, acme):
        first, second = Period.objects.order_by("id")[:2]
        with clock.frozen(second.ends_at + timedelta(days=40)):
            turn_periods.run(tenant_id=str(acme.pk))
        closed = JobRun.objects.filter(job=turning.CLOSED, tenant=acme).order_by("pk")
        assert list(closed.values_list("period_id", flat=True))[:2] == [first.pk, second.pk]
        assert Period.objects.filter(state=PeriodState.OPEN).exists()

    def test_it_is_written_down_once_that_a_month_was_closed(self, acme):
        this = Period.objects.earliest("id")
        with clock.frozen(this.ends_at + timedelta(hours=6)):
            turn_periods.run(tenant_id=str(acme.pk))
            turn_periods.run(tenant_id=str(acme.pk))
        assert JobRun.objects.filter(job=turning.CLOSED, tenant=acme, period_id=this.pk).count() == 1

    def test_every_organisation_has_its_job(self, cast, sent):
        rate_days.run()
        assert ("billing.rate_tenant_days", {"tenant_id": str(cast.globex.pk)}) in sent


class TestDays:
    def test_sums_by_day_are_those_of_the_log_and_only_successful_tool_calls_count(self, acme):
        this = Period.objects.earliest("id")
        server, version, key, provider = (uuid4() for _ in range(4))
        for at in (
            this.starts_at,
            this.starts_at + timedelta(days=1, microseconds=-1),
            this.starts_at + timedelta(days=1),
        ):
            paid(
                acme,
                at=at,
                server_id=server,
                price_version_id=version,
                api_key_id=key,
                tool="refund",
                provider_id=provider,
            )
        add_call(acme, at=this.starts_at, server_id=server, api_key_id=key, tool="free")
        add_refusal(acme, "no_grant", at=this.starts_at, server_id=server)
        add_call(acme, at=this.starts_at, server_id=server, method="tools/list")
        turning.rate_days()

        rows = UsageDay.objects.filter(server_id=server).order_by("day", "tool")
        assert [(row.day.day, row.tool, row.calls, row.quantity) for row in rows] == [
            (1, "free", 1, 0),
            (1, "refund", 2, 2),
            (2, "refund", 1, 1),
        ]
        assert {(row.day, row.tool, row.calls, row.quantity) for row in rows} <= {
            (cell.day, cell.tool, cell.calls, cell.quantity) for cell in usage.cells(this)
        }

    def test_making_them_again_changes_nothing_and_what_the_log_does_not_say_goes(self, acme):
        this = Period.objects.earliest("id")
        paid(acme, at=this.starts_at)
        turning.rate_days()
        before = list(UsageDay.objects.order_by("pk").values())
        UsageDay.objects.create(**{**before[0], "id": None, "tool": "never called"})
        UsageDay.objects.filter(pk=before[0]["id"]).update(calls=7)
        turning.rate_days()
        turning.rate_days()
        assert list(UsageDay.objects.order_by("pk").values()) == before

    def test_a_late_call_is_summed_in_the_month_that_it_is_billed_in_under_its_own_day(self, acme):
        this, following = Period.objects.order_by("id")[:2]
        with clock.frozen(this.ends_at + timedelta(hours=6)):
            turn_periods.run(tenant_id=str(acme.pk))
        server = uuid4()
        paid(acme, at=this.starts_at, server_id=server)
        turning.rate_days()
        [row] = UsageDay.objects.filter(server_id=server)
        assert (row.period_id, row.day) == (following.pk, this.starts_at.date())
        [line] = [line for line in usage.by_period(following) if line.server_id == server]
        assert line.origin_month == this.starts_at.date()


_CLOSE = """
import django; django.setup()
import sys
from datetime import datetime
from billing.services import periods
from calls.models import Period
from core import clock, failpoints
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant
failpoints.arm(sys.argv[2])
with platform_scope():
    tenant = Tenant.objects.get(pk=sys.argv[1])
with tenant_scope(tenant), clock.frozen(datetime.fromisoformat(sys.argv[3])):
    periods.turn(tenant)
"""


@pytest.mark.parametrize(("point", "state"), [("before_close_commit", "closing"), ("after_close", "closed")])
def test_a_worker_that_is_killed_at_a_close_leaves_it_done_or_undone_and_the_next_one_goes_on(durable_db, point, state):
    cast = cast_of_its_own()
    tenant = cast.acme
    with platform_scope():
        price = PriceVersion.objects.filter(server=cast.payments, tenant=None).earliest("effective_from")
    with tenant_scope(tenant):
        periods.open_ahead()
        this = Period.objects.earliest("id")
        # At a price that is known, because these rows stay and are rated with all others.
        paid(tenant, at=this.starts_at, price_version_id=price.pk)
    moment = this.ends_at + timedelta(hours=6)
    values = connection.settings_dict
    url = f"postgresql://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
    done = subprocess.run(
        [sys.executable, "-c", _CLOSE, str(tenant.pk), point, moment.isoformat()],
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "marketplace.settings"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    with tenant_scope(tenant):
        assert state_of(this) == state
        assert JobRun.objects.filter(tenant=tenant, period_id=this.pk).count() == (1 if state == "closed" else 0)
        with clock.frozen(moment):
            turning.turn(tenant)
        assert state_of(this) == "closed"
        assert JobRun.objects.filter(tenant=tenant, period_id=this.pk).count() == 1
        assert Call.objects.filter(period_id=this.pk).count() == 1
        turning.rate_days()
        assert UsageDay.objects.filter(period_id=this.pk).count() == 1
