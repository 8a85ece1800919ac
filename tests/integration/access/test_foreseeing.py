from __future__ import annotations

from datetime import timedelta

import pytest

from access import foresight
from access.models import Simulation
from access.services import grants, sessions, simulations
from access.services.grants import Subject
from access.tasks import run_simulation
from access.types import Reason
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from core.errors import InvalidError, NotFoundError
from core.ids import uuid7
from tenants.choices import Role, Scope
from tenants.context import tenant_scope
from tenants.models import Membership
from tenants.services import api_keys
from tests.integration.catalog.test_api import asking  # noqa: F401 - the fixture is used by name
from tests.integration.catalog.test_home import make_call

PLACE = "/o/acme/access/explain/"
FILE = """
apiVersion: mcpruntime.org/v1alpha1
kind: MCPAccessGrant
metadata: {name: refunds, namespace: acme}
spec:
  serverRef: {name: payments}
  subject: {agentID: clerk}
  maxTrust: high
  allowedSideEffects: [read, write, destructive]
"""


def call(cast, issued, tool, *, allowed, reason, days=0, **more):
    return make_call(
        cast.acme,
        call_id=uuid7(),
        occurred_at=clock.now() - timedelta(days=days),
        api_key_id=issued.key.pk,
        user_id=cast.alice.pk,
        agent="clerk",
        server_id=cast.payments.pk,
        server_name="payments",
        tool=tool,
        allowed=allowed,
        reason=reason,
        **more,
    )


@pytest.fixture
def history(cast, issued):
    """Three refunds that were refused, two lists that were allowed."""
    for _ in range(3):
        call(cast, issued, "refund_invoice", allowed=False, reason="side_effect_not_allowed", outcome="denied")
    for _ in range(2):
        call(cast, issued, "list_invoices", allowed=True, reason="allowed")


def simulated(cast, change, days=7) -> Simulation:
    with tenant_scope(cast.acme):
        row = simulations.begin(
            tenant=cast.acme,
            viewer=Viewer(tenant_id=cast.acme.pk),
            actor=cast.alice,
            title="x",
            change=change,
            days=days,
        )
    run_simulation(tenant_id=str(cast.acme.pk), simulation_id=str(row.pk))
    with tenant_scope(cast.acme):
        row.refresh_from_db()
    return row


class TestWho:
    def test_everybody_is_listed_with_decision_and_grant(self, alice, cast, issued):
        page = alice.get(f"{PLACE}who/?server=payments&tool=list_invoices").content.decode()

        for name in ("Invoices", "clerk", "alice@acme.example", "bob@acme.example"):
            assert name in page
        assert "No grant" in page

    def test_the_answer_is_the_engine_s(self, cast, issued):
        with tenant_scope(cast.acme):
            grants.give(
                tenant=cast.acme, server=cast.payments, subject=Subject.of("user", str(cast.bob.pk)), actor=None
            )
            found = {
                (r.caller.kind, r.caller.label): r.decision
                for r in foresight.who_can(cast.acme, cast.payments, "list_invoices")
            }

        assert found["key", "Invoices"].allowed
        assert found["user", "bob@acme.example"].allowed
        assert not found["user", "alice@acme.example"].allowed
        assert found["user", "alice@acme.example"].reason is Reason.NO_MATCHING_GRANT

    def test_a_key_limited_to_other_servers_is_refused(self, cast):
        api_keys.issue(tenant=cast.acme, name="Narrow", scopes=["invoke"], actor=cast.alice, server_ids=[cast.vault.pk])
        with tenant_scope(cast.acme):
            found = {
                reach.caller.label: reach.decision.reason
                for reach in foresight.who_can(cast.acme, cast.payments, "list_invoices")
            }

        assert found["Narrow"] is Reason.SERVER_NOT_IN_KEY

    def test_another_organisation_sees_its_own_people_alone(self, charlie, issued):
        page = charlie.get("/o/globex/access/explain/who/?server=payments&tool=list_invoices").content.decode()

        assert "charlie@globex.example" in page
        assert "acme" not in page
        assert "Invoices" not in page.replace("list_invoices", "")


