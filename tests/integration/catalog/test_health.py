from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings

from catalog.choices import Health, Status
from catalog.health import incidents, rounds
from catalog.health.checks import Limits
from catalog.health.models import HealthCheck, HealthDay, HealthRun, Incident
from catalog.models import Server
from catalog.selectors import health as selectors
from catalog.tasks import check_health, prune_health
from core import clock
from gateway.services.entries import server_entries
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tests.integration.catalog.fakes import legacy, modern, serving
from tests.support.cast import PAYMENTS_TOOLS, make_server

GONE = "http://127.0.0.1:9/mcp"
AT_ONCE = {"starts_per_second": 0}


@pytest.fixture
def alone(cast):
    """Only servers that a test makes itself are listed."""
    with platform_scope():
        Server.objects.update(status=Status.REMOVED)
    return cast


def add(tenant, slug: str, url: str, *, shown: str = Health.READY, **more) -> Server:
    """A listed server; `shown` is what the catalog says of it, unknown for nothing."""
    with platform_scope():
        row = make_server(tenant, slug, slug.capitalize(), url=url, **more)
        fresh = None if shown == Health.UNKNOWN else clock.now()
        Server.objects.filter(pk=row.pk).update(health=shown, health_checked_at=fresh)
    return row


def go(*allowed, minutes: int = 0) -> HealthRun | None:
    """One round, so many minutes from here."""
    allow = frozenset({("127.0.0.1", 9)}).union(*(each.allow for each in allowed))
    with clock.frozen(clock.now() + timedelta(minutes=minutes)):
        return rounds.run(Limits(allow=allow, **AT_ONCE))


def state_of(slug: str) -> tuple[str, str]:
    with platform_scope():
        found = Server.objects.get(slug=slug)
    return found.health, found.health_detail


def open_incidents() -> list[Incident]:
    with platform_scope():
        return list(selectors.open_incidents())


