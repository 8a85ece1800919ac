from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from access.models import PlaygroundRun
from access.services import playground
from access.services.connect import connect
from core import clock, tokens
from core.errors import ForbiddenError, InvalidError, LimitReachedError, NotFoundError
from tenants.choices import Role, Scope
from tenants.context import tenant_scope
from tenants.models import Consent, Membership
from tenants.services import acting, api_keys, signing

TOOL = "/o/acme/playground/servers/payments/"
SECRET = "swordfish-and-more"


def browser_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice(cast):
    return browser_of(cast.alice)


@pytest.fixture
def bob(cast):
    return browser_of(cast.bob)


@pytest.fixture
def issued(cast):
    with tenant_scope(cast.acme):
        return connect(
            tenant=cast.acme,
            name="Invoices",
            scopes=[Scope.INVOKE],
            servers=[cast.payments],
            actor=cast.alice,
            agent="clerk",
        )


@pytest.fixture
def run(cast):
    """A finished run of alice, with a secret among its arguments that the answer repeats."""
    arguments = {"status": "open", "password": SECRET}
    answer = {"jsonrpc": "2.0", "id": "1", "result": {"content": [{"type": "text", "text": f"seen {SECRET}"}]}}
    exchange = {"status": 200, "headers": [], "body": "", "messages": [answer], "total_ms": 12.0}
    with tenant_scope(cast.acme):
        begun = playground.begin(
            tenant=cast.acme, user=cast.alice, server=cast.payments, tool="list_invoices", key=None, arguments=arguments
        )
        playground.finish(cast.acme, begun.pk, state="done", outcome="ok", call_id=None, exchange=exchange)
        begun.refresh_from_db()
        yield begun


def membership(cast, user):
    return Membership.objects.select_related("tenant", "user").get(tenant=cast.acme, user=user)


class TestChoosing:
    def test_a_search_finds_servers_by_their_tools(self, alice, cast):
        page = alice.get("/o/acme/playground/?q=refund").content.decode()

        assert "Payments" in page
        assert "refund_invoice" in page
        assert "Vault" not in page

    def test_the_form_comes_with_price_decision_and_grant(self, alice, issued):
        page = alice.get(f"{TOOL}?tool=list_invoices").content.decode()

        assert 'name="f:/status"' in page
        assert "0.02" in page
        assert "Would be allowed" in page
        assert "Key Invoices, agent clerk" in page

    def test_what_would_be_refused_is_said_before(self, alice, issued):
        page = alice.get(f"{TOOL}?tool=refund_invoice&as={issued.key.pk}").content.decode()

        assert "Would be refused" in page
        assert "Give access" in page

    def test_unknown_tools_and_servers_are_not_there(self, alice, cast):
        assert alice.get(f"{TOOL}?tool=none").status_code == 404
        assert alice.get("/o/acme/playground/servers/none/").status_code == 404


class TestForms:
    def test_missing_arguments_are_asked_for_and_nothing_is_run(self, alice, issued):
        page = alice.post(
            TOOL, {"tool": "refund_invoice", "act": "run-form", "f:/amount": "x", "as": str(issued.key.pk)}
        )

        assert page.status_code == 422
        assert "Fill this in" in page.content.decode()
        assert "Enter a number" in page.content.decode()

    def test_json_that_does_not_fit_is_refused(self, alice, issued):
        page = alice.post(TOOL, {"tool": "refund_invoice", "act": "run-json", "json": '{"invoice_id": 1}'})

        assert page.status_code == 422
        assert "/invoice_id: This must be text." in page.content.decode()

    def test_what_changes_things_must_be_confirmed(self, alice, cast, issued):
        page = alice.post(TOOL, {"tool": "refund_invoice", "act": "run-form", "f:/invoice_id": "INV-1", "as": "me"})

        assert page.status_code == 422
        assert "Confirm that you want to run refund_invoice" in page.content.decode()
        with tenant_scope(cast.acme):
            assert not PlaygroundRun.objects.exists()

    def test_a_key_of_somebody_else_is_no_way_round(self, bob, cast, issued):
        page = bob.post(TOOL, {"tool": "list_invoices", "act": "run-form", "as": str(issued.key.pk)})

        assert "You cannot run it as that key" in page.content.decode()
        with tenant_scope(cast.acme):
            assert not PlaygroundRun.objects.exists()

    def test_an_auditor_runs_nothing(self, cast, bob):
        Membership.objects.filter(user=cast.bob).update(role=Role.AUDITOR)

        assert bob.get(TOOL).status_code == 403
        assert bob.post(TOOL, {"tool": "list_invoices", "act": "run-form"}).status_code == 403


