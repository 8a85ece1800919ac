from __future__ import annotations

import json
import re
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from access.models import Grant
from access.selectors import tools_of_key
from access.services.connect import connect
from audit.models import AuditEvent
from catalog.models import Server
from core import keys
from core.ids import uuid7
from gateway.services.entries import tenant_entry
from tenants.context import tenant_scope
from tenants.models import APIKey, Consent
from tests.support.cast import PAYMENTS_TOOLS
from tests.support.signing import ec_pair

LIST, NEW = "/o/acme/keys/", "/o/acme/keys/new/"
TEXT = re.compile(r"mk_test_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")


def form(cast, **changes):
    return {
        "name": "Invoices",
        "servers": [str(cast.payments.pk)],
        "level": "read",
        "only_these": "on",
        "agent": "clerk",
        "expiry": "90",
        "scopes": ["invoke"],
        "once": uuid7().hex,
    } | changes


class TestList:
    def test_it_shows_a_key_and_never_its_secret(self, alice, issued):
        page = alice.get(LIST).content.decode()

        assert issued.key.prefix in page
        assert "Payments" in page
        assert keys.parse(issued.text).secret not in page

    def test_without_keys_the_owner_is_led_to_the_first(self, alice):
        page = alice.get(LIST).content.decode()

        assert "No keys yet" in page
        assert NEW in page

    def test_a_member_sees_keys_but_cannot_create_or_revoke(self, bob, issued):
        page = bob.get(LIST).content.decode()

        assert "Invoices" in page
        assert "alice@acme.example" in page
        assert NEW not in page
        assert "revoke/" not in page

    def test_revoked_keys_are_in_a_list_of_their_own(self, alice, issued):
        alice.post(f"{LIST}{issued.key.pk}/revoke/")

        assert issued.key.prefix not in alice.get(LIST + "?state=active").content.decode()
        assert issued.key.prefix in alice.get(LIST + "?state=ended").content.decode()

    def test_another_organisation_does_not_find_the_page(self, charlie):
        assert charlie.get(LIST).status_code == 404

    def test_the_anonymous_are_asked_to_sign_in(self, client, cast):
        assert client.get(LIST).headers["Location"].startswith("/accounts/login/")

    def test_a_name_of_the_full_length_is_shown_whole_on_hover(self, alice, cast):
        alice.post(NEW, form(cast, name="n" * 100))

        assert f'title="{"n" * 100}"' in alice.get(LIST).content.decode()


class TestCreate:
    def test_the_key_is_shown_once_with_a_first_call(self, alice, cast):
        answer = alice.post(NEW, form(cast))
        page = answer.content.decode()
        [text] = set(TEXT.findall(page))

        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert keys.parse(text)
        assert "/v1/invoke" in page
        assert "/mcp/payments" in page
        assert text not in alice.get(LIST).content.decode()

    def test_what_it_lists_is_chosen_with_it(self, alice, cast):
        assert "about" in alice.get(NEW).content.decode()
        alice.post(NEW, form(cast, lists="search"))
        assert APIKey.objects.get(name="Invoices").list_form == "search"
        assert [entry.form for entry in tenant_entry(cast.acme.pk).keys.values()] == ["search"]

    def test_chosen_tools_are_chosen_on_the_page_after(self, alice, cast):
        page = alice.post(NEW, form(cast, lists="chosen")).content.decode()
        key = APIKey.objects.get(name="Invoices")
        assert key.list_form == "search"
        assert f'href="{LIST}{key.pk}/lists/?form=chosen"' in page
        lists = alice.get(f"{LIST}{key.pk}/lists/?form=chosen").content.decode()
        assert re.search(r'value="chosen"[^>]*checked', lists)

    def test_it_grants_what_was_chosen(self, alice, cast):
        alice.post(NEW, form(cast, level="write"))

        key = APIKey.objects.get(name="Invoices")
        assert (key.tenant_id, key.created_by_id, key.agent) == (cast.acme.pk, cast.alice.pk, "clerk")
        assert key.server_ids == [cast.payments.pk]
        with tenant_scope(cast.acme):
            grant = Grant.objects.get()
            assert (grant.max_trust, sorted(grant.side_effects)) == ("medium", ["read", "write"])
            assert grant.expires_at == key.expires_at

    def test_sent_twice_it_makes_one_key(self, alice, cast):
        data = form(cast)
        alice.post(NEW, data)

        answer = alice.post(NEW, data, follow=True)

        assert APIKey.objects.filter(name="Invoices").count() == 1
        assert "created already" in answer.content.decode()

    def test_without_servers_the_next_step_is_named(self, alice, cast):
        page = alice.post(NEW, form(cast, servers=[], only_these="")).content.decode()

        assert "/o/acme/access/new/" in page
        with tenant_scope(cast.acme):
            assert not Grant.objects.exists()

    def test_the_server_of_the_link_is_chosen(self, alice, cast):
        page = alice.get(NEW + "?server=payments").content.decode()

        assert re.search(rf'value="{cast.payments.pk}"[^>]*checked', page)

    def test_a_server_that_is_not_for_this_organisation_is_not_found(self, charlie, cast):
        assert charlie.get("/o/globex/keys/new/?server=vault").status_code == 404

    def test_a_foreign_server_cannot_be_chosen_by_its_id(self, charlie, cast):
        answer = charlie.post("/o/globex/keys/new/", form(cast, servers=[str(cast.vault.pk)]))

        assert "not one of the available choices" in answer.content.decode()
        assert not APIKey.objects.filter(name="Invoices").exists()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"name": ""}, "required"),
            ({"name": "   "}, "required"),
            ({"name": "n" * 101}, "at most 100"),
            ({"scopes": []}, "required"),
            ({"scopes": ["root"]}, "not one of the available choices"),
            ({"expiry": "-1"}, "not one of the available choices"),
            ({"level": "boundless"}, "not one of the available choices"),
            ({"servers": ["not-an-id"]}, "not-an-id"),
            ({"servers": []}, "Choose the servers that the key is limited to"),
        ],
    )
    def test_bad_input_is_named_and_makes_nothing(self, alice, cast, changes, words):
        answer = alice.post(NEW, form(cast, **changes))

        assert answer.status_code == 200
        assert words in answer.content.decode()
        assert not APIKey.objects.filter(tenant=cast.acme).exists()

    def test_a_member_may_not_and_learns_who_may(self, bob, cast):
        answer = bob.post(NEW, form(cast))

        assert answer.status_code == 403
        assert "alice@acme.example" in answer.content.decode()
        assert not APIKey.objects.filter(tenant=cast.acme).exists()


