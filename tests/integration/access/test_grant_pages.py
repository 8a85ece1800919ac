from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from access.models import Grant
from core import clock
from tenants.context import tenant_scope
from tenants.models import Team

LIST, NEW = "/o/acme/access/", "/o/acme/access/new/"


def form(cast, **changes):
    return {
        "subject": f"user:{cast.bob.pk}",
        "agent": "",
        "tools": ["list_invoices"],
        "side_effects": ["read"],
        "max_trust": "low",
        "expiry": "30",
        "note": "Month end",
    } | changes


def grants(cast):
    with tenant_scope(cast.acme):
        return list(Grant.objects.all())


class TestList:
    def test_it_shows_who_may_what(self, alice, issued):
        page = alice.get(LIST).content.decode()

        for words in ("Invoices", "Payments", "Low trust", "Every tool", "alice@acme.example"):
            assert words in page

    def test_it_can_be_narrowed(self, alice, issued):
        table = "<table"
        assert table in alice.get(LIST + "?server=payments&kind=key&q=invo").content.decode()
        assert table not in alice.get(LIST + "?server=vault").content.decode()
        assert table not in alice.get(LIST + "?kind=team").content.decode()
        assert "No grant fits" in alice.get(LIST + "?q=nobody").content.decode()

    def test_ended_grants_are_kept_and_shown_apart(self, alice, cast, issued):
        [grant] = grants(cast)
        alice.post(f"{LIST}{grant.pk}/revoke/")

        assert str(grant.pk) not in alice.get(LIST).content.decode()
        assert str(grant.pk) in alice.get(LIST + "?state=ended").content.decode()

    def test_a_member_sees_it_without_actions(self, bob, issued):
        page = bob.get(LIST).content.decode()

        assert "Invoices" in page
        assert "alice@acme.example" in page
        assert "revoke/" not in page
        assert NEW not in page

    def test_nothing_given_yet_leads_to_the_first_grant(self, alice, cast):
        assert "Nobody has access yet" in alice.get(LIST).content.decode()

    def test_a_grant_on_a_server_that_was_withdrawn_stays_in_sight_and_can_be_revoked(self, alice, cast, issued):
        with tenant_scope(cast.initech):
            type(cast.payments).objects.filter(pk=cast.payments.pk).update(visibility="org")

        page = alice.get(LIST).content.decode()

        assert "No longer listed" in page
        assert "/servers/payments/" not in page
        [grant] = grants(cast)
        alice.post(f"{LIST}{grant.pk}/revoke/")
        assert grants(cast)[0].state == "revoked"

    def test_others_and_the_anonymous_do_not_get_in(self, client, charlie, cast):
        assert charlie.get(LIST).status_code == 404
        client.logout()
        assert client.get(LIST).status_code == 302


class TestGive:
    def test_first_the_server_is_asked_for(self, alice, cast):
        page = alice.get(NEW).content.decode()

        assert "Payments" in page
        assert "Vault" in page

    def test_it_gives_what_was_chosen(self, alice, cast):
        answer = alice.post(NEW + "?server=payments", form(cast))
        [grant] = grants(cast)

        assert answer.headers["Location"] == LIST
        assert (grant.subject_user, grant.kind_words, grant.tools) == (str(cast.bob.pk), "user", ["list_invoices"])
        assert timedelta(days=29) < grant.expires_at - clock.now() <= timedelta(days=30)
        assert (grant.note, grant.granted_by_id) == ("Month end", cast.alice.pk)

    def test_an_agent_is_named_in_free_words(self, alice, cast):
        alice.post(NEW + "?server=payments", form(cast, subject="", agent=" night-shift ", tools=[]))
        [grant] = grants(cast)

        assert (grant.subject_agent, grant.kind_words, grant.tools) == ("night-shift", "agent", [])

    def test_keys_and_teams_of_the_organisation_can_be_chosen(self, alice, cast, issued):
        team = Team.objects.create(tenant=cast.acme, name="Finance", slug="finance")
        Team.objects.create(tenant=cast.globex, name="Elsewhere", slug="elsewhere")

        page = alice.get(NEW + "?server=payments").content.decode()

        assert f"key:{issued.key.pk}" in page
        assert f"team:{team.pk}" in page
        assert "Elsewhere" not in page
        assert "charlie" not in page

    def test_the_link_beside_a_refusal_fills_the_form(self, alice, cast, issued):
        page = alice.get(
            f"{NEW}?server=payments&subject=key:{issued.key.pk}&tool=refund_invoice&trust=high&effect=destructive"
        ).content.decode()

        assert f'value="key:{issued.key.pk}" selected' in page
        for name, value in (("tools", "refund_invoice"), ("side_effects", "destructive"), ("max_trust", "high")):
            [field] = [part for part in page.split("<input") if f'name="{name}" value="{value}"' in part]
            assert "checked" in field.split(">")[0]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"subject": ""}, "one of the two"),
            ({"agent": "both"}, "one of the two"),
            ({"tools": ["no_such_tool"]}, "not one of the available choices"),
            ({"side_effects": []}, "required"),
            ({"max_trust": "boundless"}, "not one of the available choices"),
            ({"expiry": "tomorrow"}, "not one of the available choices"),
            ({"note": "n" * 501}, "at most 500"),
        ],
    )
    def test_bad_input_is_named_and_gives_nothing(self, alice, cast, changes, words):
        answer = alice.post(NEW + "?server=payments", form(cast, **changes))

        assert answer.status_code == 200
        assert words in answer.content.decode()
        assert grants(cast) == []

    def test_a_person_of_another_organisation_cannot_be_chosen(self, alice, cast):
        answer = alice.post(NEW + "?server=payments", form(cast, subject=f"user:{cast.charlie.pk}"))

        assert "not one of the available choices" in answer.content.decode()
        assert grants(cast) == []

    def test_an_unknown_or_foreign_server_is_not_found(self, alice, charlie, cast):
        assert charlie.get("/o/globex/access/new/?server=vault").status_code == 404
        assert charlie.get("/o/globex/access/new/?server=nowhere").status_code == 404

    def test_a_member_may_not(self, bob, cast):
        assert bob.post(NEW + "?server=payments", form(cast)).status_code == 403
        assert grants(cast) == []


class TestRevoke:
    def test_it_ends_the_grant_and_keeps_the_row(self, alice, cast, issued):
        [grant] = grants(cast)

        assert "cannot be" not in alice.get(f"{LIST}{grant.pk}/revoke/").content.decode()
        alice.post(f"{LIST}{grant.pk}/revoke/")

        [kept] = grants(cast)
        assert kept.state == "revoked"

    def test_a_member_may_not(self, bob, cast, issued):
        [grant] = grants(cast)

        assert bob.post(f"{LIST}{grant.pk}/revoke/").status_code == 403
        assert grants(cast)[0].state == "active"

    def test_a_grant_of_another_organisation_is_not_found(self, charlie, cast, issued):
        [grant] = grants(cast)

        assert charlie.get(f"/o/globex/access/{grant.pk}/revoke/").status_code == 404
        assert charlie.post(f"/o/globex/access/{grant.pk}/revoke/").status_code == 404
        assert grants(cast)[0].state == "active"

    def test_an_unknown_grant_is_not_found(self, alice, cast):
        assert alice.post(f"{LIST}{UUID(int=1)}/revoke/").status_code == 404
