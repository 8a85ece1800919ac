"""SCIM 2.0 as Okta and Entra speak it: people and teams of one organisation, and nothing of any other."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client

from audit.models import AuditEvent
from core import clock
from tenants.choices import Role
from tenants.context import tenant_scope
from tenants.models import APIKey, DirectoryUser, EmailDomain, GroupRule, Membership, ScimToken, Team, User
from tenants.services import api_keys, identity
from tenants.services import settings as flags
from tests.support.cast import PASSWORD

pytestmark = pytest.mark.django_db(transaction=False)
BASE = "/scim/v2/acme/"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERIN = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "erin@acme.example",
    "name": {"givenName": "Erin", "familyName": "Example"},
    "emails": [{"primary": True, "value": "Erin@acme.example", "type": "work"}],
    "externalId": "00u1",
    "active": True,
}


class Directory:
    """What a directory does with its token."""

    def __init__(self, token: str, base: str = BASE) -> None:
        self.client, self.token, self.base = Client(), token, base

    def __call__(self, method: str, path: str, body: object = None, **query: str):
        return self.client.generic(
            method,
            self.base + path,
            json.dumps(body) if body is not None else b"",
            content_type="application/scim+json",
            headers={"authorization": f"Bearer {self.token}"},
            query_params=query,
        )

    def patch(self, path: str, *operations: dict):
        return self("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


def membership(tenant, user) -> Membership:
    return Membership.objects.select_related("tenant", "user").get(tenant=tenant, user=user)


@pytest.fixture
def okta(cast) -> Directory:
    for tenant, domain in ((cast.acme, "acme.example"), (cast.globex, "globex.example")):
        EmailDomain.objects.create(tenant=tenant, domain=domain, token="t", proven_at=clock.now())
    return Directory(identity.issue_token(actor=membership(cast.acme, cast.alice), name="Okta").text)


@pytest.fixture
def erin(okta) -> str:
    """The id of somebody whom the directory made."""
    return okta("POST", "Users", ERIN).json()["id"]


def role_of(cast, email: str) -> str | None:
    found = Membership.objects.filter(tenant=cast.acme, user__email=email).first()
    return found.role if found else None


class TestTokens:
    def test_it_is_shown_once_and_only_a_digest_is_kept(self, cast, signed_in):
        browser = signed_in(cast.alice)
        page = browser.post("/o/acme/settings/identity/", {"action": "issue-token", "name": "Okta"}).content.decode()

        row = ScimToken.objects.get(tenant=cast.acme)
        text = next(word for word in page.replace("<", " ").replace(">", " ").split() if word.startswith("scim_"))
        assert identity.token_of("acme", text) == row
        assert text.encode() not in bytes(row.digest)
        assert text not in browser.get("/o/acme/settings/identity/").content.decode()

    def test_nobody_without_a_live_token_of_the_organisation_gets_in(self, cast, okta):
        assert okta("GET", "Users").status_code == 200
        for wrong in (
            Directory(""),
            Directory("scim_x"),
            Directory(okta.token, "/scim/v2/globex/"),
            Directory(okta.token, "/scim/v2/nowhere/"),
        ):
            answer = wrong("GET", "Users")
            assert (answer.status_code, answer.json()["status"]) == (401, "401")
            assert wrong("POST", "Users", ERIN).status_code == 401
        ScimToken.objects.update(expires_at=clock.now() - timedelta(seconds=1))
        assert okta("GET", "Users").status_code == 401

    def test_a_revoked_one_ends_at_once(self, cast, okta, signed_in):
        row = ScimToken.objects.get(tenant=cast.acme)
        signed_in(cast.alice).post("/o/acme/settings/identity/", {"action": "revoke-token", "id": str(row.pk)})

        assert okta("GET", "Users").status_code == 401

    def test_a_session_is_no_token(self, cast, signed_in):
        assert signed_in(cast.alice).get(f"{BASE}Users").status_code == 401


class TestPeople:
    def test_somebody_is_made_a_member_with_an_account_without_a_password(self, cast, okta):
        answer = okta("POST", "Users", ERIN)

        assert answer.status_code == 201
        found = answer.json()
        assert answer["Location"].endswith(f"/scim/v2/acme/Users/{found['id']}")
        assert (found["userName"], found["active"], found["externalId"]) == ("erin@acme.example", True, "00u1")
        assert found["name"] == {"givenName": "Erin", "familyName": "Example", "formatted": "Erin Example"}
        assert role_of(cast, "erin@acme.example") == Role.MEMBER
        assert not User.objects.get(email="erin@acme.example").has_usable_password()
        assert okta("GET", f"Users/{found['id']}").json() == found
        with tenant_scope(cast.acme):
            event = AuditEvent.objects.get(action="tenants:membership:provisioned")
        assert event.actor_label == "SCIM token Okta"

    def test_twice_is_a_conflict_and_changes_nothing(self, cast, okta, erin):
        answer = okta("POST", "Users", ERIN)

        assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
        assert DirectoryUser.objects.filter(tenant=cast.acme).count() == 1

    def test_a_member_who_is_there_becomes_known_to_it_and_stays_as_they_are(self, cast, okta):
        found = okta("POST", "Users", {**ERIN, "userName": cast.alice.email, "emails": []}).json()

        assert (found["active"], role_of(cast, cast.alice.email)) == (True, Role.OWNER)
        assert User.objects.get(pk=cast.alice.pk).name == "Alice"

    def test_addresses_of_other_domains_are_refused(self, cast, okta):
        for address in (cast.charlie.email, "someone@elsewhere.example", "x@sub.acme.example"):
            answer = okta("POST", "Users", {**ERIN, "userName": address, "emails": [{"value": address}]})
            assert answer.status_code == 400
            assert "proven" in answer.json()["detail"]
        assert not Membership.objects.filter(tenant=cast.acme, user=cast.charlie).exists()

    def test_filters_and_pages(self, cast, okta, erin):
        for number in range(3):
            okta("POST", "Users", {"userName": f"user{number}@acme.example"})

        assert okta("GET", "Users", filter='userName eq "ERIN@acme.example"').json()["Resources"][0]["id"] == erin
        assert okta("GET", "Users", filter='externalId eq "00u1"').json()["totalResults"] == 1
        assert okta("GET", "Users", filter='userName eq "nobody"').json()["totalResults"] == 0
        page = okta("GET", "Users", startIndex="2", count="2").json()
        assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (4, 2, 2)
        assert [each["userName"] for each in page["Resources"]] == ["user0@acme.example", "user1@acme.example"]
        assert okta("GET", "Users", count="0").json()["Resources"] == []

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ('userName co "SER"', ["user0", "user1"]),
            ('userName sw "user" and not (userName sw "user1")', ["user0"]),
            ('userName ew "@acme.example"', ["erin", "user0", "user1"]),
            ('userName eq "user0@acme.example" or userName eq "user1@acme.example" and active eq false', ["user0"]),
            ('(userName sw "user0" or userName sw "user1") and active eq false', []),
            ("externalId pr", ["erin"]),
            ("NOT (externalId PR) And active Eq True", ["user0", "user1"]),
            ('externalId eq "00U1"', []),
            ('externalId ne "00u1"', ["user0", "user1"]),
            ('userName gt "f" and userName lt "user1"', ["user0"]),
            ('userName ge "user0@acme.example" and userName le "user0@acme.example"', ["user0"]),
            ('emails[value sw "user" and not (value co "0")]', ["user1"]),
            ('emails.value eq "ERIN@acme.example"', ["erin"]),
            ('name.givenName pr', ["erin"]),
            ('displayName co "user1"', ["user1"]),
            ('meta.created gt "2020-01-01T00:00:00Z" and meta.lastModified lt "2020-01-01T00:00:00Z"', []),
            ('meta.created gt "2020-01-01T00:00:00+02:00"', ["erin", "user0", "user1"]),
            ('id eq "no id"', []),
            ('id ne "no id"', ["erin", "user0", "user1"]),
            ('urn:ietf:params:scim:schemas:core:2.0:User:userName sw "erin"', ["erin"]),
            (r'displayName eq "a \"quoted\" \u0041"', []),
        ],
    )  # fmt: skip
    def test_filters_say_who_is_meant(self, okta, erin, text, found):
        for number in range(2):
            okta("POST", "Users", {"userName": f"user{number}@acme.example"})
        answer = okta("GET", "Users", filter=text)

        assert answer.status_code == 200, answer.json()
        assert sorted(each["userName"].partition("@")[0] for each in answer.json()["Resources"]) == found

    @pytest.mark.parametrize(
        "bad",
        [
            "userName", 'password eq "x"', 'password pr', "x" * 3000, 'userName like "x"', "userName eq", "userName eq x",
            "userName eq 7", '(userName eq "x"', 'userName eq "x")', 'userName eq "x" userName eq "y"', 'not userName eq "x"',
            'userName eq "x" and', 'or userName eq "x"', 'active gt true', 'active eq "maybe"', 'id co "x"',
            'meta.created eq "yesterday"', 'meta.created gt "2020-01-01T00:00:00"', 'meta.created co "2020-01-01T00:00:00Z"',
            'emails[type eq "work"]', 'emails[value eq "x"', 'emails[emails[value eq "x"]]', 'userName eq "\\x"',
            'userName eq "\\u0000"', 'userName eq "\\ud800"', "(" * 400, "userName pr or " * 60 + "userName pr", "userName pr ;",
        ],
    )  # fmt: skip
    def test_what_is_no_filter_of_ours_is_refused_and_lists_nobody(self, okta, erin, bad):
        answer = okta("GET", "Users", filter=bad)

        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter")
        assert "Resources" not in answer.json()

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "replace", "value": {"active": False}},
            {"op": "Replace", "path": "active", "value": "False"},
            {"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": False},
        ],
        ids=["okta", "entra", "with a schema"],
    )
    def test_deactivating_ends_membership_keys_and_sessions_at_once(
        self, cast, okta, operation, django_capture_on_commit_callbacks
    ):
        bob = okta("POST", "Users", {"userName": cast.bob.email}).json()["id"]
        key = api_keys.issue(tenant=cast.acme, name="Bob's", scopes=["invoke"], actor=cast.bob).key
        browser = Client()
        browser.post("/accounts/login/", {"login": cast.bob.email, "password": PASSWORD})
        assert browser.get("/o/acme/calls/").status_code == 200
        assert UserSession.objects.filter(user=cast.bob).exists()

        with django_capture_on_commit_callbacks(execute=True):
            answer = okta.patch(f"Users/{bob}", operation)

        assert (answer.status_code, answer.json()["active"]) == (200, False)
        assert role_of(cast, cast.bob.email) is None
        assert APIKey.objects.get(pk=key.pk).revoked_at is not None
        assert browser.get("/o/acme/calls/").url.startswith("/accounts/login/")
        assert User.objects.get(pk=cast.bob.pk).is_active
        assert okta.patch(f"Users/{bob}", operation).status_code == 200

        okta.patch(f"Users/{bob}", {"op": "replace", "value": {"active": True}})
        assert role_of(cast, cast.bob.email) == Role.MEMBER

    def test_the_only_owner_is_not_put_out(self, cast, okta):
        alice = okta("POST", "Users", {"userName": cast.alice.email}).json()["id"]

        answer = okta.patch(f"Users/{alice}", {"op": "replace", "value": {"active": False}})

        assert answer.status_code == 409
        assert "only owner" in answer.json()["detail"]
        assert okta("DELETE", f"Users/{alice}").status_code == 409
        assert role_of(cast, cast.alice.email) == Role.OWNER

    def test_a_person_of_several_organisations_is_neither_renamed_nor_closed_by_one(self, cast, okta, erin):
        user = User.objects.get(email="erin@acme.example")
        Membership.objects.create(tenant=cast.globex, user=user, role=Role.ADMIN)

        okta.patch(
            f"Users/{erin}", {"op": "replace", "value": {"userName": "new@acme.example", "displayName": "Mallory"}}
        )
        okta("DELETE", f"Users/{erin}")

        kept = User.objects.get(pk=user.pk)
        assert (kept.email, kept.name, kept.is_active) == ("erin@acme.example", "Erin Example", True)
        assert Membership.objects.get(user=user).tenant_id == cast.globex.pk
        assert okta("GET", f"Users/{erin}").status_code == 404

    def test_put_replaces_and_the_same_again_is_no_event(self, cast, okta, erin):
        changed = {**ERIN, "displayName": "E.", "name": {"givenName": "E"}, "externalId": "00u2"}

        assert okta("PUT", f"Users/{erin}", changed).json()["name"] == {"givenName": "E", "formatted": "E"}
        with tenant_scope(cast.acme):
            before = AuditEvent.objects.count()
        assert okta("PUT", f"Users/{erin}", changed).json()["externalId"] == "00u2"
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.count() == before

    def test_entra_changes_parts_of_names_and_what_is_not_kept_is_taken_and_left(self, okta, erin):
        answer = okta.patch(
            f"Users/{erin}",
            {"op": "Replace", "path": "name.givenName", "value": "Aaron"},
            {"op": "Add", "path": 'emails[type eq "work"].value', "value": "other@acme.example"},
            {
                "op": "Add",
                "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                "value": "R",
            },
            {"op": "Remove", "path": "externalId"},
        )

        found = answer.json()
        assert (found["name"]["givenName"], found["emails"][0]["value"]) == ("Aaron", "erin@acme.example")
        assert "externalId" not in found

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"[]", b"{", b'{"userName": 1}', b'{"userName": "a\\u0000b"}',
            b'{"userName": "a@acme.example", "active": "maybe"}',
        ],
    )  # fmt: skip
    def test_odd_bodies_are_refused(self, okta, body):
        answer = okta.client.generic(
            "POST", f"{BASE}Users", body, "application/json", headers={"authorization": f"Bearer {okta.token}"}
        )

        assert answer.status_code == 400
        assert answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]

    def test_people_of_another_organisation_are_not_there(self, cast, okta, erin):
        other = Directory(
            identity.issue_token(actor=membership(cast.globex, cast.charlie), name="Theirs").text, "/scim/v2/globex/"
        )

        for method in ("GET", "PUT", "PATCH", "DELETE"):
            assert other(method, f"Users/{erin}", ERIN if method != "GET" else None).status_code == 404
        assert other("GET", "Users").json()["totalResults"] == 0
        group = okta("POST", "Groups", {"displayName": "Ours"}).json()["id"]
        assert other("GET", f"Groups/{group}").status_code == 404
        theirs = other("POST", "Groups", {"displayName": "Theirs", "members": [{"value": erin}]})
        assert theirs.status_code == 400


class TestGroups:
    def group(self, okta, *members: str, name: str = "Finance") -> str:
        body = {"displayName": name, "members": [{"value": each} for each in members]}
        return okta("POST", "Groups", body).json()["id"]

    def team(self, cast, slug: str = "finance") -> list[str]:
        team = Team.objects.get(tenant=cast.acme, slug=slug)
        return sorted(member.user.email for member in team.members.select_related("user"))

    def test_a_group_is_a_team(self, cast, okta, erin):
        group = self.group(okta, erin)

        assert self.team(cast) == ["erin@acme.example"]
        found = okta("GET", f"Groups/{group}").json()
        assert [each["value"] for each in found["members"]] == [erin]
        assert "members" not in okta("GET", f"Groups/{group}", excludedAttributes="members").json()
        assert okta("GET", "Groups", filter='displayName eq "finance"').json()["totalResults"] == 1
        assert okta("GET", "Groups", filter='displayName sw "FIN" and externalId pr').json()["totalResults"] == 0
        assert okta("GET", "Groups", filter='members eq "x"').status_code == 400
        assert okta("POST", "Groups", {"displayName": "Finance"}).status_code == 409

    def test_members_come_and_go_as_okta_and_entra_say(self, cast, okta, erin):
        bob = okta("POST", "Users", {"userName": cast.bob.email}).json()["id"]
        group = self.group(okta)
        okta.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": erin}, {"value": bob}]})
        assert len(self.team(cast)) == 2
        okta.patch(f"Groups/{group}", {"op": "Remove", "path": f'members[value eq "{bob}"]'})
        assert self.team(cast) == ["erin@acme.example"]
        okta.patch(f"Groups/{group}", {"op": "Remove", "path": "members", "value": [{"value": erin}]})
        assert self.team(cast) == []
        okta.patch(f"Groups/{group}", {"op": "replace", "path": "members", "value": [{"value": bob}]})
        okta.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": bob}]})
        assert self.team(cast) == [cast.bob.email]

    def test_whom_people_put_into_the_team_stays(self, cast, okta, erin):
        team = Team.objects.create(tenant=cast.acme, name="Finance", slug="finance")
        membership(cast.acme, cast.alice).teams.add(team)
        group = self.group(okta, erin)
        okta("PUT", f"Groups/{group}", {"displayName": "Finance", "members": []})

        assert self.team(cast) == [cast.alice.email]

    def test_renaming_keeps_the_technical_name_and_removing_keeps_the_team(self, cast, okta, erin):
        group = self.group(okta, erin)
        okta.patch(f"Groups/{group}", {"op": "replace", "value": {"id": group, "displayName": "Money"}})
        assert Team.objects.get(tenant=cast.acme, slug="finance").name == "Money"

        assert okta("DELETE", f"Groups/{group}").status_code == 204
        assert self.team(cast) == []
        assert okta("GET", f"Groups/{group}").status_code == 404

    def test_names_of_other_scripts_and_names_that_differ_in_signs_are_groups_of_their_own(self, cast, okta):
        names = ["Sales EU", "Sales-EU", "Продажи", "営業", "x" * 100]

        answers = [okta("POST", "Groups", {"displayName": name}) for name in names]

        assert [answer.status_code for answer in answers] == [201] * len(names)
        teams = Team.objects.filter(tenant=cast.acme)
        assert {team.name for team in teams} == set(names)
        assert len({team.slug for team in teams}) == len(names)
        assert okta("POST", "Groups", {"displayName": "sales eu"}).status_code == 409
        assert okta("POST", "Groups", {"displayName": " "}).status_code == 400

    def test_groups_give_roles_where_a_rule_says_so(self, cast, okta, erin):
        flags.put(
            name="group_based_permissions", value=True, actor=cast.alice, membership=membership(cast.acme, cast.alice)
        )
        GroupRule.objects.create(tenant=cast.acme, group="Finance", role=Role.AUDITOR)
        group = self.group(okta, erin)
        assert role_of(cast, "erin@acme.example") == Role.AUDITOR

        okta("DELETE", f"Groups/{group}")
        assert role_of(cast, "erin@acme.example") == Role.MEMBER


class TestDocuments:
    def test_what_a_directory_asks_first(self, okta):
        config = okta("GET", "ServiceProviderConfig").json()
        assert (config["patch"]["supported"], config["bulk"]["supported"]) == (True, False)
        assert [each["id"] for each in okta("GET", "ResourceTypes").json()["Resources"]] == ["User", "Group"]
        schemas = okta("GET", "Schemas").json()["Resources"]
        for each in schemas:
            assert okta("GET", f"Schemas/{each['id']}").json() == each
        assert okta("GET", "Schemas/urn:nothing").status_code == 404
        assert okta("POST", "Schemas", {}).status_code == 405
        assert okta("GET", "Users")["Content-Type"] == "application/scim+json"
