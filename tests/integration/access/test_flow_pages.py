"""The flow rule on pages, by program and in files; and what it would have said of calls."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
import yaml
from allauth.mfa.models import Authenticator
from django.test import Client

from access import selectors
from access.filing import apply, plan, rows
from access.flow import Verdict
from access.flows import outlook, rules, state
from access.flows.rules import Terms
from access.flows.types import FlowAsk
from access.formats import files
from access.models import FlowSession
from access.types import FLOW, FlowLabel, FlowRule
from catalog.models import ToolLabel
from core import clock
from gateway.services.entries import server_entries, tenant_entry
from tenants.choices import Scope
from tenants.context import platform_scope, tenant_scope
from tenants.services import api_keys
from tests.integration.access.conftest import browser_of

pytestmark = pytest.mark.django_db
PAGE, SERVER = "/o/acme/access/flow/", "/o/acme/access/flow/payments/"
OWN = "/o/acme/access/flow/vault/"  # of a server that acme publishes
UNTRUSTED, PRIVATE, OUT = (label.value for label in FlowLabel)
TOOL = "list_invoices"


def form(**changes):
    return {
        "mode": "stop",
        "forbidden": ["private_data external_output"],
        "scope": "caller",
        "window_s": "1800",
        "unlabelled": "nothing",
        "exempt_agents": "clerk\n",
        "exempt_grants": "",
        "act": "save",
    } | changes


def touch(cast, key_id, *labels):
    rule = FlowRule(forbidden=())
    with tenant_scope(cast.acme):
        state.take(
            FlowAsk(
                cast.acme.pk, uuid4(), key_id, "", "clerk", None, "", "payments", TOOL, frozenset(map(FlowLabel, labels)),
                rules.compile_rule() or rule,
            )
        )  # fmt: skip


class TestPages:
    def test_without_a_word_of_the_organisation_the_default_holds(self, alice, cast):
        page = alice.get(PAGE).content.decode()

        assert "Save the rule" in page
        assert tenant_entry(cast.acme.pk).flow == rules_of(cast)
        assert rules_of(cast).mode == "escalate"
        assert rules_of(cast).forbidden == (frozenset(FlowLabel),)

    def test_a_rule_that_is_saved_reaches_gateways(self, alice, cast):
        before = tenant_entry(cast.acme.pk).revision

        assert alice.post(PAGE, form()).status_code == 302

        entry = tenant_entry(cast.acme.pk)
        assert entry.revision > before
        assert (entry.flow.mode, entry.flow.window_s, entry.flow.exempt_agents) == ("stop", 1800, {"clerk"})
        assert entry.flow.forbidden == (frozenset({FlowLabel.PRIVATE_DATA, FlowLabel.EXTERNAL_OUTPUT}),)

    def test_off_costs_gateways_nothing(self, alice, cast):
        alice.post(PAGE, form(mode="off"))

        assert tenant_entry(cast.acme.pk).flow is None

    def test_a_wrong_field_says_so(self, alice, cast):
        page = alice.post(PAGE, form(exempt_grants="noslash")).content.decode()

        assert "namespace/name" in page
        assert rules_of(cast).mode == "escalate"

    def test_trying_saves_nothing(self, alice, cast):
        page = alice.post(PAGE, form(act="try")).content.decode()

        assert "What it would have held back" in page
        assert rules_of(cast).mode == "escalate"

    def test_members_see_the_rule_and_change_nothing(self, bob, cast):
        page = bob.get(PAGE).content.decode()

        assert "You can see the flow rule, not change it" in page
        assert "Save the rule" not in page
        assert bob.post(PAGE, form()).status_code == 403
        assert bob.post(SERVER, {"tool": TOOL, "labels": [OUT]}).status_code == 403

    def test_what_a_session_touched_is_shown_to_managers_and_to_the_keys_maker_alone(self, alice, bob, cast, issued):
        touch(cast, issued.key.pk, PRIVATE)

        page = alice.get(PAGE).content.decode()
        assert "Private data:" in page
        assert "Begin afresh" in page
        assert "Private data:" not in bob.get(PAGE).content.decode()

    def test_a_session_begins_afresh(self, alice, cast, issued):
        touch(cast, issued.key.pk, PRIVATE)
        with tenant_scope(cast.acme):
            row = FlowSession.objects.get(api_key_id=issued.key.pk)

        assert alice.post(f"{PAGE}sessions/{row.pk}/forget/").status_code == 302

        with tenant_scope(cast.acme):
            assert not state.live().filter(pk=row.pk).exists()

    def test_labels_for_own_calls_and_back(self, alice, cast):
        assert alice.post(SERVER, {"tool": TOOL, "labels": [PRIVATE, OUT], "act": "save"}).status_code == 302
        own = tenant_entry(cast.acme.pk).labels[cast.payments.pk]
        assert own[TOOL].labels == {FlowLabel.PRIVATE_DATA, FlowLabel.EXTERNAL_OUTPUT}
        assert own[TOOL].definition
        assert "For your calls you say: private data and external output" in alice.get(SERVER).content.decode()

        alice.post(SERVER, {"tool": TOOL, "act": "take-back"})
        assert cast.payments.pk not in tenant_entry(cast.acme.pk).labels

    def test_the_provider_confirms_for_everybody(self, alice, charlie, cast):
        assert alice.post(OWN, {"tool": TOOL, "labels": [PRIVATE], "for": "everybody"}).status_code == 302

        with platform_scope():
            row = ToolLabel.objects.get(server=cast.vault, tool=TOOL)
        assert (row.labels, row.set_by) == ([PRIVATE], "provider")
        [entry] = server_entries(server_id=cast.vault.pk)
        assert entry.is_labelled
        assert entry.policy.tools[TOOL].labels == {FlowLabel.PRIVATE_DATA}
        assert charlie.post(OWN, {"tool": TOOL, "labels": [], "for": "everybody"}).status_code == 404

    def test_the_explanation_says_what_the_session_has_touched(self, alice, cast, issued):
        with tenant_scope(cast.acme):
            rules.change(tenant=cast.acme, wanted=Terms(mode="stop", forbidden=((PRIVATE, OUT),)), actor=cast.alice)
            rules.label(tenant=cast.acme, server=cast.payments, wanted={TOOL: [OUT]}, actor=cast.alice)
        touch(cast, issued.key.pk, PRIVATE)

        page = alice.get(f"/o/acme/access/explain/?key={issued.key.pk}&server=payments&tool={TOOL}").content.decode()

        assert "In its session" in page
        assert "The flow rule stops it." in page
        with tenant_scope(cast.acme):
            assert FLOW in selectors.explain_call(issued.key, cast.payments, "tools/call", TOOL).obligations
            assert list(FlowSession.objects.get(api_key_id=issued.key.pk).touched) == [PRIVATE], (
                "asking touches nothing"
            )


def rules_of(cast):
    with tenant_scope(cast.acme):
        return rules.compile_rule()


class TestByProgram:
    @pytest.fixture
    def ask(self, cast):
        keys = {
            scope: api_keys.issue(tenant=cast.acme, name=scope, scopes=[scope], actor=cast.alice)
            for scope in (Scope.ADMIN, Scope.CATALOG_READ)
        }

        def send(method, path, body=None, scope=Scope.ADMIN):
            more = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
            headers = {"Authorization": f"Bearer {keys[scope].text}"}
            return getattr(Client(), method)(f"/api/v1/flow/{path}", headers=headers, **more)

        return send

    def test_the_rule_is_read_and_set(self, ask, cast):
        rule = ask("get", "", scope=Scope.CATALOG_READ).json()
        assert (rule["mode"], rule["forbidden"]) == ("escalate", [[UNTRUSTED, PRIVATE, OUT]])

        wanted = {"mode": "stop", "forbidden": [[OUT, PRIVATE]], "window_s": 600}
        assert ask("put", "", wanted, scope=Scope.CATALOG_READ).status_code == 403
        told = ask("put", "", wanted)
        assert (told.status_code, told.json()["forbidden"]) == (200, [[PRIVATE, OUT]])
        assert rules_of(cast).window_s == 600
        assert ask("put", "", {"mode": "stop", "forbidden": [[]]}).status_code == 400

    def test_tools_are_labelled(self, ask, cast):
        told = ask("patch", "labels/payments/", {"tools": [{"tool": TOOL, "labels": [OUT]}]}).json()
        [row] = [each for each in told["tools"] if each["tool"] == TOOL]
        assert (row["own"], row["confirmed"]) == ([OUT], None)
        assert row["suggested"] == [PRIVATE]
        assert ask("patch", "labels/payments/", {"tools": [{"tool": "none", "labels": []}]}).status_code == 400
        assert ask("get", "labels/hidden-server/").status_code == 404

    def test_sessions_are_for_administrators(self, ask, cast, issued):
        touch(cast, issued.key.pk, PRIVATE)

        assert ask("get", "sessions/", scope=Scope.CATALOG_READ).status_code == 403
        found = [row for row in ask("get", "sessions/").json()["sessions"] if row["api_key_id"] == str(issued.key.pk)]
        assert found[0]["touched"][PRIVATE]["tool"] == TOOL


def entry(**spec):
    whole = {
        "apiVersion": "mcp-marketplace/v1",
        "kind": "FlowRule",
        "metadata": {"name": "flow", "namespace": "acme"},
        "spec": {"mode": "stop", "forbid": [[PRIVATE, OUT]], "window": "30m"} | spec,
    }
    return files.read_files([("flow.yaml", yaml.safe_dump(whole).encode())])


class TestFiles:
    def test_a_file_is_planned_applied_and_comes_back_as_it_is(self, cast):
        found = entry(
            **{"except": {"agents": ["clerk"]}},
            labels=[{"server": "payments", "tool": TOOL, "labels": [OUT]}, {"server": "payments", "labels": []}],
        )
        assert found.problems == []
        with tenant_scope(cast.acme):
            made = plan.make(cast.acme, found)
            [change] = [each for each in made.changes if each.kind == "flow"]
            assert (change.action, set(change.fields)) == (
                "update",
                {"mode", "forbidden", "window_s", "exempt_agents", "labels"},
            )
            apply.apply(tenant=cast.acme, found=found, digest=made.digest, actor=cast.alice)
            exported = files.read_files([("all.yaml", rows.export(cast.acme).encode())])
            assert exported.problems == []
            again = plan.make(cast.acme, exported)
            assert [each.action for each in again.changes if each.kind == "flow"] == ["unchanged"]
            assert exported.flows == found.flows
            assert set(rules.own_labels_at(cast.payments.pk)) == {TOOL, ""}

            less = entry(labels=[{"server": "payments", "tool": TOOL, "labels": [OUT]}])
            apply.apply(tenant=cast.acme, found=less, digest=plan.make(cast.acme, less).digest, actor=cast.alice)
            assert set(rules.own_labels_at(cast.payments.pk)) == {TOOL}, "what the file leaves out is taken back"

    @pytest.mark.parametrize(
        "spec",
        [
            {"forbid": None},
            {"forbid": [[]]},
            {"forbid": [["rumours"]]},
            {"forbid": "private_data"},
            {"mode": "perhaps"},
            {"window": "3d"},
            {"surprise": 1},
            {"except": {"people": ["bob"]}},
            {"labels": [{"server": "payments", "tool": TOOL, "labels": ["rumours"]}]},
            {"labels": [{"server": "payments", "labels": []}, {"server": "payments", "labels": [OUT]}]},
        ],
    )
    def test_what_is_not_understood_is_refused_whole(self, spec):
        found = entry(**spec)

        assert found.problems
        assert found.flows == []

    def test_servers_and_tools_that_there_are_not_refuse_the_plan(self, cast):
        with tenant_scope(cast.acme):
            for place in ({"server": "nowhere"}, {"server": "payments", "tool": "none"}, {"server": "globex-only"}):
                assert plan.make(cast.acme, entry(labels=[{**place, "labels": [OUT]}])).problems


class TestReplaying:
    def test_the_preview_counts_what_would_have_been_held_back(self, cast, monkeypatch):
        now, key, server = clock.now(), uuid4(), cast.payments.pk

        def call(seconds, tool, **more):
            return SimpleNamespace(
                **{
                    "call_id": uuid4(), "occurred_at": now + timedelta(seconds=seconds), "server_id": server, "tool": tool,
                    "server_name": "payments", "method": "tools/call", "agent": "clerk", "api_key_id": key, "user_id": None,
                    "grant_id": None, "allowed": True, "reason": "allowed", "agent_session_id": None, "session_id": "",
                    "asserted_human": "",
                }
                | more
            )  # fmt: skip

        calls = [
            call(0, "read"),
            call(1, "send"),
            call(2, "send", allowed=False, reason="tool_denied"),
            call(3, "other"),
        ]
        labels = {server: {"read": frozenset({FlowLabel.PRIVATE_DATA}), "send": frozenset({FlowLabel.EXTERNAL_OUTPUT})}}
        rule = FlowRule(forbidden=(frozenset({FlowLabel.PRIVATE_DATA, FlowLabel.EXTERNAL_OUTPUT}),))

        found = outlook.weigh(rule, labels, calls, days=7)

        assert (found.calls, found.held, [(row.tool, row.calls) for row in found.rows]) == (2, 1, [("send", 1)])
        assert outlook.weigh(None, labels, calls, days=7).held == 0
        assert Verdict.STOP in outlook.HOLDING


class TestOperators:
    def test_an_operator_labels_in_the_admin_and_the_provider_cannot_change_it(self, cast, alice):
        Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "planted"})
        browser = browser_of(cast.olga)
        data = {"server": str(cast.vault.pk), "tool": TOOL, "labels": [PRIVATE, OUT]}

        assert browser.get("/admin/catalog/toollabel/add/").status_code == 200
        assert browser.post("/admin/catalog/toollabel/add/", data).status_code == 302
        wrong = browser.post("/admin/catalog/toollabel/add/", data | {"tool": "none"}).content.decode()

        assert "no tool named" in wrong
        with platform_scope():
            row = ToolLabel.objects.get(server=cast.vault, tool=TOOL)
        assert (row.set_by, row.labels) == ("operator", [OUT, PRIVATE])
        assert browser.post(f"/admin/catalog/toollabel/{row.pk}/change/", {"labels": [OUT]}).status_code == 302
        page = alice.post(OWN, {"tool": TOOL, "labels": [], "for": "everybody"}, follow=True).content.decode()
        assert "An operator has labelled" in page
        with platform_scope():
            row.refresh_from_db()
        assert row.labels == [OUT]
