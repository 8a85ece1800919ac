from __future__ import annotations

from uuid import UUID

from access import selectors
from access.services import grants
from access.services.grants import Subject
from access.types import PolicyMode, Reason
from gateway.services.entries import server_entries
from tenants.context import tenant_scope
from tenants.services import api_keys

PAGE = "/o/acme/access/explain/"


class TestPage:
    def test_it_says_what_would_be_allowed(self, alice, issued):
        page = alice.get(f"{PAGE}?key={issued.key.pk}&server=payments&tool=list_invoices").content.decode()

        assert "Would be allowed" in page

    def test_it_says_what_would_be_refused_why_and_what_to_do(self, alice, issued):
        page = alice.get(f"{PAGE}?key={issued.key.pk}&server=payments&tool=refund_invoice").content.decode()

        assert "Would be refused" in page
        assert "is destructive, and no grant of the caller allows that" in page
        assert f"subject=key%3A{issued.key.pk}" in page

    def test_trust_of_several_grants_together_has_a_line_of_its_own(self, alice, cast, issued):
        address = f"{PAGE}?key={issued.key.pk}&server=payments&tool=refund_invoice"
        assert "Together" not in alice.get(address).content.decode()
        with tenant_scope(cast.acme):
            for name, trust, asks in (("careful", "low", "high"), ("trusting", "high", "low")):
                grants.give(
                    tenant=cast.acme,
                    server=cast.payments,
                    subject=Subject.of("key", str(issued.key.pk)),
                    actor=cast.alice,
                    name=name,
                    max_trust=trust,
                    side_effects=["destructive"],
                    tool_rules=[{"name": "refund_invoice", "decision": "allow", "required_trust": asks}],
                )
        page = " ".join(alice.get(address).content.decode().split())

        assert "Would be allowed" in page
        assert '<span class="mono">careful</span> gives low' in page
        assert '<span class="mono">trusting</span> gives high' in page

    def test_a_member_learns_whom_to_ask(self, bob, issued):
        page = bob.get(f"{PAGE}?key={issued.key.pk}&server=payments&tool=refund_invoice").content.decode()

        assert "Ask alice@acme.example" in page
        assert "/access/new/" not in page

    def test_odd_addresses_do_not_break_it(self, alice, issued):
        for query in ("?key=x&server=nowhere&tool=%00", f"?key={UUID(int=1)}", "?server=vault&tool=refund_invoice"):
            assert alice.get(PAGE + query).status_code == 200

    def test_without_a_key_there_is_nothing_to_explain(self, alice, cast):
        assert "no key to explain" in alice.get(PAGE).content.decode()

    def test_a_key_of_another_organisation_is_not_known(self, charlie, cast, issued):
        page = charlie.get(f"/o/globex/access/explain/?key={issued.key.pk}&server=payments").content.decode()

        assert "Invoices" not in page
        assert "Would be" not in page


class TestExplainCall:
    """What the gateway checks before the engine comes first here too."""

    def explain(self, cast, key, server, method="tools/call", tool="list_invoices"):
        with tenant_scope(cast.acme):
            key.refresh_from_db()
            return selectors.explain_call(key, server, method, tool)

    def test_a_revoked_key_is_nobody(self, cast, issued):
        api_keys.revoke(tenant=cast.acme, key_id=issued.key.pk, actor=cast.alice)

        assert self.explain(cast, issued.key, cast.payments).reason is Reason.MISSING_IDENTITY

    def test_a_key_limited_to_other_servers_is_refused(self, cast, issued):
        assert self.explain(cast, issued.key, cast.vault).reason is Reason.SERVER_NOT_IN_KEY

    def test_a_server_with_its_gateway_switched_off_is_not_ready(self, cast, issued):
        cast.payments.gateway_enabled = False

        assert self.explain(cast, issued.key, cast.payments).reason is Reason.SERVER_NOT_READY

    def test_a_key_without_the_scope_may_not_call(self, cast):
        issued = api_keys.issue(tenant=cast.acme, name="Reader", scopes=["catalog:read"], actor=cast.alice)

        assert self.explain(cast, issued.key, cast.payments).reason is Reason.SCOPE_MISSING

    def test_a_live_grant_opens_the_list_of_tools(self, cast, issued):
        decision = self.explain(cast, issued.key, cast.payments, "tools/list", "")

        assert decision.allowed
        assert decision.steps

    def test_the_policy_is_the_one_that_gateways_hold(self, cast):
        [entry] = server_entries(server_id=cast.payments.pk)

        assert selectors.compile_policy(cast.payments) == entry.policy

    def test_a_server_of_others_that_only_observes_still_needs_a_grant_here(self, cast):
        key = api_keys.issue(tenant=cast.acme, name="Bare", scopes=["invoke"], actor=cast.bob).key
        cast.payments.policy_mode = cast.vault.policy_mode = PolicyMode.OBSERVE

        assert self.explain(cast, key, cast.payments).reason is Reason.NO_MATCHING_GRANT
        assert self.explain(cast, key, cast.vault).reason is Reason.OBSERVED
