"""Publishing by MCP Runtime's API: from the body of its clients to a server that waits for approval, and out again."""

from __future__ import annotations

import json

import pytest

from audit.services import SYSTEM
from catalog.choices import Status, Visibility
from catalog.models import Server
from catalog.services import servers
from notifications.models import Notification
from tenants.choices import Role, Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership
from tenants.services import api_keys, teams
from tests.integration.catalog.fakes import modern, serving

ROOT = "/api/runtime/servers"
READS = {"name": "list_notes", "description": "Lists notes.", "inputSchema": {"type": "object"}}
DROPS = {"name": "drop_notes", "description": "Drops all notes.", "inputSchema": {"type": "object"}}
TOOLS = [{"name": "list_notes", "requiredTrust": "medium", "sideEffect": "read"}]


@pytest.fixture
def upstream(cast, settings):
    with serving(modern([READS, DROPS])) as server:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
        yield server


@pytest.fixture
def send(cast, client):
    """`send(method, path, body)` with a key that administers acme."""
    text = api_keys.issue(
        tenant=cast.acme, name="publisher", scopes=[Scope.ADMIN, Scope.CATALOG_READ], actor=cast.alice
    ).text

    def ask(method: str, path: str = "", body: dict | None = None):
        sends = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return getattr(client, method)(ROOT + path, headers={"authorization": f"Bearer {text}"}, **sends)

    return ask


def described(upstream, **more) -> dict:
    spec = {
        "image": "registry.example/notes",
        "description": "Notes of the team.\nAll of them.",
        "tools": TOOLS,
        "gateway": {"enabled": True, "upstreamURL": upstream.url},
        "session": {"required": True, "maxLifetime": "2h"},
    }
    return {"name": "notes", "spec": spec | more.pop("spec", {}), **more}


def row(slug="notes") -> Server:
    with platform_scope():
        return Server.objects.get(slug=slug, owner_tenant__slug="acme")


class TestPublishing:
    def test_it_is_read_live_and_waits_for_approval_as_described(self, cast, send, upstream):
        answer = send("post", body=described(upstream))
        server = row()
        with platform_scope():
            tools = {tool.name: (tool.required_trust, tool.side_effect) for tool in server.current_version.tools.all()}

        assert answer.status_code == 200, answer.content
        told = answer.json()["server"]
        assert (told["status"], told["phase"], told["gatewayReady"], told["policyReady"]) == (
            "submitted",
            "Pending",
            False,
            True,
        )
        assert told["message"] == "An operator has not approved it yet."
        assert (server.visibility, server.summary) == (Visibility.ORG, "Notes of the team.")
        assert server.policy_settings == {"session_required": True, "session_max_lifetime_s": 7200}
        assert tools["list_notes"] == ("medium", "read")
        assert tools["drop_notes"] == ("high", "destructive"), "what nobody declared counts as what it hints at"

    def test_operators_are_told_once_that_it_waits(self, cast, send, upstream):
        send("post", body=described(upstream))
        send("post", body=described(upstream, update=True))
        with platform_scope():
            told = Notification.objects.filter(kind="catalog.server_submitted", recipient_id=cast.olga.pk)
            assert [each.title for each in told] == ["notes waits for approval"]

    def test_a_team_s_namespace_keeps_it_to_the_team(self, cast, send, upstream):
        actor = Membership.objects.get(tenant=cast.acme, user=cast.alice)
        team = teams.create(actor=actor, name="Ledger")
        answer = send("post", body=described(upstream, namespace=team.namespace))

        assert answer.status_code == 200, answer.content
        assert (row().visibility, row().owner_team_id) == (Visibility.TENANT, team.pk)
        assert (
            send(
                "post", body=described(upstream, name="x", namespace=team.namespace, spec={"teamID": "other"})
            ).status_code
            == 400
        )

    def test_the_same_name_again_needs_update(self, send, upstream):
        send("post", body=described(upstream))

        assert send("post", body=described(upstream)).status_code == 409
        again = send("post", body=described(upstream, update=True, spec={"description": "Better said."}))
        assert (again.status_code, row().summary) == (200, "Better said.")

    def test_what_was_approved_keeps_its_address_and_its_tools(self, send, upstream):
        send("post", body=described(upstream))
        with platform_scope():
            servers.approve(server=row(), actor=SYSTEM)
        version = row().current_version_id
        assert send("get", "/acme/notes").json()["server"]["phase"] == "Ready"
        moved = described(upstream, update=True, spec={"gateway": {"upstreamURL": upstream.url + "/other"}})
        declared = described(upstream, update=True, spec={"tools": [TOOLS[0] | {"requiredTrust": "low"}]})

        assert send("post", body=moved).status_code == 409
        assert send("post", body=declared).status_code == 200
        assert (row().current_version_id, row().status) == (version, Status.APPROVED)

    def test_a_name_in_public_stays_whose_it_is(self, cast, send, upstream):
        assert send("post", body=described(upstream, name="payments")).status_code == 409
        assert cast.payments.slug == "payments"

    def test_there_is_a_limit(self, send, upstream, settings):
        with platform_scope():
            settings.PUBLISH_SERVERS_MAX = (
                Server.objects.filter(owner_tenant__slug="acme", origin="published").count() + 1
            )
        send("post", body=described(upstream))
        answer = send("post", body=described(upstream, name="more"))

        assert answer.status_code == 429
        assert send("get").json()["publish_policy"]["can_publish"] is False