class TestRounds:
    def test_what_answers_as_approved_is_ready_what_changed_is_degraded_and_what_is_gone_is_down(self, alone):
        changed = [{**PAYMENTS_TOOLS[0], "description": "Something else."}, PAYMENTS_TOOLS[1]]
        with serving(modern(PAYMENTS_TOOLS)) as same, serving(legacy(changed)) as other:
            add(alone.initech, "same", same.url, shown=Health.UNKNOWN)
            add(alone.initech, "other", other.url, shown=Health.UNKNOWN)
            add(alone.acme, "gone", GONE, shown=Health.UNKNOWN, visibility="org")
            this = go(same, other)

        assert (this.due, this.ready, this.degraded, this.down, this.unknown) == (3, 1, 1, 1, 0)
        assert this.ended_at is not None
        assert state_of("same") == ("ready", "")
        assert state_of("other") == ("degraded", "Definitions changed since approval: changed list_invoices.")
        assert state_of("gone")[0] == "down"
        assert "could not be reached" in state_of("gone")[1]
        with platform_scope():
            checks = {each.server.slug: each for each in HealthCheck.objects.select_related("server")}
            days = {each.server.slug: (each.ready, each.degraded, each.down) for each in HealthDay.objects.all()}
        assert (checks["same"].protocol, checks["other"].protocol) == ("2026-07-28", "2025-11-25")
        assert checks["same"].took_ms is not None
        assert (checks["gone"].cause, checks["gone"].took_ms) == ("unreachable", None)
        assert days == {"same": (1, 0, 0), "other": (0, 1, 0), "gone": (0, 0, 1)}

    def test_one_failed_check_is_said_and_a_second_one_changes_the_state(self, alone):
        add(alone.initech, "flaps", GONE)

        go()
        after_one = state_of("flaps")
        go(minutes=5)

        assert after_one[0] == "ready"
        assert after_one[1].startswith("The last check found it down: ")
        assert state_of("flaps")[0] == "down"
        with platform_scope():
            assert Server.objects.get(slug="flaps").health_since is not None

    def test_a_server_that_went_down_or_came_back_is_announced_to_gateways(self, alone):
        with serving(modern(PAYMENTS_TOOLS)) as server:
            row = add(alone.initech, "back", server.url)
            revisions = []
            for minutes, url in ((0, GONE), (5, GONE), (10, GONE), (15, server.url), (20, server.url)):
                with platform_scope():
                    Server.objects.filter(pk=row.pk).update(url=url)
                go(server, minutes=minutes)
                with platform_scope():
                    revisions.append(Server.objects.get(pk=row.pk).revision)

        assert revisions[0] < revisions[1] == revisions[2] == revisions[3] < revisions[4]

    def test_gateways_learn_since_when_a_server_is_down_and_that_it_is_not_any_more(self, alone):
        row = add(alone.initech, "told-of", GONE, shown=Health.UNKNOWN)
        go()
        with platform_scope():
            since = Server.objects.get(pk=row.pk).health_since
        (down,) = server_entries(server_id=row.pk)
        with clock.frozen(clock.now() + timedelta(hours=1)):
            (stale,) = server_entries(server_id=row.pk)
        with platform_scope():
            Server.objects.filter(pk=row.pk).update(health=Health.DEGRADED)
        (degraded,) = server_entries(server_id=row.pk)

        assert since is not None
        assert (down.down_at, stale.down_at, degraded.down_at) == (since, None, None)

    def test_what_is_not_listed_or_not_callable_is_not_asked(self, alone):
        row = add(alone.initech, "waiting", GONE)
        other = add(alone.initech, "imported", GONE)
        with platform_scope():
            Server.objects.filter(pk=row.pk).update(status=Status.SUBMITTED)
            Server.objects.filter(pk=other.pk).update(status=Status.LISTED)

        assert go().due == 0
        with override_settings(HEALTH_CHECK_IMPORTED=True):
            assert go(minutes=1).due == 1

    def test_only_one_round_runs_at_a_time_and_one_that_was_killed_holds_up_nobody(self, alone):
        add(alone.initech, "some", GONE)
        with platform_scope():
            HealthRun.objects.create(began_at=clock.now())

        assert go() is None
        assert go(minutes=6).due == 1

    def test_nearly_all_hosts_failing_at_once_says_nothing_about_them(self, alone):
        for number in range(12):
            add(alone.initech, f"s{number}", f"http://127.0.0.{number + 1}:8080/")
        allow = frozenset((f"127.0.0.{number + 1}", 8080) for number in range(12))
        this = rounds.run(Limits(allow=allow, **AT_ONCE))

        assert this.doubted
        assert (this.unknown, this.down) == (12, 0)
        assert state_of("s1") == ("ready", "")
        with platform_scope():
            assert not HealthDay.objects.exists()

    def test_the_job_checks_with_the_addresses_that_the_operator_opened(self, alone, settings):
        with serving(modern(PAYMENTS_TOOLS)) as server:
            settings.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
            add(alone.initech, "real", server.url, shown=Health.UNKNOWN)
            check_health()

        assert state_of("real") == ("ready", "")

    def test_old_checks_are_forgotten_and_days_stay(self, alone, settings):
        add(alone.initech, "old", GONE)
        go()
        with clock.frozen(clock.now() + timedelta(days=settings.HEALTH_KEEP_DAYS + 1)):
            prune_health()

        with platform_scope():
            assert not HealthCheck.objects.exists()
            assert not HealthRun.objects.exists()
            assert HealthDay.objects.count() == 1


