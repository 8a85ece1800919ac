"""Pages of sessions and policies, and what is new about grants, as people of acme see them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from access.models import AgentSession, Grant
from access.services import grants, sessions
from access.services.grants import Subject
from audit.models import AuditEvent
from catalog.models import Server
from catalog.policies import PolicySettings
from core import clock
from core.errors import ConflictError, InvalidError, MarketplaceError
from gateway.services.entries import tenant_entry
from tenants.context import tenant_scope
from tenants.models import APIKey


def url(name: str, *args: object) -> str:
    return reverse(f"org:{name}", args=["acme", *args])


class TestSessions:
    def test_a_session_is_opened_seen_and_revoked(self, cast, alice):
        page = f"{url('session-create')}?server={cast.payments.slug}"
        response = alice.post(page, {"agent": "bot", "consented_trust": "medium", "life": "8", "name": "morning"})

        assert response.status_code == 302
        with tenant_scope(cast.acme):
            session = AgentSession.objects.get(name="morning")
            assert (session.subject_agent, session.consented_trust, session.state) == ("bot", "medium", "active")
            assert AuditEvent.objects.filter(action="access:session:issued").count() == 1
        assert "morning" in alice.get(url("sessions")).content.decode()
        assert alice.post(url("session-revoke", session.pk)).status_code == 302
        with tenant_scope(cast.acme):
            session.refresh_from_db()
            assert session.state == "revoked"
            assert AuditEvent.objects.filter(action="access:session:revoked").count() == 1

    def test_a_member_sees_them_and_opens_none(self, cast, bob):
        assert bob.get(url("sessions")).status_code == 200
        assert bob.get(f"{url('session-create')}?server={cast.payments.slug}").status_code == 403

    def test_a_name_is_free_again_when_its_session_has_ended(self, cast):
        with tenant_scope(cast.acme):
            terms = {"tenant": cast.acme, "server": cast.payments, "actor": cast.alice, "name": "one"}
            first = sessions.issue(subject=Subject.of("agent", "bot"), **terms)
            with pytest.raises(ConflictError):
                sessions.issue(subject=Subject.of("agent", "bot"), **terms)
            AgentSession.objects.filter(pk=first.pk).update(expires_at=clock.now() - timedelta(seconds=1))
            second = sessions.issue(subject=Subject.of("agent", "bot"), **terms)
            with pytest.raises(ConflictError):
                sessions.unrevoke(tenant=cast.acme, session_id=first.pk, actor=cast.alice)
            sessions.revoke(tenant=cast.acme, session_id=second.pk, actor=cast.alice)
            assert sessions.unrevoke(tenant=cast.acme, session_id=first.pk, actor=cast.alice).revoked_at is None

    @pytest.mark.parametrize("subject", [Subject(), Subject(key="k"), Subject(everyone=True), Subject(agent="a" * 201)])
    def test_it_is_of_a_user_an_agent_or_a_team(self, cast, subject):
        with tenant_scope(cast.acme), pytest.raises(InvalidError):
            sessions.issue(tenant=cast.acme, server=cast.payments, subject=subject, actor=cast.alice)


class TestPolicyPage:
    def test_its_owner_changes_a_policy_and_the_document_says_so(self, cast, alice):
        server = cast.vault
        page = url("server-policy", server.slug)
        before = alice.get(page).context["document"]["revision"]
        data = {
            "mode": "allow-list",
            "default_decision": "deny",
            "enforce_on": "call_tool",
            "session_required": "on",
            "session_header": "X-Our-Session",
            "session_max_lifetime_s": "7200",
            "session_idle_timeout_s": "600",
            "policy_version": "v2",
            "compat": "strict",
        }
        assert alice.post(page, data).status_code == 302
        with tenant_scope(cast.acme):
            settings = PolicySettings.of(Server.objects.get(pk=server.pk))
        assert (settings.session_required, settings.session_header, settings.policy_version) == (
            True,
            "X-Our-Session",
            "v2",
        )
        after = alice.get(page).context
        assert after["document"]["session"]["max_lifetime"] == "2h"
        assert after["document"]["revision"] != before
        assert after["problem"] == ""

    def test_a_header_that_other_requests_carry_is_refused(self, cast, alice):
        server = cast.vault
        form = alice.get(url("server-policy", server.slug)).context["form"]
        response = alice.post(url("server-policy", server.slug), form.initial | {"session_header": "X-Request-Id"})

        assert "session_header" in response.context["form"].errors

    def test_whoever_only_uses_the_server_reads_its_policy(self, cast, alice):
        page = url("server-policy", cast.payments.slug)

        assert alice.get(page).context["form"] is None
        assert alice.get(url("policies")).status_code == 200


class TestGrants:
    def give(self, cast, **changes) -> Grant:
        terms = {"server": cast.payments, "subject": Subject.of("agent", "bot"), "actor": cast.alice, "name": "one"}
        return grants.give(tenant=cast.acme, **(terms | changes))

    def test_a_change_is_a_successor_of_the_same_name(self, cast):
        with tenant_scope(cast.acme):
            old = self.give(cast, max_trust="low", tools=["list_invoices"])
            server = cast.payments
            made = grants.replace(tenant=cast.acme, grant_id=old.pk, server=server, actor=cast.alice, max_trust="high")
            old.refresh_from_db()

            assert (old.state, old.replaced_by, made.name, made.max_trust) == ("revoked", made.pk, "one", "high")
            assert made.tools == ["list_invoices"]
            with pytest.raises(ConflictError):
                grants.replace(tenant=cast.acme, grant_id=old.pk, server=server, actor=cast.alice, max_trust="low")

    def test_a_failed_change_leaves_what_was(self, cast):
        with tenant_scope(cast.acme):
            old = self.give(cast)
            with pytest.raises(InvalidError):
                grants.replace(
                    tenant=cast.acme, grant_id=old.pk, server=cast.payments, actor=cast.alice, max_trust="total"
                )
            old.refresh_from_db()
            assert old.state == "active"

    def test_two_live_grants_of_one_namespace_have_two_names(self, cast):
        with tenant_scope(cast.acme):
            self.give(cast)
            with pytest.raises(ConflictError):
                self.give(cast)
            self.give(cast, namespace="elsewhere")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"subject": Subject()},
            {"subject": Subject(agent="bot", everyone=True)},
            {"name": "No Name"},
            {"namespace": "-"},
            {"side_effects": []},
            {"tool_rules": [{"name": "list_invoices", "decision": "perhaps"}]},
            {"tool_rules": [{"name": "list_invoices"}, {"name": "list_invoices"}]},
            {"tool_rules": [{"name": "no_such_tool"}]},
            {"conditions": {"weather": "fine"}},
        ],
    )
    def test_what_means_nothing_is_refused(self, cast, wrong):
        with tenant_scope(cast.acme), pytest.raises(MarketplaceError):
            self.give(cast, **wrong)
        with tenant_scope(cast.acme):
            assert not Grant.objects.filter(name="one").exists()

    def test_it_is_switched_off_and_on_on_its_page(self, cast, alice):
        with tenant_scope(cast.acme):
            grant = self.give(cast)
        for to, state in (("off", "disabled"), ("on", "active")):
            assert alice.post(url("grant-switch", grant.pk), {"to": to}).status_code == 302
            with tenant_scope(cast.acme):
                grant.refresh_from_db()
                assert grant.state == state
        assert "Switch off" in alice.get(url("access")).content.decode()

    def test_the_form_takes_denied_tools_conditions_and_a_name(self, cast, alice):
        page = f"{url('grant-create')}?server={cast.payments.slug}"
        data = {
            "subject": "organisation:",
            "side_effects": ["read"],
            "max_trust": "low",
            "expiry": "30",
            "denied": ["refund_invoice"],
            "conditions": '{"environments": ["production"]}',
            "name": "all-readers",
        }
        assert alice.post(page, data).status_code == 302
        with tenant_scope(cast.acme):
            grant = Grant.objects.get(name="all-readers")
        assert (grant.for_everyone, grant.denied_tools) == (True, ["refund_invoice"])
        assert grant.conditions == {"environments": ["production"]}
        refused = alice.post(page, data | {"conditions": '{"weather": 1}', "name": "other"})
        assert "conditions" in refused.context["form"].errors


class TestEnvironments:
    def test_a_key_says_what_it_is_for_and_gateways_know_it(self, cast, alice):
        data = {
            "name": "Nightly",
            "servers": [str(cast.payments.pk)],
            "level": "read",
            "only_these": "on",
            "kind": "key",
            "lists": "all",
            "expiry": "90",
            "scopes": ["invoke"],
            "environment": "production",
            "once": "0" * 32,
        }
        assert alice.post(url("key-create"), data).status_code == 200
        key = APIKey.objects.get(name="Nightly")
        entry = tenant_entry(cast.acme.pk)
        assert entry is not None
        assert entry.keys[key.key_id].environment == key.environment == "production"
        refused = alice.post(url("key-create"), data | {"environment": "Pro duction", "once": "1" * 32})
        assert "environment" in refused.context["form"].errors
