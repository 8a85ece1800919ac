"""Requests by the API, and in the operators' admin: the same services, the same eyes."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.messages import get_messages
from django.test import Client

from access.models import AccessRequest, Grant
from tenants.choices import Role, Scope
from tenants.models import Membership, Team
from tenants.services import api_keys
from tests.integration.access.requesting import ask, within
from tests.support.operators import elevate

PATH = "/api/v1/access-requests/"


class Caller:
    """A program with a key of somebody."""

    def __init__(self, tenant, user, scopes=(Scope.ADMIN,)) -> None:
        self.key = api_keys.issue(tenant=tenant, name="program", scopes=list(scopes), actor=user).text

    def get(self, path=PATH, **query):
        return Client().get(path, query, headers={"Authorization": f"Bearer {self.key}"})

    def post(self, body, path=PATH):
        return Client().post(
            path, body, content_type="application/json", headers={"Authorization": f"Bearer {self.key}"}
        )


@pytest.fixture
def bobs(cast):
    return Caller(cast.acme, cast.bob)


@pytest.fixture
def alices(cast):
    return Caller(cast.acme, cast.alice)


def wish(**changes):
    return {"server": "payments", "tools": ["list_invoices"], "reason": "Month end", "duration_h": 24} | changes


class TestTheAPI:
    def test_asked_by_one_and_approved_by_another(self, cast, bobs, alices):
        made = bobs.post(wish()).json()
        assert (made["state"], made["requester_label"], made["subject_user"]) == (
            "open",
            "bob@acme.example",
            str(cast.bob.pk),
        )

        done = alices.post({"act": "approve", "digest": made["digest"]}, f"{PATH}{made['id']}/")

        assert done.status_code == 200
        assert done.json()["state"] == "approved"
        with within(cast):
            assert str(Grant.objects.get().pk) == done.json()["grant_id"]
        assert [event["kind"] for event in done.json()["events"]] == ["given", "approved", "opened"]

    def test_a_key_and_a_team_are_called_by_their_names(self, cast, alices):
        key = api_keys.issue(tenant=cast.acme, name="Night shift", scopes=[Scope.INVOKE], actor=cast.bob).key
        team = Team.objects.create(tenant=cast.acme, name="Finance", slug="finance")

        assert alices.post(wish(key=str(key.pk))).json()["subject_label"] == "Night shift"
        assert alices.post(wish(team=str(team.pk))).json()["subject_label"] == "Finance"
        assert alices.post(wish(team="none")).status_code == 400

    def test_less_can_be_approved(self, cast, bobs, alices):
        made = bobs.post(wish(tools=[])).json()
        terms = {"tools": ["list_invoices"], "max_trust": "low", "side_effects": ["read"], "duration_h": 1}

        alices.post({"act": "approve", "digest": made["digest"], "terms": terms}, f"{PATH}{made['id']}/")

        with within(cast):
            assert Grant.objects.get().tools == ["list_invoices"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"act": "approve", "digest": "0" * 64}, 409),
            ({"act": "approve"}, 400),
            ({"act": "reject", "digest": "the right one", "comment": ""}, 400),
            ({"act": "bribe"}, 400),
            ({"act": "withdraw"}, 403),
            ({"act": "answer", "comment": "October"}, 403),
            ([], 400),
        ],
    )
    def test_what_cannot_be_done_is_said(self, cast, bobs, alices, body, status):
        made = bobs.post(wish()).json()
        if isinstance(body, dict) and body.get("digest") == "the right one":
            body = body | {"digest": made["digest"]}

        answer = alices.post(body, f"{PATH}{made['id']}/")

        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith("application/problem+json")

    def test_nobody_approves_their_own_with_whatever_key(self, cast, alices):
        made = alices.post(wish(agent="clerk")).json()

        answer = alices.post({"act": "approve", "digest": made["digest"]}, f"{PATH}{made['id']}/")

        assert (answer.status_code, answer.json()["code"]) == (403, "access.four_eyes")

    @pytest.mark.parametrize(
        "change",
        [{"server": "vault-of-others"}, {"tools": ["none"]}, {"reason": ""}, {"duration_h": 0}, {"trust": "boundless"}],
    )
    def test_a_bad_wish_is_refused(self, cast, bobs, change):
        assert bobs.post(wish(**change)).status_code in {400, 404}
        with within(cast):
            assert not AccessRequest.objects.exists()

    def test_each_reads_what_is_theirs(self, cast, bobs, alices):
        bobs.post(wish())

        assert len(alices.get().json()["requests"]) == 1
        assert alices.get(state="approved").json()["requests"] == []
        assert alices.get(state="lost").status_code == 400
        charlies = Caller(cast.globex, cast.charlie)
        assert charlies.get().json()["requests"] == []

    def test_a_key_without_a_member_decides_nothing(self, cast, bobs, alices):
        made = bobs.post(wish()).json()
        Membership.objects.filter(tenant=cast.acme, user=cast.alice).delete()

        assert alices.post({"act": "approve", "digest": made["digest"]}, f"{PATH}{made['id']}/").status_code == 403


class TestTheAdmin:
    @pytest.fixture
    def olga(self, cast):
        browser = Client()
        browser.force_login(cast.olga)
        Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "planted"})
        elevate(browser, cast.olga, cast.acme)
        return browser

    def decide(self, browser, request):
        data = {"action": "approve", "_selected_action": [str(request.pk)]}
        answer = browser.post("/admin/access/accessrequest/", data)
        assert answer.status_code == 302
        return [str(message) for message in get_messages(answer.wsgi_request)]

    def test_an_operator_who_is_no_approver_there_approves_nothing(self, cast, olga):
        with within(cast):
            request = ask(cast)

        assert "others to decide" in self.decide(olga, request)[0]
        with within(cast):
            assert not Grant.objects.exists()

    def test_one_who_is_an_approver_there_decides_by_the_same_service(self, cast, olga):
        Membership.objects.create(tenant=cast.acme, user=cast.olga, role=Role.ADMIN)
        with within(cast):
            request = ask(cast)

        assert "approved" in self.decide(olga, request)[0]
        with within(cast):
            assert Grant.objects.get().granted_by_id == cast.olga.pk

    def test_but_not_about_what_they_asked_for(self, cast, olga):
        member = Membership.objects.create(tenant=cast.acme, user=cast.olga, role=Role.ADMIN)
        with within(cast):
            request = ask(cast, by=member, user=str(cast.olga.pk))

        assert "Another person has to decide" in self.decide(olga, request)[0]
        with within(cast):
            assert not Grant.objects.exists()
