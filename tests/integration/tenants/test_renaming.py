"""An organisation under another name: pages follow, keys go on working, and the old short name stays its own."""

from __future__ import annotations

import pytest
from django.test import Client

from audit.models import AuditEvent
from gateway.services.entries import tenant_entry
from tenants.choices import Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import FormerSlug, Membership, Tenant
from tenants.services import api_keys, onboarding, renaming

PAGE = "/o/acme/settings/rename/"
NAMES = {"name": "Apex Industries", "slug": "apex"}


@pytest.fixture
def alice(cast):
    browser = Client()
    browser.force_login(cast.alice)
    return browser


def rename(cast, **changes):
    return renaming.rename(actor=Membership.objects.get(tenant=cast.acme, user=cast.alice), **(NAMES | changes))


class TestPage:
    def test_an_owner_renames_and_everybody_hears_of_it_in_the_audit_logs(self, alice, cast):
        before = tenant_entry(cast.acme.pk).revision
        answer = alice.post(PAGE, NAMES)
        assert answer["Location"] == "/o/apex/settings/"
        assert "Apex Industries" in alice.get("/o/apex/settings/").content.decode()
        for scope in (tenant_scope(cast.acme), platform_scope()):
            with scope:
                event = AuditEvent.objects.get(action="tenants:organisation:renamed")
                assert event.actor_label == cast.alice.email
                assert event.data["slug"] == {"from": "acme", "to": "apex"}
                assert event.data["name"] == {"from": "Acme", "to": "Apex Industries"}
        entry = tenant_entry(cast.acme.pk)
        assert (entry.slug, entry.revision > before) == ("apex", True)

    def test_the_name_alone_moves_no_address(self, alice, cast):
        alice.post(PAGE, NAMES | {"slug": "acme"})
        assert Tenant.objects.get(pk=cast.acme.pk).name == "Apex Industries"
        assert not FormerSlug.objects.exists()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"slug": "globex"}, "is taken"),
            ({"slug": "admin"}, "is reserved"),
            ({"slug": "a/b"}, "lower-case letters"),
            ({"slug": ""}, "required"),
            ({"name": " "}, "required"),
        ],
    )
    def test_what_cannot_be_is_named(self, alice, cast, changes, words):
        assert words in alice.post(PAGE, NAMES | changes).content.decode()
        assert Tenant.objects.get(pk=cast.acme.pk).slug == "acme"

    def test_a_member_may_not(self, cast):
        browser = Client()
        browser.force_login(cast.bob)
        assert browser.post(PAGE, NAMES).status_code == 403


class TestOldName:
    def test_pages_under_it_lead_members_to_the_present_one(self, alice, cast):
        rename(cast)
        answer = alice.get("/o/acme/calls/?outcome=ok&x=%C3%BC")
        assert (answer.status_code, answer["Location"]) == (302, "/o/apex/calls/?outcome=ok&x=%C3%BC")
        sent = alice.post("/o/acme/notifications/", {"all": "1"})
        assert (sent.status_code, sent["Location"]) == (307, "/o/apex/notifications/")

    def test_it_leads_nowhere_else(self, alice, cast):
        rename(cast)
        for path in ("/o/acme//evil.example/", "/o/acme/%2f%2fevil.example/"):
            answer = alice.get(path)
            assert answer.status_code == 404 or answer["Location"].startswith("/o/apex/")

    def test_others_find_nothing_under_it(self, cast, client):
        rename(cast)
        client.force_login(cast.charlie)
        assert client.get("/o/acme/calls/").status_code == 404
        assert client.get("/o/apex/calls/").status_code == 404

    def test_two_renamings_lead_to_the_present_name(self, alice, cast):
        rename(cast)
        rename(cast, slug="zenith")
        assert alice.get("/o/acme/calls/")["Location"] == "/o/zenith/calls/"
        assert alice.get("/o/apex/calls/")["Location"] == "/o/zenith/calls/"

    def test_it_can_be_taken_back(self, alice, cast):
        rename(cast)
        rename(cast, slug="acme")
        assert alice.get("/o/acme/calls/").status_code == 200
        assert alice.get("/o/apex/calls/")["Location"] == "/o/acme/calls/"

    def test_nobody_else_gets_it(self, cast):
        rename(cast)
        with pytest.raises(Exception, match="taken"):
            onboarding.create_organisation(name="Imposter", slug="acme", owner=cast.charlie)
        assert not Tenant.objects.filter(slug="acme").exists()
        globex = Membership.objects.get(tenant=cast.globex, user=cast.charlie)
        with pytest.raises(Exception, match="taken"):
            renaming.rename(actor=globex, name="Globex", slug="acme")

    def test_a_key_goes_on_working_and_is_no_stranger_at_it(self, alice, cast):
        key = api_keys.issue(tenant=cast.acme, name="Agent", scopes=[Scope.CATALOG_READ], actor=cast.alice)
        rename(cast)
        headers = {"Authorization": f"Bearer {key.text}"}
        assert Client().get("/api/v1/servers/", headers=headers).status_code == 200
        assert alice.get("/o/acme/calls/", headers=headers).status_code == 302
        assert alice.get("/o/apex/calls/", headers=headers).status_code == 200