class TestSigningClient:
    def test_it_is_made_with_public_keys_and_shows_no_secret(self, alice, cast):
        answer = alice.post(NEW, form(cast, kind="signing", public_keys=ec_pair().public_pem))
        page = answer.content.decode()
        consent = Consent.objects.get(tenant=cast.acme)

        assert answer.headers["Cache-Control"] == "no-store"
        assert consent.client_id in page
        assert "private_key_jwt" in page
        assert "Client secret" not in page
        assert "By signing" in alice.get(LIST).content.decode()

    def test_a_client_with_a_secret_is_told_apart(self, alice, cast):
        assert "Client secret" in alice.post(NEW, form(cast, kind="client")).content.decode()
        assert "By its secret" in alice.get(LIST).content.decode()

    @pytest.mark.parametrize(
        ("kind", "keys", "words"),
        [
            ("signing", "", "needs its public keys"),
            ("signing", "nonsense", "https address"),
            ("signing", "http://127.0.0.1:1/jwks.json", "https address"),
            ("signing", ec_pair().private_pem, "private key"),
            ("signing", "x" * 20_000, "at most 16384"),
            ("key", ec_pair().public_pem, "for a client that signs"),
        ],
    )
    def test_what_proves_nothing_is_named_and_makes_nothing(self, alice, cast, kind, keys, words):
        answer = alice.post(NEW, form(cast, kind=kind, public_keys=keys))

        assert answer.status_code == 200
        assert words in answer.content.decode()
        assert not Consent.objects.filter(tenant=cast.acme).exists()
        assert not APIKey.objects.filter(tenant=cast.acme).exists()


class TestRevoke:
    def test_the_question_names_the_consequence(self, alice, issued):
        page = alice.get(f"{LIST}{issued.key.pk}/revoke/").content.decode()

        assert "refused within one second" in page
        assert "csrfmiddlewaretoken" in page

    def test_asking_changes_nothing(self, alice, issued):
        alice.get(f"{LIST}{issued.key.pk}/revoke/")

        assert APIKey.objects.get(pk=issued.key.pk).state == "active"

    def test_it_takes_the_key_back(self, alice, issued):
        answer = alice.post(f"{LIST}{issued.key.pk}/revoke/")

        assert answer.headers["Location"] == LIST
        assert APIKey.objects.get(pk=issued.key.pk).state == "revoked"
        assert "already revoked" in alice.get(f"{LIST}{issued.key.pk}/revoke/").content.decode()

    def test_a_member_may_not(self, bob, issued):
        assert bob.post(f"{LIST}{issued.key.pk}/revoke/").status_code == 403
        assert APIKey.objects.get(pk=issued.key.pk).state == "active"

    def test_a_key_of_another_organisation_is_not_found(self, charlie, issued):
        assert charlie.post(f"/o/globex/keys/{issued.key.pk}/revoke/").status_code == 404
        assert charlie.get(f"/o/globex/keys/{issued.key.pk}/revoke/").status_code == 404
        assert APIKey.objects.get(pk=issued.key.pk).state == "active"

    def test_an_unknown_key_is_not_found(self, alice, cast):
        assert alice.get(f"{LIST}{UUID(int=1)}/revoke/").status_code == 404


