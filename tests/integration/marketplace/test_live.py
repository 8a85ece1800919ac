"""The live pages say what the gateway processes say, to whom it concerns, and "unknown" where nobody says anything."""

from __future__ import annotations

import json
import os
import time
from uuid import uuid4

import pytest
import redis
from allauth.mfa.models import Authenticator

from access.services import grants
from gateway.admission.shared import LIVE
from gateway.services import live
from marketplace.pages import live as pages
from tenants.context import platform_scope, tenant_scope
from tests.support.cast import make_server


@pytest.fixture(autouse=True)
def prefix(monkeypatch) -> str:
    """Keys of these tests alone: gateways of other tests report to the same Valkey."""
    name = f"{LIVE}{uuid4().hex}:"
    monkeypatch.setattr(live, "LIVE", name)
    return name


@pytest.fixture
def valkey():
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    yield client
    client.close()


def say(valkey, name: str, servers: dict, **changes) -> None:
    body = {
        "at": time.time(),
        "pid": 4711,
        "streams": 3,
        "limits_shared": True,
        "entries": {"current": True, "pushed": True},
        "record": {"connected": True, "rows": 12, "spool_bytes": 0, "spool_age_s": 0.0},
        "servers": servers,
        **changes,
    }
    valkey.set(live.LIVE + name, json.dumps(body), ex=30)


def server(slug: str, breaker: str = "closed", **changes) -> dict:
    return {
        "slug": slug,
        "calls": 2,
        "waiting": 0,
        "endpoints": [{"breaker": breaker, "retry_s": 12.0, "good": 1, "bad": 0}],
        "calls_lately": 100,
        "failed_lately": 0,
        "p50_ms": 4.0,
        "p95_ms": 9.5,
        **changes,
    }


@pytest.fixture
def operator(cast, client):
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "sealed-secret"})
    client.force_login(cast.olga)
    return client


class TestReading:
    def test_processes_are_added_up_and_the_worse_latency_counts(self, cast, valkey):
        key = str(cast.payments.pk)
        say(valkey, "a", {key: server("payments")})
        say(valkey, "b", {key: server("payments", "open", p95_ms=80.0, failed_lately=50)})

        found = live.read().servers[cast.payments.pk]
        assert (found.calls, found.failed_percent, found.p95_ms, found.under_way) == (200, 25.0, 80.0, 4)
        assert (found.state, found.opened_in, found.seen_by) == ("degraded", 1, 2)

    def test_a_server_is_down_only_when_every_process_refuses_its_calls(self, cast, valkey):
        for name in "ab":
            say(valkey, name, {str(cast.payments.pk): server("payments", "open")})

        assert live.read().servers[cast.payments.pk].state == "down"

    def test_one_address_of_two_that_works_keeps_the_server_open(self, cast, valkey):
        both = [{"breaker": "open", "retry_s": 9.0}, {"breaker": "closed", "retry_s": 0.0}]
        say(valkey, "a", {str(cast.payments.pk): server("payments", endpoints=both)})

        found = live.read().servers[cast.payments.pk]
        assert (found.breaker, found.endpoints) == ("closed", 2)

    def test_a_process_without_its_database_is_degraded_and_one_with_old_rules_is_down(self, valkey, db):
        say(valkey, "a", {}, record={"connected": False, "spool_bytes": 900, "spool_age_s": 3.0, "rows": 1})
        say(valkey, "b", {}, entries={"current": False, "pushed": False})

        states = {each.process: each.state for each in live.read().processes}
        assert (states["a"], states["b"]) == ("degraded", "down")


class TestPages:
    def test_an_operator_sees_processes_and_servers(self, cast, valkey, operator):
        say(
            valkey,
            "a",
            {str(cast.payments.pk): server("payments", "open")},
            record={"connected": False, "spool_bytes": 2048, "spool_age_s": 3.0, "rows": 1},
        )

        page = operator.get("/operations/live/").content.decode()
        assert "4711" in page
        assert "2.0\xa0KB" in page
        assert "calls are refused at once" in page

    def test_the_owner_sees_how_many_calls_and_a_user_of_the_server_does_not(self, cast, valkey, signed_in):
        say(valkey, "a", {str(cast.payments.pk): server("payments", calls_lately=777)})
        with tenant_scope(cast.acme):
            grants.give(
                tenant=cast.acme, server=cast.payments, subject=grants.Subject.of("agent", "bot"), actor=cast.alice
            )

        own = signed_in(cast.diana).get("/o/initech/live/").content.decode()
        theirs = signed_in(cast.alice).get("/o/acme/live/").content.decode()
        assert ("777" in own, "9.5 ms" in own) == (True, True)
        assert ("777" in theirs, "9.5 ms" in theirs) == (False, True)
        assert "4711" not in own

    def test_of_many_servers_the_worst_are_shown_and_the_others_counted(self, cast, valkey, signed_in, monkeypatch):
        monkeypatch.setattr(pages, "LINES_MAX", 2)
        with platform_scope():
            made = {n: make_server(cast.initech, f"many-{n}", f"Many {n}", visibility="org") for n in range(3)}
        broken = server("many-2", "open")
        say(
            valkey, "a", {str(made[0].pk): server("many-0"), str(made[1].pk): server("many-1"), str(made[2].pk): broken}
        )

        page = signed_in(cast.diana).get("/o/initech/live/").content.decode()
        assert page.index("Many 2") < page.index("Many 0")
        assert "Many 1" not in page
        assert "2 more servers that do no worse than these are not shown." in page

    def test_operators_see_whose_server_it_is(self, cast, valkey, operator):
        say(valkey, "a", {str(cast.payments.pk): server("payments")})

        assert "· Initech" in operator.get("/operations/live/").content.decode()

    def test_a_server_that_nobody_may_see_is_not_there(self, cast, valkey, signed_in):
        say(valkey, "a", {str(cast.vault.pk): server("vault")})

        assert "vault" not in signed_in(cast.charlie).get("/o/globex/live/").content.decode().lower()

    def test_without_reports_it_says_unknown_and_claims_nothing(self, cast, signed_in):
        page = signed_in(cast.diana).get("/o/initech/live/").content.decode()

        assert "No gateway process reports" in page
        assert "Healthy" not in page

    def test_the_part_that_refreshes_itself_comes_alone(self, cast, valkey, signed_in):
        say(valkey, "a", {})
        page = signed_in(cast.diana).get("/o/initech/live/", HTTP_HX_REQUEST="true").content.decode()

        assert page.lstrip().startswith('<div id="live"')
