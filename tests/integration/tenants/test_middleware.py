from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from audit.models import AuditEvent
from core import clock
from tenants.context import tenant_scope
from tenants.models import Membership, Tenant
from tenants.services import api_keys
from tests.support.probe_urls import place

pytestmark = pytest.mark.urls("tests.support.probe_urls")

PUBLIC = {"schema": "public", "viewer": ""}


@pytest.fixture
def browser(cast) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(cast.alice)
    cache.clear()
    return client


def seen_by(client: Client, path: str) -> dict:
    return client.get(path).json()


class TestMembers:
    def test_a_member_works_inside_the_organisation(self, cast, browser):
        assert seen_by(browser, "/o/acme/probe/") == {
            "schema": cast.acme.schema_name,
            "viewer": str(cast.acme.pk),
            "organisation": "acme",
        }

    def test_every_role_does(self, cast, browser):
        for member in (cast.alice, cast.bob):
            browser.force_login(member)
            assert browser.get("/o/acme/probe/").status_code == 200

    def test_a_former_member_does_not(self, cast, browser):
        Membership.objects.filter(user=cast.alice).delete()

        assert browser.get("/o/acme/probe/").status_code == 404


class TestOthers:
    def test_another_organisation_is_not_there(self, browser):
        assert browser.get("/o/globex/probe/").status_code == 404

    def test_it_looks_like_one_that_does_not_exist(self, browser):
        theirs, nobodys = browser.get("/o/globex/probe/"), browser.get("/o/no-such-one/probe/")
        theirs_text = theirs.content.decode().replace("globex", "·")

        assert (theirs.status_code, nobodys.status_code) == (404, 404)
        assert without_nonce(theirs, theirs_text) == without_nonce(
            nobodys, nobodys.content.decode().replace("no-such-one", "·")
        )

    def test_an_operator_is_not_a_member(self, cast, browser):
        browser.force_login(cast.olga)

        assert browser.get("/o/acme/probe/").status_code == 404

    def test_anonymous_people_sign_in_first_and_come_back(self, client, db):
        response = client.get("/o/acme/probe/?page=2")

        assert response.status_code == 302
        assert response["Location"] == "/accounts/login/?next=/o/acme/probe/%3Fpage%3D2"

    def test_anonymous_people_do_not_learn_whether_it_exists(self, client, db):
        real, made_up = client.get("/o/acme/probe/"), client.get("/o/no-such-one/probe/")

        assert real.status_code == made_up.status_code == 302

    def test_a_suspended_organisation_is_not_there_for_anybody(self, cast, browser):
        Tenant.objects.filter(pk=cast.acme.pk).update(suspended_at=clock.now())
        # What tests that commit have left behind is no home to go to.
        Membership.objects.exclude(tenant=cast.acme).delete()

        assert browser.get("/o/acme/probe/").status_code == 404
        assert seen_by(browser, "/probe/") == {**PUBLIC, "organisation": None}

    @pytest.mark.parametrize(
        "slug",
        [
            "ACME", "Acme", "acme ", " acme", "acme%00", "%00", "acme%0a", "acme.", "acme%2f", "acme;", "acme%20OR%201=1",
            "public", "*", "%25", "%2e%2e", "..", ".", "а%D1%81me", "a" * 300, "t_00000000000000000000000000",
            "acme,globex", "%ff", "acme%252f",
        ],
    )  # fmt: skip
    def test_an_odd_spelling_is_not_there(self, browser, slug):
        assert browser.get(f"/o/{slug}/probe/").status_code in {400, 404}

    @pytest.mark.parametrize("path", ["/o/acme/../globex/probe/", "//o/globex/probe/", "/o//probe/", "/O/acme/probe/"])
    def test_an_odd_path_is_not_there(self, browser, path):
        assert browser.get(path).status_code == 404