class TestWhat:
    def test_a_caller_s_tools_are_listed_with_decisions(self, alice, issued):
        page = alice.get(f"{PLACE}can/?who=key:{issued.key.pk}").content.decode()

        assert "list_invoices" in page
        assert "refund_invoice" in page
        assert "Side effect not allowed" in page
        assert "refund_invoice" not in alice.get(f"{PLACE}can/?who=key:{issued.key.pk}&only=allowed").content.decode()

    def test_who_has_nothing_is_told_so(self, alice, cast):
        assert "Nothing is granted" in alice.get(f"{PLACE}can/?who=user:{cast.bob.pk}").content.decode()

    def test_odd_addresses_do_not_break_it(self, alice, cast):
        for query in (
            "can/?who=key:x",
            "can/?who=%00",
            "who/?server=%00&tool=x",
            "who/?server=vault&tool=no",
            "simulate/?kind=x",
        ):
            assert alice.get(PLACE + query).status_code == 200


class TestSimulating:
    def test_a_grant_shows_who_would_gain(self, cast, issued, history):
        change = {
            "kind": "grant",
            "server": str(cast.payments.pk),
            "subject": {"agent": "clerk"},
            "max_trust": "high",
            "side_effects": ["destructive"],
        }
        row = simulated(cast, change)

        assert (row.state, row.result["calls"], row.result["gains"], row.result["losses"]) == ("done", 5, 3, 0)
        sums = {"gains": 3, "losses": 0, "waits": 0}
        assert row.result["tools"] == [{"server": "payments", "tool": "refund_invoice", **sums}]
        assert row.result["callers"] == [{"caller": "Invoices", **sums}]
        [sample] = row.result["samples"]
        assert (sample["before"], sample["after"], sample["calls"]) == ("side_effect_not_allowed", "allowed", 3)

    def test_a_revoked_grant_shows_who_would_lose(self, cast, issued, history):
        with tenant_scope(cast.acme):
            [grant] = grants.Grant.objects.all()
        row = simulated(cast, {"kind": "revoke", "grant": str(grant.pk)})

        assert (row.result["gains"], row.result["losses"]) == (0, 2)
        with tenant_scope(cast.acme):
            assert grants.Grant.objects.get().revoked_at is None, "nothing took effect"

    def test_trust_of_a_tool_and_of_reading(self, cast, issued, history):
        change = {"kind": "tool", "server": str(cast.payments.pk), "tool": "list_invoices", "required_trust": "high"}

        assert simulated(cast, change).result["losses"] == 2

    def test_a_session_counts_as_it_was_when_it_was_used(self, cast, issued):
        with tenant_scope(cast.acme):
            session = sessions.issue(
                tenant=cast.acme,
                server=cast.payments,
                subject=Subject.of("agent", "clerk"),
                actor=cast.alice,
                name="morning",
                consented_trust="low",
            )
            sessions.revoke(tenant=cast.acme, session_id=session.pk, actor=cast.alice)
        call(cast, issued, "list_invoices", allowed=True, reason="allowed", agent_session_id=session.pk)
        call(cast, issued, "list_invoices", allowed=False, reason="session_revoked", agent_session_id=session.pk)
        change = {"kind": "tool", "server": str(cast.payments.pk), "tool": "list_invoices", "required_trust": "medium"}
        result = simulated(cast, change).result

        assert (result["losses"], result["samples"][0]["after"]) == (1, "trust_too_low")

    def test_a_grant_for_one_environment_is_held_against_the_key_s(self, cast):
        key = api_keys.issue(tenant=cast.acme, name="Live", scopes=["invoke"], actor=cast.alice).key
        api_keys.set_environment(tenant=cast.acme, key_id=key.pk, environment="production", actor=cast.alice)
        terms = {"environments": ["production"]}
        with tenant_scope(cast.acme):
            grants.give(
                tenant=cast.acme,
                server=cast.payments,
                subject=Subject.of("key", str(key.pk)),
                actor=None,
                conditions=terms,
            )
            found = {
                reach.caller.label: reach for reach in foresight.who_can(cast.acme, cast.payments, "list_invoices")
            }

        assert found["Live"].decision.allowed

    def test_a_file_is_judged_by_what_it_does_and_leaves_nothing_behind(self, cast, issued, history):
        row = simulated(cast, {"kind": "files", "text": FILE})

        assert (row.problem, row.result.get("gains")) == ("", 3)
        with tenant_scope(cast.acme):
            assert grants.Grant.objects.count() == 1

    def test_a_file_that_cannot_be_taken_says_why(self, cast, issued):
        row = simulated(cast, {"kind": "files", "text": FILE.replace("high", "enormous")})

        assert row.state == "failed"
        assert row.problem

    def test_calls_of_keys_that_are_gone_are_counted_apart(self, cast, issued, history):
        api_keys.revoke(tenant=cast.acme, key_id=issued.key.pk, actor=cast.alice)
        change = {"kind": "tool", "server": str(cast.payments.pk), "tool": "list_invoices", "required_trust": "high"}
        row = simulated(cast, change)

        assert (row.result["gone"], row.result["losses"]) == (5, 0)

    def test_only_the_days_that_are_asked_for_are_replayed(self, cast, issued, history):
        with clock.frozen(clock.now() + timedelta(days=3)):
            change = {
                "kind": "tool",
                "server": str(cast.payments.pk),
                "tool": "list_invoices",
                "required_trust": "high",
            }
            assert simulated(cast, change, days=1).result["calls"] == 0

    def test_a_second_run_changes_nothing(self, cast, issued, history):
        change = {"kind": "tool", "server": str(cast.payments.pk), "tool": "list_invoices", "required_trust": "high"}
        row = simulated(cast, change)
        run_simulation(tenant_id=str(cast.acme.pk), simulation_id=str(row.pk))
        with tenant_scope(cast.acme):
            assert Simulation.objects.get(pk=row.pk).finished_at == row.finished_at

    @pytest.mark.parametrize(
        "change",
        [
            None, [], {}, {"kind": "x"}, {"kind": "grant"}, {"kind": "revoke", "grant": "x"},
            {"kind": "grant", "server": "PAYMENTS", "subject": {}},
            {"kind": "grant", "server": "PAYMENTS", "subject": {"agent": "a"}, "max_trust": "enormous"},
            {"kind": "grant", "server": "PAYMENTS", "subject": {"agent": "a"}, "side_effects": ["x"]},
            {"kind": "grant", "server": "PAYMENTS", "subject": {"agent": "a"}, "tools": "x"},
            {"kind": "policy", "server": "PAYMENTS"}, {"kind": "policy", "server": "PAYMENTS", "mode": "x"},
            {"kind": "tool", "server": "PAYMENTS", "tool": "list_invoices"}, {"kind": "files", "text": ""},
        ],
    )  # fmt: skip
    def test_what_is_no_change_is_refused(self, cast, change):
        if isinstance(change, dict) and change.get("server") == "PAYMENTS":
            change = change | {"server": str(cast.payments.pk)}
        with tenant_scope(cast.acme), pytest.raises((InvalidError, NotFoundError)):
            simulations.begin(
                tenant=cast.acme, viewer=Viewer(tenant_id=cast.acme.pk), actor=None, title="", change=change, days=7
            )

    def test_a_server_of_another_organisation_is_not_there(self, cast):
        change = {"kind": "tool", "server": str(cast.vault.pk), "tool": "x", "required_trust": "high"}
        with tenant_scope(cast.globex), pytest.raises(NotFoundError):
            simulations.begin(
                tenant=cast.globex, viewer=Viewer(tenant_id=cast.globex.pk), actor=None, title="", change=change, days=7
            )

    def test_nobody_opens_a_server_of_others_by_its_mode(self, cast):
        change = {"kind": "policy", "server": str(cast.payments.pk), "mode": "observe"}
        with tenant_scope(cast.acme), pytest.raises(InvalidError, match="each organisation"):
            simulations.begin(
                tenant=cast.acme, viewer=Viewer(tenant_id=cast.acme.pk), actor=None, title="", change=change, days=7
            )

    def test_from_the_page_to_the_result(self, alice, cast, issued, history):
        sent = {
            "kind": "grant",
            "server": "payments",
            "subject": "agent:clerk",
            "max_trust": "high",
            "side_effects": ["destructive"],
            "days": "7",
        }
        answer = alice.post(f"{PLACE}simulate/", sent)
        assert answer.status_code == 302
        assert "Replaying calls" in alice.get(answer.url).content.decode()
        with tenant_scope(cast.acme):
            row = Simulation.objects.get()
        run_simulation(tenant_id=str(cast.acme.pk), simulation_id=str(row.pk))
        page = alice.get(answer.url).content.decode()

        assert "Would be allowed, and are not" in page
        assert "refund_invoice" in page
        assert "Side effect not allowed" in page
        assert f"/calls/{row.result['samples'][0]['call_id'] if row.result else ''}" in page

    @pytest.mark.parametrize("sent", [{}, {"kind": "grant"}, {"kind": "revoke", "grant": "x"}, {"kind": "files"},
                                      {"kind": "policy", "server": "payments", "days": "7"},
                                      {"kind": "grant", "server": "payments", "subject": "agent:nobody"}])  # fmt: skip
    def test_a_form_that_says_no_change_is_shown_again(self, alice, cast, sent):
        assert alice.post(f"{PLACE}simulate/", sent).status_code == 422

    def test_members_do_not_simulate_and_auditors_do(self, bob, cast):
        assert bob.get(f"{PLACE}simulate/").status_code == 403
        Membership.objects.filter(user=cast.bob).update(role=Role.AUDITOR)
        assert bob.get(f"{PLACE}simulate/").status_code == 200


