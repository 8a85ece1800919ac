"""Connections: what is stored, who may do what, and what no page ever shows again."""

from __future__ import annotations

import json

import pytest

from access.models import UpstreamCredential
from access.services import connections
from core.errors import InvalidError
from core.vault import SealBrokenError
from gateway.services.entries import tenant_entry
from tenants.context import tenant_scope
from tenants.services import vault

LIST, NEW = "/o/acme/connections/", "/o/acme/connections/new/?server=payments"
CANARY = "canary-93c1-of-the-organisation"


def stored(cast):
    with tenant_scope(cast.acme):
        return list(UpstreamCredential.objects.all())


def opened(cast, row, field="secret"):
    with tenant_scope(cast.acme):
        return json.loads(vault.unseal(vault.place_of(row, field, cast.acme), bytes(getattr(row, field))))


@pytest.fixture(autouse=True)
def address(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1:9"]


class TestStoring:
    @pytest.mark.parametrize(
        ("kind", "form", "name", "value"),
        [
            ("bearer", {"token": CANARY}, "authorization", f"Bearer {CANARY}"),
            ("header", {"header": "X-Api-Key", "value": CANARY}, "x-api-key", CANARY),
            ("basic", {"user": "u", "password": "p"}, "authorization", "Basic dTpw"),
        ],
    )
    def test_a_credential_is_sealed_as_the_header_that_gateways_send(self, alice, cast, kind, form, name, value):
        answer = alice.post(f"{NEW}&kind={kind}", form)
        [row] = stored(cast)

        assert answer.status_code == 302
        assert opened(cast, row) == {"name": name, "value": value}
        assert CANARY.encode() not in bytes(row.secret)
        assert row.origin == "http://127.0.0.1:9"

    def test_a_second_one_takes_the_place_of_the_first(self, alice, cast):
        alice.post(NEW, {"token": "first"})
        alice.post(NEW, {"token": "second"})

        [row] = stored(cast)
        assert opened(cast, row)["value"] == "Bearer second"

    @pytest.mark.parametrize(
        "name", ["Host", "content-length", "Mcp-Session-Id", "X-Marketplace-Token", "a b", "cookie"]
    )
    def test_a_header_that_is_not_theirs_to_set_is_refused(self, name):
        with pytest.raises(InvalidError):
            connections.header(name, "x")

    @pytest.mark.parametrize("value", ["", "a\r\nx-evil: 1", "a\nb", " lead", "ünï", "x" * 9000])
    def test_a_value_that_could_end_the_header_is_refused(self, value):
        with pytest.raises(InvalidError):
            connections.bearer(value)

    def test_gateways_get_it_sealed_and_can_open_it_in_its_place_only(self, alice, cast):
        alice.post(NEW, {"token": CANARY})
        entry = tenant_entry(cast.acme.pk)
        [credential] = entry.credentials[cast.payments.pk]
        keys = vault.Keychain(vault.master_keys(), str(cast.acme.pk), entry.data_keys)
        [row] = stored(cast)

        assert json.loads(keys.open(vault.place_of(row, "secret", cast.acme), credential.sealed))["value"].endswith(
            CANARY
        )
        with pytest.raises(SealBrokenError):
            keys.open(vault.place_of(row, "renewal", cast.acme), credential.sealed)
        assert CANARY not in repr(entry)

    def test_removed_it_is_gone_from_gateways(self, alice, cast):
        alice.post(NEW, {"token": CANARY})
        [row] = stored(cast)
        alice.post(f"{LIST}{row.pk}/remove/")

        assert stored(cast) == []
        assert not tenant_entry(cast.acme.pk).credentials


class TestPages:
    def test_no_page_shows_a_secret_again(self, alice, cast):
        alice.post(NEW, {"token": CANARY})
        [row] = stored(cast)
        pages = [LIST, NEW, f"{LIST}{row.pk}/remove/", "/o/acme/audit/"]

        assert [page for page in pages if CANARY in alice.get(page).content.decode()] == []

    def test_a_refused_form_does_not_give_the_secret_back(self, alice):
        page = alice.post(f"{NEW}&kind=header", {"header": "host", "value": CANARY}).content.decode()

        assert "cannot be set" in page
        assert CANARY not in page

    def test_a_member_sees_and_changes_nothing(self, alice, bob, cast):
        alice.post(NEW, {"token": CANARY})
        [row] = stored(cast)

        assert "Payments" in bob.get(LIST).content.decode()
        assert bob.post(NEW, {"token": "x"}).status_code == 403
        assert bob.post(f"{LIST}{row.pk}/remove/").status_code == 403
        assert bob.post(f"{LIST}{row.pk}/test/").status_code == 403

    def test_a_member_is_offered_only_servers_that_take_a_persons_account(self, bob, cast):
        assert "No server takes a person" in bob.get(NEW.partition("?")[0]).content.decode()
        page = bob.get(NEW).content.decode()
        assert "This credential is the organisation" in page
        assert "alice@acme.example" in page

    def test_they_stand_under_access_in_the_rail(self, alice, cast):
        page = alice.get(LIST).content.decode()

        assert 'data-palette="Access" aria-current="page"' in page

    def test_another_organisation_has_neither_the_page_nor_the_row(self, alice, charlie, cast):
        alice.post(NEW, {"token": CANARY})
        [row] = stored(cast)

        assert charlie.get(LIST).status_code == 404
        assert charlie.post(f"/o/globex/connections/{row.pk}/remove/").status_code == 404

    def test_a_test_says_what_the_server_said(self, alice, cast):
        alice.post(NEW, {"token": "x"})
        [row] = stored(cast)
        alice.post(f"{LIST}{row.pk}/test/")

        [row] = stored(cast)
        assert (row.status, row.status_detail) == ("failing", "The server could not be reached.")
        assert "could not be reached" in alice.get(LIST).content.decode()

    def test_what_a_server_rejected_shows(self, alice, cast):
        alice.post(NEW, {"token": "x"})
        [row] = stored(cast)
        with tenant_scope(cast.acme):
            connections.note_rejected(cast.acme, row.pk)

        assert "answered 401" in alice.get(LIST).content.decode()