class TestDisagreement:
    def test_a_stranger_at_the_door_is_written_down_by_the_platform_and_not_by_the_organisation(self, cast, browser):
        before = events_of(cast.globex)
        browser.get("/o/globex/probe/")

        event = AuditEvent.objects.latest("sequence")
        assert (event.action, event.actor_id, event.target_label) == (
            "tenants:organisation:refused",
            str(cast.alice.pk),
            "globex",
        )
        assert events_of(cast.globex) == before

    def test_who_tries_many_names_does_not_write_the_log(self, cast, browser):
        before = AuditEvent.objects.count()
        for number in range(5):
            browser.get(f"/o/try-{number}/probe/")

        assert AuditEvent.objects.count() == before + 1

    @pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
    def test_a_key_of_another_organisation_closes_the_page_and_its_owner_can_read_that(self, cast, browser, header):
        theirs = api_keys.issue(tenant=cast.globex, name="theirs", scopes=["invoke"], actor=cast.charlie)
        value = f"Bearer {theirs.text}" if header == "Authorization" else theirs.text

        assert browser.get("/o/acme/probe/", headers={header: value}).status_code == 404
        assert events_of(cast.globex)[-1] == ("tenants:key:refused", "acme")
        assert place() == PUBLIC

    def test_a_key_of_the_same_organisation_changes_nothing(self, cast, browser, client):
        ours = api_keys.issue(tenant=cast.acme, name="ours", scopes=["invoke"], actor=cast.alice)
        headers = {"Authorization": f"Bearer {ours.text}"}

        assert browser.get("/o/acme/probe/", headers=headers).status_code == 200
        assert client.get("/o/acme/probe/", headers=headers).status_code == 302


class TestBeforeAndAfter:
    def test_the_connection_is_in_public_after_a_request(self, browser):
        browser.get("/o/acme/probe/")

        assert place() == PUBLIC

    @pytest.mark.parametrize(("how", "status"), [("fail", 500), ("refuse", 409)])
    def test_the_connection_is_in_public_after_an_error(self, browser, how, status):
        assert browser.get(f"/o/acme/probe/{how}/").status_code == status
        assert place() == PUBLIC

    def test_a_page_that_is_rendered_late_still_sees_the_organisation(self, cast, browser):
        assert browser.get("/o/acme/probe/late/").content.decode() == cast.acme.schema_name
        assert place() == PUBLIC

    def test_what_is_streamed_after_the_request_sees_public(self, browser):
        assert b"".join(browser.get("/o/acme/probe/stream/").streaming_content) == b"public"

    def test_what_an_earlier_user_of_the_connection_left_behind_is_cleared(self, cast, client):
        from django.db import connection

        connection.set_schema(cast.acme.schema_name)
        connection.set_viewer("platform")

        assert seen_by(client, "/probe/") == {**PUBLIC, "organisation": None}


class TestOutsideOrganisations:
    def test_a_person_looks_through_the_organisation_used_last(self, cast, browser):
        Membership.objects.create(tenant=cast.initech, user=cast.alice, role="member")
        for slug in ("initech", "acme"):
            tenant = getattr(cast, slug)
            browser.get(f"/o/{slug}/probe/")

            assert seen_by(browser, "/probe/") == {"schema": "public", "viewer": str(tenant.pk), "organisation": slug}

    def test_a_remembered_organisation_that_one_left_is_forgotten(self, cast, browser):
        browser.get("/o/acme/probe/")
        Membership.objects.filter(user=cast.alice).delete()

        assert seen_by(browser, "/probe/") == {**PUBLIC, "organisation": None}

    def test_a_remembered_organisation_cannot_be_chosen_by_the_browser(self, cast, browser):
        session = browser.session
        session["organisation"] = "globex"
        session.save()

        assert seen_by(browser, "/probe/")["organisation"] == "acme"

    def test_anonymous_people_see_what_is_public(self, client, db):
        assert seen_by(client, "/probe/") == {**PUBLIC, "organisation": None}


def events_of(tenant: Tenant) -> list[tuple[str, str]]:
    with tenant_scope(tenant):
        return list(AuditEvent.objects.order_by("sequence").values_list("action", "target_label"))


def without_nonce(response, text: str) -> str:
    """The page without what differs between any two answers."""
    policy = response.headers.get("Content-Security-Policy", "")
    for nonce in {part.split("'")[0] for part in policy.split("'nonce-")[1:]}:
        text = text.replace(nonce, "")
    return text
