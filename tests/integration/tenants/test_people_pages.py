from __future__ import annotations

import re

import pytest

from tenants.choices import Role
from tenants.models import Invitation, Membership, Team, Tenant
from tenants.services import invitations, teams
from tests.integration.tenants.test_memberships import join_as, membership_of
from tests.support.cast import make_person

PEOPLE = "/o/acme/people/"


@pytest.fixture
def bob(cast):
    return membership_of(cast.bob, cast.acme)


@pytest.fixture
def alice(cast):
    return membership_of(cast.alice, cast.acme)


class TestPeopleList:
    def test_an_owner_sees_members_and_what_may_be_done(self, cast, signed_in, bob):
        page = signed_in(cast.alice).get(PEOPLE).content.decode()
        assert "bob@acme.example" in page
        assert f"{PEOPLE}{bob.pk}/role/" in page
        assert f"{PEOPLE}{bob.pk}/remove/" in page
        assert "Send invitation" in page

    def test_a_member_sees_the_people_and_whom_to_ask(self, cast, signed_in, alice):
        page = signed_in(cast.bob).get(PEOPLE).content.decode()
        assert "alice@acme.example" in page
        assert "Ask alice@acme.example." in page
        assert "Send invitation" not in page
        assert f"{PEOPLE}{alice.pk}/remove/" not in page

    def test_an_admin_is_offered_nothing_about_owners(self, cast, signed_in, alice):
        admin = join_as(Role.ADMIN, cast.acme)
        page = signed_in(admin.user).get(PEOPLE).content.decode()
        assert f"{PEOPLE}{alice.pk}/role/" not in page
        assert '<option value="owner"' not in page

    def test_somebody_else_finds_nothing_and_the_anonymous_signs_in(self, cast, signed_in, client):
        anonymous = client.get(PEOPLE)
        assert anonymous.status_code == 302
        assert anonymous["Location"].startswith("/accounts/login/?next=")
        answer = signed_in(cast.charlie).get(PEOPLE)
        assert answer.status_code == 404
        assert "alice" not in answer.content.decode()

    def test_names_of_any_length_and_kind_are_shown_as_text(self, cast, signed_in, alice):
        cast.bob.name = "<script>alert(1)</script>" + "n" * 120
        cast.bob.save()
        teams.create(actor=alice, name="T" * 100)
        page = signed_in(cast.alice).get(PEOPLE).content.decode()
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page

    def test_the_number_of_queries_does_not_grow_with_people(self, cast, signed_in, django_assert_max_num_queries):
        for _ in range(12):
            join_as(Role.MEMBER, cast.acme)
        client = signed_in(cast.alice)
        with django_assert_max_num_queries(30):
            client.get(PEOPLE)


class TestInvite:
    def test_an_owner_invites_by_mail(self, cast, signed_in):
        answer = signed_in(cast.alice).post(
            f"{PEOPLE}invitations/", {"email": "dave@x.example", "role": "member"}, follow=True
        )
        page = answer.content.decode()
        assert "dave@x.example gets an invitation by mail." in page
        assert Invitation.objects.get().email == "dave@x.example"

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"email": "nobody", "role": "member"}, "valid email address"),
            ({"email": "", "role": "member"}, "This field is required"),
            ({"email": "bob@acme.example", "role": "member"}, "is a member already"),
            ({"email": "d@x.example", "role": "king"}, "Select a valid choice"),
        ],
    )
    def test_a_refusal_stands_beside_its_field(self, cast, signed_in, data, words):
        answer = signed_in(cast.alice).post(f"{PEOPLE}invitations/", data)
        assert answer.status_code == 422
        assert words in answer.content.decode()
        assert not Invitation.objects.exists()

    def test_a_member_is_refused_with_whom_to_ask(self, cast, signed_in):
        answer = signed_in(cast.bob).post(f"{PEOPLE}invitations/", {"email": "d@x.example", "role": "member"})
        assert answer.status_code == 403
        assert not Invitation.objects.exists()

    def test_an_admin_invites_no_owner(self, cast, signed_in):
        admin = join_as(Role.ADMIN, cast.acme)
        answer = signed_in(admin.user).post(f"{PEOPLE}invitations/", {"email": "d@x.example", "role": "owner"})
        assert answer.status_code == 422

    def test_withdrawing_asks_first_also_without_scripts(self, cast, signed_in, alice):
        sent = invitations.invite(actor=alice, email="d@x.example", role=Role.MEMBER)
        address = f"{PEOPLE}invitations/{sent.invitation.pk}/withdraw/"
        client = signed_in(cast.alice)

        assert "Withdraw the invitation of d@x.example?" in client.get(address).content.decode()
        assert client.post(address).status_code == 302
        sent.invitation.refresh_from_db()
        assert sent.invitation.withdrawn_at is not None

    def test_nobody_else_withdraws_it(self, cast, signed_in, alice):
        sent = invitations.invite(actor=alice, email="d@x.example", role=Role.MEMBER)
        assert signed_in(cast.bob).post(f"{PEOPLE}invitations/{sent.invitation.pk}/withdraw/").status_code == 403
        elsewhere = f"/o/globex/people/invitations/{sent.invitation.pk}/withdraw/"
        assert signed_in(cast.charlie).post(elsewhere).status_code == 404


