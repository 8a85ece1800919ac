"""An organisation's access as files: what a plan says, what applying it does, and that nothing else ever happens."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from access.filing import apply, plan, rows
from access.filing.directory import Directory
from access.formats import files, manifests
from access.formats.files import Found
from access.models import AgentSession, Grant
from access.services import grants, sessions
from access.services.grants import Subject
from audit.models import AuditEvent
from catalog.models import Server
from catalog.policies import PolicySettings
from core import clock
from core.errors import ConflictError, InvalidError
from tenants.choices import Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership
from tenants.services import api_keys, teams
from tests.support.cast import make_server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_given")]
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "mcp-runtime"


def grant(name: str = "ops", **spec: Any) -> dict[str, Any]:
    spec = {
        "serverRef": {"name": "payments"},
        "subject": {"humanID": "bob@acme.example", "agentID": "ops"},
        "maxTrust": "high",
        "allowedSideEffects": ["read"],
    } | spec
    return {
        "apiVersion": manifests.API_VERSION,
        "kind": "MCPAccessGrant",
        "metadata": {"name": name},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def session(name: str = "sess", **spec: Any) -> dict[str, Any]:
    spec = {"serverRef": {"name": "payments"}, "subject": {"agentID": "ops"}, "consentedTrust": "medium"} | spec
    return {
        "apiVersion": manifests.API_VERSION,
        "kind": "MCPAgentSession",
        "metadata": {"name": name},
        "spec": spec,
    }


def policy(server: str = "vault", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": manifests.OWN_VERSION, "kind": "ServerPolicy", "metadata": {"name": server}, "spec": spec}


def read(*documents: dict[str, Any]) -> Found:
    return files.read_files([("access.yaml", yaml.safe_dump_all(documents).encode())])


def carry_out(cast, found: Found, *, prune: bool = False):
    with tenant_scope(cast.acme):
        wanted = plan.make(cast.acme, found, prune=prune)
        assert wanted.problems == ()
        return apply.apply(tenant=cast.acme, found=found, digest=wanted.digest, actor=cast.alice, prune=prune)


def planned(cast, found: Found, *, prune: bool = False):
    with tenant_scope(cast.acme):
        return plan.make(cast.acme, found, prune=prune)


def export(tenant) -> str:
    with tenant_scope(tenant):
        directory = Directory(tenant)
        return files.write_files(rows.all_grants(directory), rows.all_sessions(directory), rows.all_policies(directory))


class TestPlan:
    def test_it_says_what_would_change_and_changes_nothing(self, cast):
        found = planned(cast, read(grant(), session(), policy(mode="observe")))

        assert [(change.kind, change.action, change.name) for change in found.changes] == [
            ("policy", "update", "vault"),
            ("grant", "create", "ops"),
            ("session", "create", "sess"),
        ]
        assert found.changes[0].fields == ("mode",)
        with tenant_scope(cast.acme):
            assert not Grant.objects.filter(name="ops").exists()

    def test_after_it_was_applied_there_is_nothing_to_do(self, cast):
        found = read(grant(), session(), policy(mode="observe"))
        carry_out(cast, found)
        again = planned(cast, found)

        assert again.is_empty
        assert again.counts == {"unchanged": 3}

    def test_what_differs_is_named_and_replaced_under_the_same_name(self, cast):
        carry_out(cast, read(grant()))
        found = planned(cast, read(grant(maxTrust="low", toolRules=[{"name": "list_invoices", "decision": "deny"}])))

        (change,) = found.changes
        assert (change.action, change.fields) == ("replace", ("max_trust", "tool_rules"))
        assert change.before is not None
        assert change.before["spec"]["maxTrust"] == "high"

    def test_what_files_do_not_name_stays_unless_they_are_all_there_is(self, cast):
        carry_out(cast, read(grant("a"), grant("b"), session()))

        assert planned(cast, read(grant("a"))).counts == {"unchanged": 1}
        assert planned(cast, read(grant("a")), prune=True).counts == {"revoke": 2, "unchanged": 1}

    @pytest.mark.parametrize(
        ("document", "where", "reason"),
        [
            (grant(serverRef={"name": "nowhere"}), "spec.serverRef.name", "no server 'nowhere'"),
            (grant(subject={}), "spec.subject", "for nobody"),
            (session(expiresAt="2020-01-01T00:00:00Z"), "spec.expiresAt", "ended already"),
        ],
        ids=["server", "subject", "end"],
    )
    def test_what_cannot_be_taken_is_said_with_its_file_and_field(self, cast, document, where, reason):
        (problem,) = planned(cast, read(document)).problems

        assert (problem.file, problem.field) == ("access.yaml", where)
        assert reason in problem.reason

    def test_a_server_that_only_another_organisation_may_see_is_not_there(self, cast):
        with platform_scope():
            make_server(cast.globex, "secret", "Secret", visibility="org")
        (problem,) = planned(cast, read(grant(serverRef={"name": "secret"}))).problems

        assert "no server 'secret'" in problem.reason

    def test_a_policy_is_its_owners_to_set(self, cast):
        (change,) = planned(cast, read(policy("payments", mode="observe"))).changes

        assert change.action == "elsewhere"

    def test_lints_come_with_it(self, cast):
        found = planned(cast, read(grant(allowedSideEffects=None)))

        assert [lint.code for lint in found.lints] == ["no_side_effect"]
        assert found.problems == ()

    def test_a_grant_on_a_team_s_server_is_the_team_s(self, cast):
        with tenant_scope(cast.acme):
            actor = Membership.objects.get(tenant=cast.acme, user=cast.alice)
            team = teams.create(actor=actor, name="Core")
        with platform_scope():
            Server.objects.filter(pk=cast.vault.pk).update(owner_team=team)
        (change,) = planned(cast, read(grant(serverRef={"name": "vault"}, subject={"agentID": "ops"}))).changes

        assert change.after is not None
        assert change.after["spec"]["subject"] == {"agentID": "ops", "teamID": "core"}


class TestApply:
    def test_people_teams_and_keys_are_found_by_their_names(self, cast):
        with tenant_scope(cast.acme):
            actor = Membership.objects.get(tenant=cast.acme, user=cast.alice)
            team = teams.create(actor=actor, name="Core")
            key = api_keys.issue(tenant=cast.acme, name="k", scopes=[Scope.INVOKE], actor=cast.alice).key
        own = grant(subject={"humanID": "Bob@acme.example", "teamID": "core", "keyID": key.key_id})
        carry_out(cast, read(own | {"apiVersion": manifests.OWN_VERSION, "kind": "AccessGrant"}))

        with tenant_scope(cast.acme):
            row = Grant.objects.get(name="ops")
            assert (row.subject_user, row.subject_team, row.subject_key) == (
                str(cast.bob.pk),
                str(team.pk),
                str(key.pk),
            )
            assert (row.origin, row.namespace) == ("import", "acme")

    def test_a_change_revokes_and_gives_anew(self, cast):
        carry_out(cast, read(grant()))
        carry_out(cast, read(grant(maxTrust="low")))

        with tenant_scope(cast.acme):
            old, new = Grant.objects.filter(name="ops").order_by("created_at")
            assert old.revoked_at is not None
            assert old.replaced_by == new.pk
            assert (new.max_trust, new.revoked_at) == ("low", None)

    def test_what_is_not_named_is_revoked_when_asked(self, cast):
        carry_out(cast, read(grant("a"), grant("b"), session()))
        carry_out(cast, read(grant("a")), prune=True)

        with tenant_scope(cast.acme):
            assert set(rows.live_grants().values_list("name", flat=True)) == {"a"}
            assert not rows.live_sessions().exists()

    def test_a_policy_is_set_and_the_rest_of_it_stays(self, cast):
        carry_out(cast, read(policy(session={"required": True, "maxLifetime": "2h"}, authMode="header")))

        with tenant_scope(cast.acme):
            server = Server.objects.get(pk=cast.vault.pk)
            settings = PolicySettings.of(server)
            assert (settings.session_required, settings.session_max_lifetime_s) == (True, 7_200)
            assert settings.default_decision == "deny"
            assert server.identity_headers
            assert server.revision > cast.vault.revision

    def test_a_plan_of_another_state_is_refused(self, cast):
        found = read(grant())
        digest = planned(cast, found).digest
        with tenant_scope(cast.acme):
            grants.give(
                tenant=cast.acme, server=cast.payments, subject=Subject(agent="x"), actor=cast.alice, name="ops"
            )
            with pytest.raises(ConflictError) as refused:
                apply.apply(tenant=cast.acme, found=found, digest=digest, actor=cast.alice)

            assert refused.value.error_code == "access.plan_stale"
            assert Grant.objects.get(name="ops").subject_agent == "x"

    def test_a_plan_made_for_leaving_things_is_none_for_ending_them(self, cast):
        carry_out(cast, read(grant("a")))
        found = read(grant("b"))
        digest = planned(cast, found).digest
        with tenant_scope(cast.acme), pytest.raises(ConflictError):
            apply.apply(tenant=cast.acme, found=found, digest=digest, actor=cast.alice, prune=True)

    def test_with_one_bad_entry_nothing_happens(self, cast):
        found = read(grant("a"), grant("b", serverRef={"name": "nowhere"}))
        with tenant_scope(cast.acme):
            digest = plan.make(cast.acme, found).digest
            with pytest.raises(InvalidError, match="nowhere"):
                apply.apply(tenant=cast.acme, found=found, digest=digest, actor=cast.alice)

            assert not Grant.objects.filter(name="a").exists()

    def test_it_is_in_the_audit_log_as_one_thing_beside_what_it_did(self, cast):
        done = carry_out(cast, read(grant(), session()))

        with tenant_scope(cast.acme):
            event = AuditEvent.objects.get(action="access:files:applied")
            assert event.data["digest"] == done.digest
            assert event.data["create"] == 2
            assert AuditEvent.objects.filter(action="access:grant:given").exists()

    def test_a_session_that_the_file_revokes_is_revoked(self, cast):
        carry_out(cast, read(session()))
        carry_out(cast, read(session(revoked=True)))

        with tenant_scope(cast.acme):
            assert AgentSession.objects.get(name="sess").revoked_at is not None
        assert planned(cast, read(session(revoked=True))).is_empty


class TestExport:
    def test_what_is_exported_changes_nothing_when_it_comes_back(self, cast):
        with tenant_scope(cast.acme):
            grants.give(
                tenant=cast.acme,
                server=cast.payments,
                subject=Subject(everyone=True),
                actor=cast.alice,
                tool_rules=[{"name": "refund_invoice", "decision": "deny"}, {"name": "list_invoices"}],
                conditions={"networks": ["10.0.0.0/8"]},
                expires_at=clock.now() + timedelta(days=3),
            )
            off = grants.give(tenant=cast.acme, server=cast.vault, subject=Subject(user=str(cast.bob.pk)), actor=None)
            grants.disable(tenant=cast.acme, grant_id=off.pk, actor=cast.alice)
            sessions.issue(
                tenant=cast.acme,
                server=cast.payments,
                subject=Subject(user=str(cast.bob.pk), agent="ops"),
                actor=cast.alice,
                idle_timeout_s=90,
            )
        text = export(cast.acme)
        found = files.read_files([("access.yaml", text.encode())])
        again = planned(cast, found, prune=True)

        assert again.problems == ()
        assert again.is_empty
        assert set(again.counts) == {"unchanged"}
        assert export(cast.acme) == text
        assert "bob@acme.example" in text

    def test_after_everything_is_lost_the_files_bring_it_back(self, cast):
        carry_out(cast, read(grant(), session(expiresAt="2040-01-01T00:00:00Z"), policy(mode="observe")))
        text = export(cast.acme)
        carry_out(cast, Found(), prune=True)
        carry_out(cast, read(policy(mode="allow-list")))
        carry_out(cast, files.read_files([("access.yaml", text.encode())]))

        assert export(cast.acme) == text

    def test_nothing_of_another_organisation_is_in_it(self, cast):
        with tenant_scope(cast.globex):
            grants.give(tenant=cast.globex, server=cast.payments, subject=Subject(agent="globexbot"), actor=None)

        assert "globexbot" not in export(cast.acme)


class TestSharedFiles:
    def test_the_example_deployment_is_taken_as_it_is(self, cast):
        if not SHARED.is_dir():
            pytest.skip("The shared data is not beside the project.")
        found = files.read_files((path.name, path.read_bytes()) for path in sorted(SHARED.rglob("*.yaml")))
        with platform_scope():
            for each in found.servers:
                tools = [{"name": tool.name, "annotations": {"readOnlyHint": True}} for tool in each.tools]
                if not Server.objects.filter(slug=each.name).exists():
                    make_server(cast.acme, each.name, each.name, visibility="org", tools=tools)
        done = carry_out(cast, found)

        assert (done.counts["create"], done.counts["update"]) == (2, 2)
        with tenant_scope(cast.acme):
            row = Grant.objects.get(name="governed-agent-demo-grant", namespace="mcp-servers")
            assert (row.subject_user, row.subject_agent, row.side_effects) == (
                "support-lead",
                "ticket-triage-agent",
                [],
            )
            server = Server.objects.get(slug="governed-agent-demo-mcp")
            assert PolicySettings.of(server).session_required
            assert server.identity_headers
        assert planned(cast, found).is_empty
