from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from audit import services as audit
from audit.models import AuditEvent
from calls import partitions, retention
from calls.models import Call
from calls.partitions import Month
from core import clock
from tenants.context import platform_scope, tenant_scope
from tenants.services import settings
from tests.integration.calls.test_partitions import insert, make_record
from tests.integration.tenants.test_memberships import membership_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD, OLDER, RECENT = (datetime(year, month, 5, tzinfo=UTC) for year, month in ((2026, 3), (2025, 3), (2026, 10)))


@pytest.fixture
def acme(cast):
    """acme with calls of three months, of which the oldest cost something; its own settings unset."""
    for moment in (OLDER, OLD, RECENT):
        partitions.ensure(cast.acme.schema_name, moment)
    insert(
        make_record(cast.acme.schema_name, moment=OLDER, billable=True, quantity=Decimal(1), price=Decimal("0.01")),
        make_record(cast.acme.schema_name, moment=OLD),
        make_record(cast.acme.schema_name, moment=RECENT),
    )
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return cast.acme


@pytest.fixture
def put(cast):
    """`put(name, value)` sets it for the platform, with `own=True` for acme."""

    def set_(name: str, value: object, *, own: bool = False) -> None:
        membership = membership_of(cast.alice, cast.acme) if own else None
        settings.put(name=name, value=value, actor=cast.alice if own else cast.olga, membership=membership)

    return set_


def months(tenant) -> set[Month]:
    return {
        month for month in retention._stored_months(tenant.schema_name) if month.starts_at < NOW - timedelta(days=21)
    }


def apply(tenant) -> None:
    with clock.frozen(NOW):
        retention.apply(tenant)


class TestCalls:
    def test_by_default_everything_is_kept(self, acme):
        before = months(acme)
        apply(acme)
        assert months(acme) == before

    def test_whole_months_past_their_time_go_but_not_what_proves_an_invoice(self, acme, put):
        put(retention.CALLS, 6)
        apply(acme)

        assert months(acme) >= {Month.of(RECENT), Month.of(OLDER)}
        assert Month.of(OLD) not in months(acme)
        with tenant_scope(acme):
            assert Call.objects.filter(occurred_at=OLDER).exists()
            removed = AuditEvent.objects.filter(action="calls:log:month_removed").values_list("data", flat=True)
            assert {"month": "2026-03", "calls": 1} in removed

    def test_invoices_have_their_own_time(self, acme, put):
        put(retention.CALLS, 6)
        put(retention.BILLED, 13)
        apply(acme)
        assert Month.of(OLDER) not in months(acme)

    def test_an_organisation_keeps_longer_and_never_shorter(self, acme, put):
        put(retention.CALLS, 6)
        put(retention.CALLS, 12, own=True)
        apply(acme)
        assert Month.of(OLD) in months(acme)
        put(retention.CALLS, 1, own=True)
        apply(acme)
        assert Month.of(RECENT) in months(acme)
        assert Month.of(OLD) not in months(acme)

    @pytest.mark.parametrize("own", [True, False])
    def test_a_hold_keeps_everything(self, acme, put, own):
        before = months(acme)
        put(retention.CALLS, 1)
        put(retention.HOLD, True, own=own)
        apply(acme)
        assert months(acme) == before

    def test_another_organisation_s_months_stay(self, cast, acme, put):
        partitions.ensure(cast.globex.schema_name, OLD)
        put(retention.CALLS, 6)
        apply(acme)
        assert Month.of(OLD) in months(cast.globex)


class TestAuditLog:
    @pytest.fixture
    def log(self, acme) -> tuple[int, int]:
        """The numbers of the first and the last event of years ago."""
        with tenant_scope(acme), clock.frozen(OLDER):
            events = [audit.record("test:thing:done", actor=audit.SYSTEM, data={"n": n}) for n in range(5)]
        with tenant_scope(acme):
            audit.record("test:thing:done", actor=audit.SYSTEM)
        return events[0].sequence, events[-1].sequence

    def test_old_events_go_behind_a_signed_cut_and_the_rest_verifies(self, acme, log, put):
        put(retention.AUDIT, 12)
        with tenant_scope(acme):
            first = AuditEvent.objects.filter(occurred_at__gte=NOW - timedelta(days=360)).earliest("sequence").sequence
        with tenant_scope(acme):
            kept_before = retention.cut_log(datetime(2020, 1, 1, tzinfo=UTC))
        assert kept_before == 0
        apply(acme)

        with tenant_scope(acme):
            assert audit.verify()[1] is None
            assert AuditEvent.objects.filter(action="audit:log:cut").exists() == (first > 1)
            audit.record("test:thing:done", actor=audit.SYSTEM)
            assert audit.verify()[1] is None

    def test_everything_old_goes_when_nothing_young_is_in_between(self, acme, log):
        with tenant_scope(acme):
            count = retention.cut_log(clock.now() + timedelta(days=1))

            assert count >= 5
            assert not AuditEvent.objects.filter(sequence__lte=log[1]).exists()
            assert audit.verify()[1] is None
            assert AuditEvent.objects.latest("sequence").action == "audit:log:cut"

    def test_a_log_that_does_not_verify_keeps_everything_and_says_so(self, acme, log, caplog):
        with tenant_scope(acme):
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("ALTER TABLE audit_auditevent DISABLE TRIGGER USER")
                cursor.execute("UPDATE audit_auditevent SET actor_label = 'x' WHERE sequence = %s", [log[0]])
                cursor.execute("ALTER TABLE audit_auditevent ENABLE TRIGGER USER")

            assert retention.cut_log(clock.now()) == 0
            assert AuditEvent.objects.filter(sequence=log[0]).exists()
        assert "audit log not cut" in caplog.text

    def test_the_platform_s_own_log_is_no_organisation_s(self, acme, put):
        put(retention.AUDIT, 1)
        with platform_scope():
            before = AuditEvent.objects.count()
        apply(acme)
        with platform_scope():
            assert AuditEvent.objects.count() == before