class TestMembers:
    def test_changing_a_role(self, cast, signed_in, bob):
        answer = signed_in(cast.alice).post(f"{PEOPLE}{bob.pk}/role/", {"role": "auditor"}, follow=True)
        assert "Bob is auditor." in answer.content.decode()

    def test_the_last_owner_is_told_what_to_do_first(self, cast, signed_in, alice):
        client = signed_in(cast.alice)
        for address, data in ((f"{PEOPLE}{alice.pk}/role/", {"role": "member"}), (f"{PEOPLE}{alice.pk}/remove/", {})):
            page = client.post(address, data, follow=True).content.decode()
            assert "Make somebody else an owner first." in page
        assert membership_of(cast.alice, cast.acme).role == Role.OWNER

    def test_a_role_that_is_none_changes_nothing(self, cast, signed_in, bob):
        page = signed_in(cast.alice).post(f"{PEOPLE}{bob.pk}/role/", {"role": ""}, follow=True).content.decode()
        assert "A role is one of" in page

    def test_removing_asks_first_and_says_what_happens_to_keys(self, cast, signed_in, bob):
        client = signed_in(cast.alice)
        question = client.get(f"{PEOPLE}{bob.pk}/remove/").content.decode()
        assert "keep working until somebody revokes them" in question
        client.post(f"{PEOPLE}{bob.pk}/remove/")
        assert not Membership.objects.filter(pk=bob.pk).exists()
        assert signed_in(cast.bob).get(PEOPLE).status_code == 404

    def test_leaving_leads_out_of_the_organisation(self, cast, signed_in, bob):
        answer = signed_in(cast.bob).post(f"{PEOPLE}{bob.pk}/remove/")
        assert answer["Location"] == "/start/"

    def test_a_member_of_another_organisation_is_not_there(self, cast, signed_in):
        charlie = membership_of(cast.charlie, cast.globex)
        client = signed_in(cast.alice)
        assert client.get(f"{PEOPLE}{charlie.pk}/remove/").status_code == 404
        assert client.post(f"{PEOPLE}{charlie.pk}/remove/").status_code == 404
        assert client.post(f"{PEOPLE}{charlie.pk}/role/", {"role": "member"}).status_code == 404


class TestTeams:
    def test_a_team_is_made_and_people_go_in_and_out(self, cast, signed_in, bob):
        client = signed_in(cast.alice)
        client.post(f"{PEOPLE}teams/", {"name": "Data"})
        team = Team.objects.get(slug="data")

        client.post(f"{PEOPLE}teams/{team.pk}/add/", {"member": bob.pk})
        assert list(team.members.all()) == [bob]
        assert "mcp-team-data" in client.get(PEOPLE).content.decode()
        client.post(f"{PEOPLE}teams/{team.pk}/remove/", {"member": bob.pk})
        assert not team.members.exists()

    def test_a_bad_name_is_refused_beside_the_field(self, cast, signed_in):
        answer = signed_in(cast.alice).post(f"{PEOPLE}teams/", {"name": "数据"})
        assert answer.status_code == 422
        assert "letter or digit" in answer.content.decode()

    @pytest.mark.parametrize("member", ["", "nobody", "00000000-0000-0000-0000-000000000000"])
    def test_a_member_who_is_none_is_refused(self, cast, signed_in, alice, member):
        team = teams.create(actor=alice, name="Data")
        answer = signed_in(cast.alice).post(f"{PEOPLE}teams/{team.pk}/add/", {"member": member})
        assert answer.status_code in {400, 404}

    def test_a_member_changes_no_team(self, cast, signed_in, alice, bob):
        team = teams.create(actor=alice, name="Data")
        assert signed_in(cast.bob).post(f"{PEOPLE}teams/{team.pk}/add/", {"member": bob.pk}).status_code == 403