class TestIncidents:
    def test_one_begins_with_the_first_bad_check_and_ends_when_the_server_is_ready_again(self, alone):
        with serving(modern(PAYMENTS_TOOLS)) as server:
            row = add(alone.initech, "tripped", server.url)
            opened = []
            for minutes, url in ((0, GONE), (5, GONE), (10, GONE), (15, server.url), (20, server.url)):
                with platform_scope():
                    Server.objects.filter(pk=row.pk).update(url=url)
                go(server, minutes=minutes)
                opened.append(len(open_incidents()))
        with platform_scope():
            incident = Incident.objects.get()
            first_bad = HealthCheck.objects.order_by("checked_at").first().checked_at

        assert opened == [0, 1, 1, 1, 0]
        assert incident.began_at == first_bad
        assert (incident.severity, incident.cause) == ("down", "unreachable")
        assert incident.closed_at > incident.opened_at

    def test_one_that_gets_worse_stays_the_same_one(self, alone):
        with serving(modern([PAYMENTS_TOOLS[0]])) as server:
            row = add(alone.initech, "worse", server.url, shown=Health.UNKNOWN)
            go(server)
            first = open_incidents()
            with platform_scope():
                Server.objects.filter(pk=row.pk).update(url=GONE)
            go(server, minutes=5)
            go(server, minutes=10)

        assert [each.severity for each in first] == ["degraded"]
        assert [(each.pk, each.severity) for each in open_incidents()] == [(first[0].pk, "down")]

    def test_owner_and_operators_are_told_once_of_each_end(self, alone):
        row = add(alone.initech, "told", GONE, shown=Health.UNKNOWN)
        go()
        (incident,) = open_incidents()
        for _ in range(2):
            incidents.tell(str(incident.pk))
        with platform_scope():
            Incident.objects.filter(pk=incident.pk).update(closed_at=clock.now())
        for _ in range(2):
            incidents.tell(str(incident.pk))

        with tenant_scope(alone.initech):
            owners = list(Notification.objects.filter(kind__startswith="health.").order_by("created_at"))
        with platform_scope():
            operators = list(Notification.objects.filter(kind__startswith="health.").order_by("created_at"))
        with tenant_scope(alone.acme):
            assert not Notification.objects.filter(kind__startswith="health.").exists()
        for told, person in ((owners, alone.diana), (operators, alone.olga)):
            assert [each.kind for each in told] == ["health.incident_opened", "health.incident_closed"]
            assert {each.recipient_id for each in told} == {person.pk}
            assert {each.email for each in told} == {person.email}
        assert owners[0].title == "Told is down"
        assert owners[0].url == f"/servers/{row.slug}/status/"
        assert owners[1].title == "Told is ready again"

    def test_a_lost_notice_is_sent_by_the_next_round(self, alone, django_capture_on_commit_callbacks, monkeypatch):
        add(alone.initech, "lost", GONE, shown=Health.UNKNOWN)
        go()
        sent = []
        monkeypatch.setattr("core.jobs._send", lambda name, arguments: sent.append((name, arguments)))
        with django_capture_on_commit_callbacks(execute=True):
            go(minutes=5)

        (incident,) = open_incidents()
        assert ("catalog.tell_incident", {"incident_id": str(incident.pk)}) in sent

    def test_a_server_that_nobody_checks_any_more_has_no_open_incident(self, alone):
        row = add(alone.initech, "removed", GONE, shown=Health.UNKNOWN)
        go()
        with platform_scope():
            Server.objects.filter(pk=row.pk).update(status=Status.REMOVED)
        go(minutes=5)

        assert open_incidents() == []


class TestSelectors:
    def test_numbers_are_of_the_checks_that_were_made_and_unknown_where_none_was(self, alone):
        with serving(modern(PAYMENTS_TOOLS)) as server:
            row = add(alone.initech, "known", server.url)
            for minutes in (0, 5, 10):
                go(server, minutes=minutes)
            with platform_scope():
                Server.objects.filter(pk=row.pk).update(url=GONE)
            go(minutes=15)
        with platform_scope():
            found = selectors.of_server(Server.objects.get(pk=row.pk))
            shares = selectors.uptimes_30d([row.pk])

        assert found.reading.state == "ok"
        assert [(each.checks, each.percent) for _, each in found.uptimes] == [(4, 75.0)] * 3
        assert found.latency.checks == 3
        assert 0 <= found.latency.p50 <= found.latency.p95 <= found.latency.p99
        assert len(found.days) == 30
        assert found.days[-1].state == "ok"
        assert {each.state for each in found.days[:-1]} == {"unknown"}
        assert len(found.hours) == 24
        assert found.hours[0][1] is None
        assert shares[row.pk].percent == 75.0

    def test_a_server_that_was_never_checked_has_no_numbers(self, alone):
        row = add(alone.initech, "never", GONE, shown=Health.UNKNOWN)
        with platform_scope():
            found = selectors.of_server(Server.objects.get(pk=row.pk))

        assert found.reading.state == "unknown"
        assert [each.percent for _, each in found.uptimes] == [None] * 3
        assert found.latency.p50 is None

    def test_the_worst_come_first(self, alone):
        for slug, state in (("a", "ready"), ("b", "down"), ("c", "degraded"), ("d", "unknown")):
            add(alone.initech, slug, GONE, shown=state)
        with platform_scope():
            found = selectors.overview()

        assert [each.slug for each in found.worst] == ["b", "c", "d", "a"]
        assert found.counts == {"ok": 1, "degraded": 1, "down": 1, "unknown": 1}
        assert found.unchecked == 1

    def test_another_organisation_reads_no_checks_of_a_private_server(self, alone):
        add(alone.acme, "private", GONE, shown=Health.UNKNOWN, visibility="org")
        go()
        with tenant_scope(alone.acme):
            own = (HealthCheck.objects.count(), HealthDay.objects.count(), Incident.objects.count())
        with tenant_scope(alone.globex):
            others = (HealthCheck.objects.count(), HealthDay.objects.count(), Incident.objects.count())
            runs = HealthRun.objects.count()

        assert own == (1, 1, 1)
        assert others == (0, 0, 0)
        assert runs == 0