class TestWhatIsNotKept:
    """Hours and approvals are on record; addresses and arguments are not, and what hangs on them is unknown."""

    NOON = clock.now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)

    def given(self, cast, **terms):
        with tenant_scope(cast.acme):
            for each in grants.Grant.objects.filter(revoked_at=None):
                grants.revoke(tenant=cast.acme, grant_id=each.pk, actor=None)
            with clock.frozen(self.NOON - timedelta(days=3)):
                return grants.give(
                    tenant=cast.acme, server=cast.payments, subject=Subject.of("agent", "clerk"), actor=None, **terms
                )

    def called(self, cast, issued, *, allowed, reason, moment=None, **more):
        return make_call(
            cast.acme,
            call_id=uuid7(),
            occurred_at=moment or self.NOON,
            api_key_id=issued.key.pk,
            user_id=cast.alice.pk,
            agent="clerk",
            server_id=cast.payments.pk,
            server_name="payments",
            tool="list_invoices",
            allowed=allowed,
            reason=reason,
            **more,
        )

    def needs(self, cast, **what):
        return {"kind": "tool", "server": str(cast.payments.pk), "tool": "list_invoices", **what}

    def test_hours_are_held_against_the_hour_of_each_call(self, cast, issued):
        row = self.given(cast, conditions={"hours": [{"from": "11:00", "to": "13:00"}]})
        self.called(cast, issued, allowed=True, reason="allowed", grant_id=row.pk)
        late = self.NOON.replace(hour=20)
        self.called(cast, issued, allowed=False, reason="condition_not_met", moment=late, outcome="denied")
        result = simulated(cast, self.needs(cast, required_trust="high")).result

        assert (result["calls"], result["losses"], result["unknown"]) == (2, 1, 0)

    def test_the_record_says_that_the_conditions_fitted(self, cast, issued):
        row = self.given(cast, conditions={"networks": ["203.0.113.0/24"]})
        self.called(cast, issued, allowed=True, reason="allowed", grant_id=row.pk)
        result = simulated(cast, self.needs(cast, required_trust="high")).result

        assert (result["losses"], result["unknown"]) == (1, 0)

    def test_without_a_record_of_it_the_address_is_unknown(self, cast, issued):
        self.given(cast, conditions={"networks": ["203.0.113.0/24"]})
        self.called(cast, issued, allowed=True, reason="allowed", grant_id=uuid7())
        result = simulated(cast, self.needs(cast, required_trust="high")).result

        assert (result["losses"], result["unknown"], result["unknown_for"]) == (0, 1, {"address": 1})
        assert result["unjudged"][0]["hangs_on"] == ["address"]

    def test_a_condition_that_came_after_the_call_leaves_it_unknown(self, cast, issued):
        row = self.given(cast, max_trust="low")
        self.called(cast, issued, allowed=True, reason="allowed", grant_id=row.pk)
        text = FILE.replace("mcpruntime.org/v1alpha1", "mcp-marketplace/v1").replace("MCPAccessGrant", "AccessGrant")
        text += "  conditions: {networks: [203.0.113.0/24]}\n"
        result = simulated(cast, {"kind": "files", "text": text, "prune": True}).result

        assert (result.get("losses"), result.get("unknown_for")) == (0, {"address": 1})

    def test_whose_calls_would_wait_for_a_person_is_said(self, cast, issued):
        row = self.given(cast)
        self.called(cast, issued, allowed=True, reason="allowed", grant_id=row.pk)
        self.called(cast, issued, allowed=True, reason="allowed", grant_id=row.pk, approval_id=uuid7())
        result = simulated(cast, self.needs(cast, needs_approval=True)).result

        assert (result["waits"], result["losses"], result["gains"]) == (1, 0, 0)
        assert result["samples"][0]["after"] == "approval_required"

    def test_the_page_tells_which_calls_could_not_be_judged(self, alice, cast, issued):
        self.given(cast, conditions={"arguments": {"list_invoices": {"required": ["month"]}}})
        self.called(cast, issued, allowed=True, reason="allowed", grant_id=uuid7())
        row = simulated(cast, self.needs(cast, required_trust="high"))
        page = alice.get(f"{PLACE}simulate/{row.pk}/").content.decode()

        assert "Cannot be judged" in page
        assert "depends on its arguments" in page

    def test_pages_about_calls_that_nobody_made_say_what_is_not_certain(self, alice, cast, issued, asking):  # noqa: F811
        self.given(cast, conditions={"networks": ["203.0.113.0/24"]})
        who = f"key:{issued.key.pk}"
        pages = [
            alice.get(f"{PLACE}who/?server=payments&tool=list_invoices"),
            alice.get(f"{PLACE}can/?who={who}"),
            alice.get(f"{PLACE}?key={issued.key.pk}&server=payments&tool=list_invoices"),
        ]
        would = asking(cast.acme, Scope.ADMIN)(
            "/api/v1/access/explain/", server="payments", tool="list_invoices", who=who
        ).json()

        for page in pages:
            assert "epends on where the call comes from" in page.content.decode()
        assert (would["allowed"], would["hangs_on"]) == (False, ["address"])


