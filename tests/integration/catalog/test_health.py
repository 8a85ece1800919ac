from __future__ import annotations

from datetime import timedelta

import pytest

from catalog import health
from catalog.choices import Health, Status
from catalog.inventory import read
from catalog.models import Server
from catalog.tasks import check_health
from core import clock
from tenants.context import platform_scope
from tests.integration.catalog.fakes import legacy, modern, serving
from tests.support.cast import PAYMENTS_TOOLS, make_server


@pytest.fixture
def alone(cast):
    """Only servers that a test makes itself are listed."""
    with platform_scope():
        Server.objects.update(status=Status.REMOVED)
    return cast


def state_of(slug: str) -> tuple[str, str]:
    with platform_scope():
        found = Server.objects.get(slug=slug)
    return found.health, found.health_detail


class TestCheckListed:
    def test_what_answers_as_approved_is_ready_what_changed_is_degraded_and_what_is_gone_is_down(self, alone):
        changed = [{**PAYMENTS_TOOLS[0], "description": "Something else."}, PAYMENTS_TOOLS[1]]
        with (
            serving(modern(PAYMENTS_TOOLS)) as same,
            serving(legacy(changed)) as other,
            serving(modern([])) as gone,
        ):
            allow = same.allow | other.allow | gone.allow
            with platform_scope():
                make_server(alone.initech, "same", "Same", url=same.url)
                make_server(alone.initech, "other", "Other", url=other.url)
                make_server(alone.acme, "gone", "Gone", url="http://127.0.0.1:9/", visibility="org")
            later = clock.now() + timedelta(minutes=1)
            with clock.frozen(later):
                counts = health.check_listed(lambda url: read(url, allow=allow))

        assert counts == {"unknown": 0, "ready": 1, "degraded": 1, "down": 1}
        assert state_of("same") == ("ready", "")
        assert state_of("other") == ("degraded", "Definitions changed since approval: changed list_invoices.")
        assert state_of("gone")[0] == "down"
        assert state_of("gone")[1]
        with platform_scope():
            assert Server.objects.get(slug="gone").health_checked_at == later

    def test_each_is_asked_once_in_a_run(self, alone):
        asked = []

        def note(url: str):
            asked.append(url)
            raise OSError

        with platform_scope():
            for number in range(20):
                make_server(alone.initech, f"s{number}", "S", url=f"http://192.0.2.1/{number}")
        with clock.frozen(clock.now() + timedelta(minutes=1)):
            counts = health.check_listed(note)

        assert len(asked) == len(set(asked)) == 20
        assert counts["unknown"] == 20  # the check itself failed: nothing is known of the server

    def test_what_is_not_listed_is_not_asked(self, alone):
        with platform_scope():
            submitted = make_server(alone.initech, "waiting", "Waiting")
            Server.objects.filter(pk=submitted.pk).update(status=Status.SUBMITTED)

        assert sum(health.check_listed(lambda url: pytest.fail("asked")).values()) == 0

    def test_the_job_checks_with_the_addresses_that_the_operator_opened(self, alone, settings):
        with serving(modern(PAYMENTS_TOOLS)) as server:
            settings.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
            with platform_scope():
                row = make_server(alone.initech, "real", "Real", url=server.url)
                Server.objects.filter(pk=row.pk).update(health=Health.UNKNOWN, health_checked_at=None)
            check_health()

        assert state_of("real") == ("ready", "")