class TestInvitationPage:
    @pytest.fixture
    def sent(self, alice):
        return invitations.invite(actor=alice, email="dave@x.example", role=Role.BILLING)

    @pytest.fixture
    def address(self, sent):
        return f"/organisations/invitations/{sent.token}/"

    def test_it_says_what_it_is_and_joins_on_one_click(self, cast, signed_in, address):
        client = signed_in(make_person("Dave", "dave@x.example"))
        page = client.get(address).content.decode()
        assert "Join Acme" in page
        assert "alice@acme.example" in page
        assert "billing" in page

        answer = client.post(address)
        assert answer["Location"] == "/o/acme/"
        assert Membership.objects.get(user__email="dave@x.example").role == Role.BILLING

    def test_the_anonymous_are_asked_to_sign_in_and_come_back(self, cast, client, address):
        page = client.get(address).content.decode()
        assert re.search(r"/accounts/login/\?next=%2Forganisations%2Finvitations%2F", page)
        assert client.post(address).status_code == 200

    def test_a_foreign_account_is_told_whose_it_is_and_joins_nothing(self, cast, signed_in, address):
        client = signed_in(cast.charlie)
        answer = client.get(address)
        assert answer.status_code == 403
        assert "another address" in answer.content.decode()
        assert client.post(address).status_code == 403
        assert not Membership.objects.filter(user=cast.charlie, tenant=cast.acme).exists()

    def test_a_used_and_a_withdrawn_link_say_so(self, cast, signed_in, alice, sent, address):
        invitations.withdraw(actor=alice, invitation_id=sent.invitation.pk)
        answer = signed_in(cast.charlie).get(address)
        assert answer.status_code == 410
        assert "was withdrawn" in answer.content.decode()

    def test_an_unknown_link_is_not_found(self, cast, client):
        answer = client.get("/organisations/invitations/nothing/")
        assert answer.status_code == 404


class TestCreateOrganisation:
    NEW = "/organisations/new/"

    def test_a_newcomer_makes_one_and_lands_in_the_catalog(self, cast, signed_in):
        person = make_person("Eve", "eve@new.example")
        answer = signed_in(person).post(self.NEW, {"name": "Soylent Green", "slug": ""})
        assert answer["Location"] == "/"
        tenant = Tenant.objects.get(slug="soylent-green")
        assert membership_of(person, tenant).role == Role.OWNER
        assert signed_in(person).get("/o/soylent-green/people/").status_code == 200

    def test_it_suggests_a_short_name_while_somebody_types(self, cast, signed_in):
        page = signed_in(cast.bob).get(self.NEW, {"name": "Über & Söhne GmbH"}).content.decode()
        assert 'placeholder="ber-s-hne-gmbh"' in page

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"name": "", "slug": ""}, "This field is required"),
            ({"name": "Acme", "slug": "acme"}, "is taken"),
            ({"name": "Admin", "slug": "admin"}, "is reserved"),
            ({"name": "X", "slug": "Not a slug!"}, "lower-case letters"),
            ({"name": "数据", "slug": ""}, "give one"),
            ({"name": "x" * 201, "slug": "x"}, "at most 200"),
        ],
    )
    def test_a_refusal_stands_beside_its_field(self, cast, signed_in, data, words):
        answer = signed_in(cast.bob).post(self.NEW, data)
        assert answer.status_code == 422
        assert words in answer.content.decode()

    def test_the_anonymous_sign_in_first(self, cast, client):
        assert client.get(self.NEW)["Location"].startswith("/accounts/login/")