class TestRefusing:
    @pytest.mark.parametrize(
        ("change", "status", "field"),
        [
            ({"spec": {"image": ""}}, 400, "spec.image"),
            ({"spec": {"gateway": {"enabled": True}}}, 400, "spec.gateway.upstreamURL"),
            ({"spec": {"gateway": {"upstreamURL": "http://10.1.2.3/mcp"}}}, 400, "spec.gateway.upstreamURL"),
            ({"spec": {"gateway": {"upstreamURL": "not an address"}}}, 400, "spec.gateway.upstreamURL"),
            ({"spec": {"tools": [{"name": "x"}]}}, 400, "spec.tools.x.sideEffect"),
            ({"name": "Not A Name"}, 400, "name"),
            ({"name": "n" * 60}, 400, "name"),
            ({"scope": "galaxy"}, 400, "scope"),
            ({"surplus": 1}, 400, "surplus"),
            ({"scope": "public"}, 403, None),
            ({"namespace": "mcp-servers"}, 403, None),
            ({"namespace": "globex"}, 403, None),
        ],
    )
    def test_what_cannot_be_published_says_why(self, send, upstream, change, status, field):
        answer = send("post", body=described(upstream, **change))

        assert (answer.status_code, answer.json().get("field")) == (status, field), answer.content
        assert answer.json()["error"]

    def test_a_server_that_does_not_answer_is_not_published(self, send, upstream, settings):
        settings.EGRESS_ALLOW = ["127.0.0.1:9"]
        answer = send("post", body=described(upstream, spec={"gateway": {"upstreamURL": "http://127.0.0.1:9/mcp"}}))

        assert (answer.status_code, answer.json()["code"]) == (400, "catalog.publish_unreadable")

    def test_members_do_not_publish(self, cast, upstream, client):
        client.force_login(cast.bob)
        Membership.objects.filter(user=cast.bob).update(role=Role.MEMBER)
        body = json.dumps(described(upstream))

        assert client.post(f"{ROOT}?organisation=acme", body, content_type="application/json").status_code == 403


class TestWithdrawing:
    def test_it_is_gone_and_may_come_back(self, cast, send, upstream):
        send("post", body=described(upstream))

        assert send("delete", "/acme/notes").json() == {"success": True, "name": "notes", "namespace": "acme"}
        assert send("get", "/acme/notes").status_code == 404
        assert send("delete", "/acme/notes").status_code == 404
        assert send("post", body=described(upstream)).status_code == 200
        assert row().status == Status.SUBMITTED

    def test_what_others_may_be_calling_stays(self, cast, client):
        with tenant_scope(cast.initech):
            text = api_keys.issue(
                tenant=cast.initech, name="x", scopes=[Scope.ADMIN, Scope.CATALOG_READ], actor=cast.diana
            ).text
        answer = client.delete(f"{ROOT}/initech/payments", headers={"authorization": f"Bearer {text}"})

        assert answer.status_code == 409
        assert answer.json()["code"] == "catalog.withdraw_public"

    def test_a_server_of_others_is_not_withdrawn(self, send):
        assert send("delete", "/mcp-servers-public/payments").status_code == 404
