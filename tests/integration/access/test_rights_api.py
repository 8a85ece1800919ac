"""Grants, sessions, policies and teams by the REST API: over the services of the pages, in names that people use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from access.models import AgentSession, Grant
from access.services import connections, grants
from access.services.grants import Subject
from catalog.models import Server
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.services import api_keys

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_given")]


@pytest.fixture
def ask(cast):
    issued = api_keys.issue(tenant=cast.acme, name="ops", scopes=[Scope.ADMIN], actor=cast.alice)

    def send(method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {key or issued.text}"}
        data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return getattr(Client(), method)(f"/api/v1/{path}", headers=headers, **data)

    return send


def grant(**more: Any) -> dict[str, Any]:
    return {"server": "payments", "subject": {"human": "bob@acme.example", "agent": "ops"}} | more


class TestGrants:
    def test_one_is_given_listed_switched_off_and_revoked(self, ask, cast):
        made = ask("post", "grants/", grant(name="ops", max_trust="high", tool_rules=[{"name": "list_invoices"}]))
        body = made.json()
        assert made.status_code == 201
        assert body["subject"] == {"human": "bob@acme.example", "agent": "ops"}
        assert (body["server"], body["state"], body["origin"]) == ("payments", "active", "api")
        assert [row["id"] for row in ask("get", "grants/?server=payments").json()["grants"]] == [body["id"]]

        path = f"grants/{body['id']}/"
        assert ask("patch", path, {"disabled": True}).json()["state"] == "disabled"
        assert ask("patch", path, {"disabled": False}).json()["state"] == "active"
        assert ask("delete", path).status_code == 204
        assert ask("get", "grants/").json()["grants"] == []
        assert ask("get", path).json()["state"] == "revoked"
        assert body["id"] in [row["id"] for row in ask("get", "grants/?state=all").json()["grants"]]

    def test_a_name_that_is_taken_is_a_conflict(self, ask):
        ask("post", "grants/", grant(name="ops"))

        assert ask("post", "grants/", grant(name="ops")).status_code == 409

    @pytest.mark.parametrize(
        "changes",
        [
            {"server": "nowhere"}, {"server": "\ud800"}, {"subject": {}}, {"subject": {"key": "k"}}, {"max_trust": "root"},
            {"side_effects": []}, {"tool_rules": [{"name": "nothing"}]}, {"conditions": {"moon": "full"}},
            {"expires_at": "2020-01-01T00:00:00Z"}, {"name": "No Name"}, {"subject": {"agent": "a\u0000"}},
            {"subject": {"everyone": True, "agent": "ops"}},
        ],
        ids=str,
    )  # fmt: skip
    def test_what_makes_no_sense_is_refused(self, ask, cast, changes):
        assert ask("post", "grants/", grant(**changes)).status_code == 400
        with tenant_scope(cast.acme):
            assert not Grant.objects.filter(revoked_at=None).exists()

    def test_another_organisation_s_grant_is_not_there(self, ask, cast):
        with tenant_scope(cast.globex):
            row = grants.give(tenant=cast.globex, server=cast.payments, subject=Subject(agent="x"), actor=None)

        for method, body in (("get", None), ("patch", {"disabled": True}), ("delete", None)):
            assert ask(method, f"grants/{row.pk}/", body).status_code == 404

    def test_a_reader_reads_and_changes_nothing(self, ask, cast):
        reader = api_keys.issue(tenant=cast.acme, name="r", scopes=[Scope.CATALOG_READ], actor=cast.bob).text

        assert ask("get", "grants/", key=reader).status_code == 200
        assert ask("post", "grants/", grant(), key=reader).status_code == 403


class TestSessions:
    def test_one_is_issued_listed_and_revoked(self, ask):
        made = ask(
            "post", "sessions/", {"server": "payments", "subject": {"agent": "ops"}, "consented_trust": "medium"}
        )
        body = made.json()
        assert (made.status_code, body["consented_trust"], body["state"]) == (201, "medium", "active")
        assert ask("get", "sessions/").json()["total"] == 1

        assert ask("delete", f"sessions/{body['id']}/").status_code == 204
        assert ask("get", f"sessions/{body['id']}/").json()["state"] == "revoked"

    def test_a_session_is_of_somebody(self, ask):
        assert ask("post", "sessions/", {"server": "payments", "subject": {}}).status_code == 400

    def test_a_session_of_mcp_runtime_s_api_uses_the_organisation_s_credential(self, ask, cast, settings):
        settings.EGRESS_ALLOW = ["127.0.0.1:9"]
        with tenant_scope(cast.acme):
            stored = connections.store(
                tenant=cast.acme, server=cast.payments, secret=connections.header("x-token", "secret"), actor=cast.alice
            )
        body = {
            "name": "sess",
            "serverRef": {"name": "payments"},
            "subject": {"agentID": "ops"},
            "upstreamTokenSecretRef": {"name": "payments-token", "key": "access-token"},
        }
        assert ask("post", "runtime/sessions", body).status_code == 200
        with tenant_scope(cast.acme):
            assert AgentSession.objects.get(name="sess").credential_id == stored.pk


class TestPolicies:
    def test_the_owner_changes_what_the_body_names(self, ask, cast):
        before = cast.vault.revision
        body = ask("patch", "policy/vault/", {"session_required": True, "mode": "observe"}).json()

        assert (body["session_required"], body["mode"], body["default_decision"]) == (True, "observe", "deny")
        with tenant_scope(cast.acme):
            assert Server.objects.get(pk=cast.vault.pk).revision > before

    def test_of_another_s_server_there_is_none(self, ask):
        assert ask("get", "policy/payments/").status_code == 404
        assert ask("patch", "policy/payments/", {"mode": "observe"}).status_code == 404

    def test_the_document_of_mcp_runtime_carries_its_revision(self, ask):
        ask("post", "grants/", grant(name="ops"))
        document = ask("get", "runtime/policy?namespace=acme&server=payments").json()

        assert document["schema_version"] == "v1"
        assert document["revision"].startswith("sha256:")
        assert [row["name"] for row in document["grants"]] == ["ops"]


class TestTeams:
    def test_one_is_made_and_listed(self, ask):
        made = ask("post", "teams/", {"name": "Core"})

        assert (made.status_code, made.json()["namespace"]) == (201, "mcp-team-core")
        assert ask("get", f"teams/{made.json()['id']}/").json()["members"] == []
        assert [team["slug"] for team in ask("get", "teams/").json()["teams"]] == ["core"]


class TestOddNames:
    @pytest.mark.parametrize(
        "path",
        [
            "runtime/grants/acme/%00", "runtime/sessions/acme/%00", "runtime/tools?server=%00", "runtime/grants?namespace=%00",
            "runtime/policy?namespace=acme&server=%00", "grants/?server=%00", "grants/?limit=x", "runtime/servers?limit=-1",
        ],
    )  # fmt: skip
    def test_names_that_are_none_are_no_failure(self, ask, path):
        assert ask("get", path).status_code in {200, 400, 403, 404}

    def test_nor_are_halves_of_characters(self, ask):
        assert ask("post", "runtime/adapter/sessions", {"serverName": "\ud800", "agentID": "x"}).status_code == 400
        body = {"files": [{"name": "\ud800", "content": "x: \ud800"}]}
        assert ask("post", "access/plan/", body).status_code == 400
