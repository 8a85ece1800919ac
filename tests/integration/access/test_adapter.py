"""Sessions that adapters ask for: which grant counts, how much trust and for how long, and one session however often asked."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client

from access.models import AgentSession
from access.services import grants, sessions
from access.services.grants import Subject
from core import clock
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.services import api_keys
from tests.support.cast import cast_of_its_own

PATH = "/api/v1/runtime/adapter/sessions"


def key_of(cast, user=None, **options: Any) -> str:
    scopes = options.pop("scopes", [Scope.INVOKE])
    return api_keys.issue(tenant=cast.acme, name="adapter", scopes=scopes, actor=user or cast.bob, **options).text


def ask(key: str, agent: str = "ops", **body: Any) -> Any:
    body = {"serverName": "payments", "agentID": agent} | body
    return Client().post(
        PATH, json.dumps(body), content_type="application/json", headers={"Authorization": f"Bearer {key}"}
    )


def give(cast, **terms: Any):
    subject = terms.pop("subject", Subject(agent="ops"))
    with tenant_scope(cast.acme):
        return grants.give(tenant=cast.acme, server=cast.payments, subject=subject, actor=cast.alice, **terms)


class TestIssue:
    def test_it_says_who_may_do_what_until_when(self, cast):
        give(cast, max_trust="medium", policy_version="v7")
        now = clock.now()
        with clock.frozen(now):
            answer = ask(key_of(cast), requestedTrust="high", requestedTTL="30m")

        body = answer.json()
        assert answer.status_code == 200
        assert (body["humanID"], body["agentID"], body["serverName"]) == ("bob@acme.example", "ops", "payments")
        assert (body["consentedTrust"], body["policyVersion"], body["reused"]) == ("medium", "v7", False)
        assert body["name"].startswith("adapter-")
        with tenant_scope(cast.acme):
            row = AgentSession.objects.get(name=body["name"])
            assert row.expires_at == now + timedelta(minutes=30)
            assert (row.subject_user, row.origin) == (str(cast.bob.pk), "adapter")

    @pytest.mark.parametrize(("asked", "hours"), [({}, 1), ({"requestedTTL": "72h"}, 24)], ids=["default", "most"])
    def test_it_lives_an_hour_and_at_most_a_day(self, cast, asked, hours):
        give(cast)
        now = clock.now()
        with clock.frozen(now):
            name = ask(key_of(cast), **asked).json()["name"]

        with tenant_scope(cast.acme):
            assert AgentSession.objects.get(name=name).expires_at == now + timedelta(hours=hours)

    def test_trust_is_low_unless_asked_for(self, cast):
        give(cast, max_trust="high")

        assert ask(key_of(cast)).json()["consentedTrust"] == "low"

    def test_the_grant_with_the_most_trust_counts(self, cast):
        give(cast, max_trust="low")
        give(cast, max_trust="high", policy_version="best")
        off = give(cast, max_trust="high", policy_version="off")
        with tenant_scope(cast.acme):
            grants.disable(tenant=cast.acme, grant_id=off.pk, actor=cast.alice)

        body = ask(key_of(cast), requestedTrust="high").json()
        assert (body["consentedTrust"], body["policyVersion"]) == ("high", "best")

    @pytest.mark.parametrize(
        "subject",
        [Subject(agent="other"), Subject(user="somebody"), Subject(agent="ops", team="team"), Subject(key="k")],
        ids=["agent", "human", "team", "key"],
    )
    def test_without_a_grant_that_fits_there_is_none(self, cast, subject):
        give(cast, subject=subject)
        answer = ask(key_of(cast))

        assert answer.status_code == 403
        assert answer.json()["code"] == "access.no_matching_grant"

    def test_a_revoked_or_ended_grant_is_none(self, cast):
        ended = give(cast, expires_at=clock.now() + timedelta(minutes=1))
        with clock.frozen(clock.now() + timedelta(hours=1)):
            assert ask(key_of(cast)).status_code == 403
        with tenant_scope(cast.acme):
            grants.revoke(tenant=cast.acme, grant_id=ended.pk, actor=cast.alice)
        assert ask(key_of(cast)).status_code == 403

    @pytest.mark.parametrize(
        "body",
        [
            {"serverName": ""}, {"serverName": "nowhere"}, {"agentID": ""}, {"agentID": 7}, {"requestedTrust": "root"},
            {"requestedTTL": "soon"}, {"requestedTTL": "-1h"}, {"requestedTTL": "0s"},
        ],
        ids=str,
    )  # fmt: skip
    def test_what_makes_no_sense_is_refused_with_the_field(self, cast, body):
        give(cast)
        answer = ask(key_of(cast), **body)

        assert answer.status_code == 400
        assert answer.json()["field"]

    def test_a_namespace_narrows_which_grants_count(self, cast):
        give(cast, namespace="mcp-servers", name="there")

        assert ask(key_of(cast), namespace="acme").status_code == 403
        assert ask(key_of(cast), namespace="mcp-servers").json()["namespace"] == "mcp-servers"
        assert ask(key_of(cast), namespace="globex").status_code == 403

    def test_a_key_behind_which_no_member_stands_gets_none(self, cast):
        give(cast)

        assert ask(key_of(cast, user=cast.charlie)).status_code == 401


class TestReuse:
    def test_the_same_asking_gets_the_same_session(self, cast):
        give(cast)
        first, second = ask(key_of(cast)).json(), ask(key_of(cast)).json()

        assert (first["name"], second["reused"]) == (second["name"], True)
        assert first["expiresAt"] == second["expiresAt"]

    def test_others_get_others(self, cast):
        give(cast, subject=Subject(everyone=True))
        names = {ask(key_of(cast), "a").json()["name"], ask(key_of(cast), "b").json()["name"]}
        names.add(ask(key_of(cast, user=cast.alice), "a").json()["name"])

        assert len(names) == 3

    def test_one_that_is_about_to_end_is_not_handed_out_again(self, cast):
        give(cast)
        ask(key_of(cast))
        with clock.frozen(clock.now() + timedelta(minutes=59, seconds=45)):
            assert not ask(key_of(cast)).json()["reused"]

    def test_nor_one_that_nobody_used_for_as_long_as_the_server_allows(self, cast):
        give(cast)
        ask(key_of(cast), requestedTTL="5h")
        with clock.frozen(clock.now() + timedelta(hours=2)):
            assert not ask(key_of(cast), requestedTTL="5h").json()["reused"]

    @pytest.mark.parametrize("how", ["trust", "revoked"])
    def test_nor_one_that_is_not_what_is_asked_for(self, cast, how):
        give(cast, max_trust="high")
        name = ask(key_of(cast)).json()["name"]
        if how == "revoked":
            with tenant_scope(cast.acme):
                held = AgentSession.objects.get(name=name)
                sessions.revoke(tenant=cast.acme, session_id=held.pk, actor=cast.alice)
        again = ask(key_of(cast), requestedTrust="medium" if how == "trust" else "low").json()

        assert (again["name"], again["reused"]) == (name, False)
        with tenant_scope(cast.acme):
            assert AgentSession.objects.filter(name=name, revoked_at=None).count() == 1


def test_fifty_who_ask_at_once_get_one_session(durable_db):
    cast, agent = cast_of_its_own(), f"agent-{uuid4().hex[:8]}"
    give(cast, subject=Subject(agent=agent))
    key = key_of(cast)

    def one(_: int) -> tuple[int, str, bool]:
        try:
            answer = ask(key, agent)
            return answer.status_code, answer.json()["name"], answer.json()["reused"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(one, range(50)))
    assert {status for status, _, _ in found} == {200}
    assert len({name for _, name, _ in found}) == 1
    assert sum(not reused for _, _, reused in found) == 1
    with tenant_scope(cast.acme):
        assert AgentSession.objects.filter(subject_agent=agent).count() == 1