class TestLists:
    def address(self, issued):
        return f"{LIST}{issued.key.pk}/lists/"

    def tokens(self, issued):
        """What the one tool of the key takes, as the aggregated endpoint estimates it."""
        return len(json.dumps(PAYMENTS_TOOLS[0])) // 4

    def test_the_list_of_keys_says_what_each_loads_and_what_search_saves(self, alice, cast, issued):
        page = alice.get(LIST).content.decode()
        assert "4 of 4 definitions" in page
        assert f"search only: 3, saves {self.tokens(issued)} tokens" in page
        with tenant_scope(cast.acme):
            name = next(tool.name for tool in tools_of_key(issued.key, Server.objects.all()))
        alice.post(self.address(issued), {"form": "chosen", "tools": [name]})
        assert f"search only: 3, saves {self.tokens(issued)} tokens more" in alice.get(LIST).content.decode()
        alice.post(self.address(issued), {"form": "search"})
        page = alice.get(LIST).content.decode()
        assert "3 of 4 definitions" in page
        assert f'<p class="small muted">saves {self.tokens(issued)} tokens' in page

    def test_the_list_asks_the_database_no_more_often_for_many_keys(
        self, alice, cast, issued, django_assert_max_num_queries
    ):
        with CaptureQueriesContext(connection) as few:
            alice.get(LIST)
        with tenant_scope(cast.acme):
            for number in range(10):
                connect(
                    tenant=cast.acme,
                    name=f"Key {number}",
                    scopes=["invoke"],
                    servers=[cast.payments],
                    actor=cast.alice,
                )
        with django_assert_max_num_queries(len(few)):
            assert alice.get(LIST).content.decode().count("4 of 4 definitions") == 11

    def test_it_says_how_many_definitions_each_form_loads(self, alice, issued):
        page = alice.get(self.address(issued)).content.decode()

        assert "All tools: 4 definitions" in page
        assert "Search only: 3 definitions" in page
        assert f"saves about {self.tokens(issued)} tokens" in page
        assert "payments__" in page

    def test_a_choice_is_kept_shown_and_recorded(self, alice, cast, issued):
        response = alice.post(self.address(issued), {"form": "search"})

        assert response.headers["Location"] == LIST
        issued.key.refresh_from_db()
        assert issued.key.list_form == "search"
        assert "Search only" in alice.get(LIST).content.decode()
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.filter(action="tenants:api_key:lists_changed").count() == 1

    def test_chosen_tools_are_those_of_the_key_and_reach_the_gateway(self, alice, cast, issued):
        with tenant_scope(cast.acme):
            name = next(tool.name for tool in tools_of_key(issued.key, Server.objects.all()))
        alice.post(self.address(issued), {"form": "chosen", "tools": [name]})

        entry = tenant_entry(cast.acme.pk).keys[issued.key.key_id]
        assert (entry.form, entry.chosen_tools) == ("chosen", {name})

    @pytest.mark.parametrize("sent", [{"form": "chosen"}, {"form": "none"}, {"form": "chosen", "tools": ["x__y"]}, {}])
    def test_a_choice_that_is_none_is_refused(self, alice, issued, sent):
        assert alice.post(self.address(issued), sent).status_code == 200
        issued.key.refresh_from_db()
        assert issued.key.list_form == "all"

    def test_a_member_may_not_choose(self, bob, issued):
        assert bob.get(self.address(issued)).status_code == 403


class TestIdentity:
    def test_a_key_is_made_and_changed_and_both_are_in_the_audit_log(self, alice, cast):
        alice.post(NEW, form(cast, asserts_identity="on"))
        key = APIKey.objects.get(tenant=cast.acme, name="Invoices")
        page = f"/o/acme/keys/{key.pk}/identity/"
        assert key.asserts_identity
        assert "says for whom it calls" in alice.get(LIST).content.decode()
        entry = tenant_entry(cast.acme.pk)
        assert entry.keys[key.key_id].asserts
        assert entry.people["bob@acme.example"] == str(cast.bob.pk)

        alice.post(page, {"asserts": "no"})
        key.refresh_from_db()
        assert not key.asserts_identity
        assert tenant_entry(cast.acme.pk).people == {}
        with tenant_scope(cast.acme):
            rows = AuditEvent.objects.filter(action="tenants:api_key:assertion_changed").order_by("sequence")
            assert [row.data["asserts_identity"] for row in rows] == [True, False]

    def test_an_oauth_client_never_does(self, alice, cast):
        alice.post(NEW, form(cast, asserts_identity="on", kind="client"))

        assert not APIKey.objects.filter(tenant=cast.acme, asserts_identity=True).exists()