class TestTokens:
    def read(self, text):
        return tokens.read(text, signing.public_key, issuer="http://127.0.0.1:8000", now=clock.now())

    def test_a_token_of_a_key_stands_for_that_key_at_one_server(self, cast, issued, settings):
        settings.PUBLIC_URL = "http://127.0.0.1:8000"
        token = self.read(acting.token_of_key(membership(cast, cast.alice), issued.key.pk, "payments", "198.51.100.7"))

        assert (token.key_id, token.client_id) == (issued.key.key_id, "")
        assert token.audiences == ("http://127.0.0.1:8000/mcp/payments",)
        assert token.expires_at - clock.now() < timedelta(minutes=6)
        assert token.address == "198.51.100.7"

    def test_only_the_maker_of_a_key_acts_as_it(self, cast, issued):
        with pytest.raises(ForbiddenError):
            acting.token_of_key(membership(cast, cast.bob), issued.key.pk, "payments", "198.51.100.7")

    @pytest.mark.parametrize(
        "terms",
        [
            {"networks": ["10.0.0.0/8"]},
            {"scopes": [Scope.CATALOG_READ]},
            {"expires_at": "soon"},
        ],
    )
    def test_keys_that_could_not_call_from_here_are_not_offered(self, cast, terms):
        given = {"scopes": [Scope.INVOKE]} | terms
        if "expires_at" in given:
            given["expires_at"] = clock.now() + timedelta(seconds=60)
        key = api_keys.issue(tenant=cast.acme, name="Odd", actor=cast.alice, **given).key
        if "expires_at" in given:
            type(key).objects.filter(pk=key.pk).update(expires_at=clock.now() - timedelta(seconds=1))

        assert key not in acting.own_keys(membership(cast, cast.alice))

    def test_a_person_acts_by_one_consent_that_they_can_take_back(self, cast, settings):
        settings.PUBLIC_URL = "http://127.0.0.1:8000"
        tokens_ = [self.read(acting.token_of_person(membership(cast, cast.bob), "payments", "")) for _ in range(2)]
        [consent] = Consent.objects.filter(user=cast.bob)

        assert {token.key_id for token in tokens_} == {consent.key_id}
        assert (consent.tenant_id, consent.kind, consent.scopes) == (cast.acme.pk, "person", ["invoke"])
        assert "Playground" in browser_of(cast.bob).get("/accounts/applications/").content.decode()

    def test_nobody_can_sign_in_with_the_client_of_the_playground(self, cast, client):
        acting.token_of_person(membership(cast, cast.bob), "payments", "")
        answer = client.post("/oauth/token", {"grant_type": "client_credentials", "client_id": acting.CLIENT_ID})

        assert answer.status_code in {400, 401}