class TestApi:
    def test_programs_ask_the_same(self, cast, issued, asking):  # noqa: F811
        ask = asking(cast.acme, Scope.ADMIN)
        who = f"key:{issued.key.pk}"
        would = ask("/api/v1/access/explain/", server="payments", tool="refund_invoice", who=who).json()
        can = {
            row["who"]: row["allowed"]
            for row in ask("/api/v1/access/who-can/", server="payments", tool="list_invoices").json()
        }
        tools = {row["tool"]: row["allowed"] for row in ask("/api/v1/access/what-can/", who=who).json()}

        assert (would["allowed"], would["reason"]) == (False, "side_effect_not_allowed")
        assert [step["outcome"] for step in would["steps"]][-2:] == ["failed", "skipped"]
        assert can[who] is True
        assert tools == {"list_invoices": True, "refund_invoice": False}
        assert would["hangs_on"] == []

    def test_a_simulation_by_the_api(self, cast, issued, history, asking, client):  # noqa: F811
        text = api_keys.issue(tenant=cast.acme, name="admin", scopes=["admin"], actor=None).text
        change = {"kind": "tool", "server": str(cast.payments.pk), "tool": "list_invoices", "required_trust": "high"}
        headers = {"authorization": f"Bearer {text}"}
        begun = client.post("/api/v1/access/simulations/", {"change": change}, "application/json", headers=headers)
        assert begun.status_code == 202, begun.content
        run_simulation(tenant_id=str(cast.acme.pk), simulation_id=begun.json()["id"])
        place = f"/api/v1/access/simulations/{begun.json()['id']}/"
        found = client.get(place, headers=headers).json()

        assert (found["state"], found["result"]["losses"]) == ("done", 2)
        assert asking(cast.globex, Scope.ADMIN)(place).status_code == 404

    @pytest.mark.parametrize(
        ("path", "query", "status"),
        [
            ("explain/", {}, 404), ("explain/", {"server": "payments"}, 400), ("who-can/", {"server": "vault"}, 400),
            ("what-can/", {"who": "key:x"}, 404), ("explain/", {"server": "payments", "tool": "x", "who": "me"}, 404),
        ],
    )  # fmt: skip
    def test_what_is_not_understood_is_refused(self, cast, asking, path, query, status):  # noqa: F811
        answer = asking(cast.acme, Scope.ADMIN)(f"/api/v1/access/{path}", **query)

        assert answer.status_code == status
        assert answer["content-type"] == "application/problem+json"

    def test_only_administrating_keys_ask(self, cast, asking):  # noqa: F811
        assert asking(cast.acme, Scope.INVOKE)("/api/v1/access/who-can/").status_code == 403


def test_every_server_is_visible_to_the_job_of_its_own_organisation_alone(cast):
    with tenant_scope(cast.globex):
        rows = visible_to(Viewer(tenant_id=cast.globex.pk, platform=True))
        of_the_cast = rows.filter(pk__in=[cast.payments.pk, cast.vault.pk])
        assert set(of_the_cast.values_list("slug", flat=True)) == {"payments"}
