"""The status page of a server, its JSON, and the page of operators."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator

from catalog.choices import Health, Status
from catalog.health.models import HealthCheck, HealthDay, HealthRun, Incident
from catalog.models import Server
from core import clock
from tenants.context import platform_scope


@pytest.fixture
def measured(cast):
    """Payments is down at present, and was asked before; so is the private vault."""
    now = clock.now()
    with platform_scope():
        for server in (cast.payments, cast.vault):
            Server.objects.filter(pk=server.pk).update(
                health=Health.DOWN,
                health_checked_at=now,
                health_since=now - timedelta(minutes=10),
                health_detail="The server did not answer in time.",
            )
            for minutes, outcome, took in ((15, "ready", 120), (10, "down", None), (5, "down", None)):
                HealthCheck.objects.create(
                    server=server, checked_at=now - timedelta(minutes=minutes), outcome=outcome, took_ms=took
                )
            HealthDay.objects.create(server=server, day=now.date(), ready=1, down=2)
            Incident.objects.create(
                server=server,
                severity="down",
                cause="timeout",
                detail="The server did not answer in time.",
                began_at=now - timedelta(minutes=10),
                opened_at=now - timedelta(minutes=5),
            )
        HealthRun.objects.create(began_at=now - timedelta(seconds=9), ended_at=now, due=3, down=2)
    return cast


class TestStatusPage:
    def test_everybody_reads_that_of_a_public_server(self, measured, client):
        page = client.get("/servers/payments/status/").content.decode()

        assert "Does not answer" in page
        assert "The server did not answer in time." in page
        assert "33.33" in page
        assert "3 checks" in page
        assert "Still open." in page

    def test_a_private_server_has_none_for_others(self, measured, signed_in):
        assert signed_in(measured.bob).get("/servers/vault/status/").status_code == 200
        for path in ("/servers/vault/status/", "/servers/vault/status.json"):
            assert signed_in(measured.charlie).get(path).status_code == 404

    def test_what_is_not_known_reads_unknown(self, cast, client):
        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(health=Health.UNKNOWN, health_checked_at=None)
        page = client.get("/servers/payments/status/").content.decode()
        document = client.get("/servers/payments/status.json").json()

        assert "Not known" in page
        assert "0 checks" in page
        assert document["state"] == "unknown"
        assert document["uptime"]["24h"] == {"percent": None, "checks": 0}
        assert document["latency_ms_24h"]["p50"] is None

    def test_the_document_says_the_same_to_programs(self, measured, client):
        document = client.get("/servers/payments/status.json").json()

        assert (document["server"], document["state"]) == ("payments", "down")
        assert document["uptime"]["30d"] == {"percent": 33.33, "checks": 3}
        assert document["latency_ms_24h"] == {"p50": 120, "p95": 120, "p99": 120, "checks": 1}
        assert len(document["days"]) == 30
        assert document["days"][-1]["state"] == "down"
        assert [(each["severity"], each["cause"], each["closed_at"]) for each in document["incidents"]] == [
            ("down", "timeout", None)
        ]

    def test_words_of_the_server_are_shown_as_text(self, measured, client):
        hostile = "<script>alert(1)</script>"
        with platform_scope():
            Incident.objects.update(detail=hostile)
            Server.objects.filter(pk=measured.payments.pk).update(health_detail=hostile)

        assert hostile not in client.get("/servers/payments/status/").content.decode()


class TestOperators:
    def test_the_worst_come_first_with_incidents_and_rounds(self, measured, signed_in):
        Authenticator.objects.create(user=measured.olga, type=Authenticator.Type.TOTP, data={})
        with platform_scope():
            # Tests that commit leave servers behind.
            Server.objects.exclude(pk__in=[measured.payments.pk, measured.vault.pk]).update(status=Status.REMOVED)
        page = signed_in(measured.olga).get("/operations/health/").content.decode()

        assert "9.0 s" in page
        assert page.index("Open incidents") < page.index("Servers, the worst first") < page.index("Rounds")
        assert page.count("/servers/payments/status/") == 2
        assert "of 2 servers" in page

    def test_nobody_else_sees_it(self, measured, signed_in):
        assert signed_in(measured.alice).get("/operations/health/").status_code == 404