class TestRuns:
    def test_the_person_sees_result_arguments_and_code(self, alice, run):
        page = alice.get(f"/o/acme/playground/runs/{run.pk}/").content.decode()

        assert f"seen {SECRET}" in page
        assert "urllib.request" in page

    def test_nobody_else_sees_it_until_it_is_shared(self, bob, run):
        assert bob.get(f"/o/acme/playground/runs/{run.pk}/").status_code == 404

    def test_shared_it_shows_without_secrets(self, alice, bob, run):
        sent = {"name": "Open ones", "days": "30", "shared": "1", "shows": "masked", "shows_result": "1"}
        alice.post(f"/o/acme/playground/runs/{run.pk}/keep/", sent)
        page = bob.get(f"/o/acme/playground/runs/{run.pk}/").content.decode()

        assert "Open ones" in page
        assert "seen ••••••" in page
        assert SECRET not in page
        assert SECRET not in bob.get(f"{TOOL}?tool=list_invoices&run={run.pk}").content.decode()
        assert bob.post(f"/o/acme/playground/runs/{run.pk}/remove/").status_code == 404

    def test_the_owner_may_show_all_or_nothing(self, alice, bob, run):
        place = f"/o/acme/playground/runs/{run.pk}/"
        alice.post(f"{place}keep/", {"name": "x", "days": "7", "shared": "1", "shows": "all", "shows_result": "1"})
        assert SECRET in bob.get(place).content.decode()
        alice.post(f"{place}keep/", {"name": "x", "days": "7", "shared": "1", "shows": "nothing"})
        page = bob.get(place).content.decode()

        assert "does not show the result" in page
        assert "open" not in page.partition("<main")[2].partition("Arguments</h3>")[2]

    def test_of_a_server_that_a_colleague_may_not_know_a_shared_run_is_not_there(self, alice, bob, cast, run):
        alice.post(f"/o/acme/playground/runs/{run.pk}/keep/", {"name": "x", "days": "7", "shared": "1", "shows": "all"})
        with tenant_scope(cast.acme):
            PlaygroundRun.objects.filter(pk=run.pk).update(server_id=cast.acme.pk)

        assert bob.get(f"/o/acme/playground/runs/{run.pk}/").status_code == 404
        assert "x</a>" not in bob.get("/o/acme/playground/").content.decode()

    def test_its_form_can_be_opened_again_filled_in(self, alice, run):
        page = alice.get(f"{TOOL}?tool=list_invoices&run={run.pk}").content.decode()

        assert SECRET in page, "a member that the schema does not name is kept in the JSON"

    def test_content_lies_sealed(self, run):
        assert SECRET.encode() not in bytes(run.content)

    def test_its_time_ends(self, alice, cast, run):
        with tenant_scope(cast.acme):
            PlaygroundRun.objects.filter(pk=run.pk).update(expires_at=clock.now())

        assert alice.get(f"/o/acme/playground/runs/{run.pk}/").status_code == 404
        with tenant_scope(cast.acme):
            assert playground.clear_over() == 1

    def test_removing_is_for_its_owner(self, alice, cast, run):
        alice.post(f"/o/acme/playground/runs/{run.pk}/remove/")

        with tenant_scope(cast.acme):
            assert not PlaygroundRun.objects.filter(pk=run.pk).exists()

    def test_sharing_needs_a_name(self, run):
        with pytest.raises(InvalidError):
            playground.keep(run, name=" ", days=7, shared=True, shows="masked", shows_result=True)

    def test_a_person_has_few_under_way_at_once(self, cast):
        with tenant_scope(cast.acme):
            begin = {
                "tenant": cast.acme,
                "user": cast.alice,
                "server": cast.payments,
                "tool": "x",
                "key": None,
                "arguments": {},
            }
            for _ in range(playground.RUNNING_MAX):
                last = playground.begin(**begin)
            with pytest.raises(LimitReachedError):
                playground.begin(**begin)
            PlaygroundRun.objects.filter(pk=last.pk).update(created_at=clock.now() - timedelta(hours=1))
            assert PlaygroundRun.objects.get(pk=last.pk).is_interrupted
            playground.begin(**begin)

    def test_cancelling_is_told_to_whoever_runs_it(self, cast):
        with tenant_scope(cast.acme):
            begun = playground.begin(
                tenant=cast.acme, user=cast.alice, server=cast.payments, tool="x", key=None, arguments={}
            )
            assert not playground.is_cancelled(begun.pk)
            playground.cancel(begun)
            assert playground.is_cancelled(begun.pk)
            with pytest.raises(NotFoundError):
                playground.own(begun.pk, cast.bob)
