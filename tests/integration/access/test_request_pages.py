"""The pages of requests: asking, deciding, the link of a mail, rules and reviews."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import mail

from access.models import Absence, AccessRequest, ApprovalRule, Campaign, Grant
from access.requests import links
from core import clock
from notifications import services as notifications
from notifications.models import Notification
from tests.integration.access.conftest import browser_of
from tests.integration.access.requesting import approve, ask, join, within

LIST, NEW = "/o/acme/requests/", "/o/acme/access/request/"


def form(cast, **changes):
    return {
        "tools": ["list_invoices"],
        "subject": f"user:{cast.bob.pk}",
        "agent": "",
        "duration_h": "720",
        "reason": "Month end",
        "trust": "",
        "effect": "",
    } | changes


def the_request(cast) -> AccessRequest:
    with within(cast):
        return AccessRequest.objects.get()


def grants(cast) -> list[Grant]:
    with within(cast):
        return list(Grant.objects.all())


@pytest.fixture
def asked(cast) -> AccessRequest:
    with within(cast):
        return ask(cast)


def page_of(request) -> str:
    return f"{LIST}{request.pk}/"


def decision(request, act="approve", **changes):
    return {
        "act": act,
        "digest": request.digest,
        "tools": request.tool_names,
        "max_trust": request.max_trust,
        "side_effects": request.side_effects,
        "duration_h": request.duration_h,
        "comment": "",
    } | changes


class TestAsking:
    def test_the_form_says_who_publishes_what_each_tool_needs_and_what_would_be_possible(self, bob, cast):
        page = bob.get(f"{NEW}?server=payments&tool=refund_invoice").content.decode()

        for words in ("Initech", "refund_invoice", "High trust", "What would be possible", "Owners and admins"):
            assert words in page
        outlook = page[page.index("What would be possible") :]
        assert "Not asked for" in outlook
        assert "Allowed" in outlook

    def test_asking_leads_to_the_request(self, bob, cast):
        answer = bob.post(f"{NEW}?server=payments", form(cast))

        request = the_request(cast)
        assert answer.headers["Location"] == page_of(request)
        assert "Waits for approval" in bob.get(page_of(request)).content.decode()

    def test_the_link_of_a_denied_call_fills_the_form(self, bob, cast):
        page = bob.get(
            f"{NEW}?server=payments&tool=refund_invoice&trust=high&effect=destructive&agent=clerk"
        ).content.decode()

        [tool] = [part for part in page.split("<input") if 'name="tools" value="refund_invoice"' in part]
        assert "checked" in tool.split(">")[0]
        assert 'value="clerk"' in page
        bob.post(
            f"{NEW}?server=payments&tool=refund_invoice",
            form(cast, tools=["refund_invoice"], subject="", agent="clerk", trust="high", effect="destructive"),
        )
        request = the_request(cast)
        assert (request.subject_agent, request.max_trust, request.origin) == ("clerk", "high", "call")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"reason": ""}, "required"),
            ({"subject": ""}, "one of the two"),
            ({"tools": ["no_such"]}, "not one of the available choices"),
            ({"duration_h": "5"}, "not one of the available choices"),
        ],
    )
    def test_bad_input_is_named(self, bob, cast, changes, words):
        answer = bob.post(f"{NEW}?server=payments", form(cast, **changes))

        assert answer.status_code == 200
        assert words in answer.content.decode()

    def test_a_colleague_cannot_be_chosen_by_a_member(self, bob, cast):
        answer = bob.post(f"{NEW}?server=payments", form(cast, subject=f"user:{cast.alice.pk}"))

        assert "not one of the available choices" in answer.content.decode()

    def test_the_same_twice_leads_to_the_first(self, bob, cast, asked):
        answer = bob.post(f"{NEW}?server=payments", form(cast, duration_h="24"))

        assert answer.headers["Location"] == page_of(asked)

    def test_a_server_that_is_not_for_these_eyes_is_not_found(self, charlie):
        assert charlie.get("/o/globex/access/request/?server=vault").status_code == 404

    def test_without_a_server_one_is_chosen(self, bob, cast):
        assert "?server=payments" in bob.get(NEW).content.decode()

    def test_the_page_of_the_server_leads_here(self, bob, cast):
        page = bob.get("/servers/payments/").content.decode()

        assert f"{NEW}?server=payments" in page


class TestTheList:
    def test_each_sees_what_is_theirs(self, alice, bob, cast, asked):
        assert "Month end" in alice.get(LIST).content.decode()
        assert "Month end" in bob.get(LIST).content.decode()
        dave = browser_of(join(cast.acme, "dave", "member").user)
        assert "Month end" not in dave.get(f"{LIST}?show=all").content.decode()
        assert dave.get(page_of(asked)).status_code == 404

    def test_the_navigation_counts_what_waits_for_one(self, alice, bob, asked):
        assert 'aria-label="1 waiting"' in alice.get(LIST).content.decode()
        assert "waiting" not in bob.get(LIST).content.decode()

    def test_others_do_not_get_in(self, charlie, asked):
        assert charlie.get(page_of(asked)).status_code == 404
        assert charlie.get(f"/o/globex/requests/{asked.pk}/").status_code == 404


class TestDeciding:
    def test_an_approval_gives_the_access(self, alice, bob, cast, asked):
        answer = alice.post(page_of(asked), decision(asked))

        assert answer.status_code == 302
        [grant] = grants(cast)
        assert grant.request_id == asked.pk
        page = bob.get(page_of(asked)).content.decode()
        assert "Approved" in page
        assert "Holds until" in page

    def test_less_is_what_the_form_says(self, alice, cast):
        with within(cast):
            asked = ask(cast, tools=("list_invoices", "refund_invoice"))

        alice.post(
            page_of(asked),
            decision(asked, tools=["list_invoices"], max_trust="low", side_effects=["read"], duration_h="1"),
        )

        [grant] = grants(cast)
        assert (grant.tools, grant.max_trust) == (["list_invoices"], "low")

    def test_none_of_several_tools_is_no_approval_of_all(self, alice, cast, asked):
        page = alice.post(page_of(asked), decision(asked, tools=[])).content.decode()

        assert "required" in page
        assert grants(cast) == []

    @pytest.mark.parametrize("act", ["reject", "ask"])
    def test_rejecting_and_asking_back_need_words(self, alice, asked, act):
        page = alice.post(page_of(asked), decision(asked, act)).content.decode()

        assert "Say why" in page or "Write what you want to know" in page

    def test_the_requester_is_told_that_another_person_decides(self, alice, cast):
        with within(cast):
            member = cast.acme.memberships.select_related("tenant", "user").get(user=cast.alice)
            own = ask(cast, by=member, user=str(cast.alice.pk))

        page = alice.get(page_of(own)).content.decode()
        assert "Your decision" not in page
        refused = alice.post(page_of(own), decision(own)).content.decode()
        assert "Another person has to decide" in refused
        assert grants(cast) == []

    def test_asking_back_answering_changing_and_withdrawing(self, alice, bob, cast, asked):
        alice.post(page_of(asked), decision(asked, "ask", comment="Which month?"))
        assert "Which month?" in bob.get(page_of(asked)).content.decode()
        bob.post(page_of(asked), {"act": "answer", "comment": "October"})
        bob.post(f"{page_of(asked)}change/", form(cast, reason="October only"))
        assert the_request(cast).version == 2
        bob.post(page_of(asked), {"act": "withdraw"})
        assert the_request(cast).state == "withdrawn"

    def test_what_was_changed_meanwhile_is_not_approved(self, alice, bob, cast, asked):
        bob.post(f"{page_of(asked)}change/", form(cast, reason="Something else"))

        page = alice.post(page_of(asked), decision(asked)).content.decode()

        assert "changed after you opened it" in page
        assert grants(cast) == []

    def test_nobody_else_changes_it(self, alice, asked, cast):
        assert alice.get(f"{page_of(asked)}change/").status_code == 404

    def test_an_unknown_act_does_nothing(self, alice, asked):
        assert "cannot do that" in alice.post(page_of(asked), {"act": "bribe"}).content.decode()


class TestTheLinkOfAMail:
    def link(self, cast, person) -> str:
        with within(cast):
            notifications.send_waiting()
        [sent] = [each for each in mail.outbox if each.to == [person.email]]
        [path] = re.findall(r"https?://[^/]+(/o/acme/requests/by-mail/\S+)", sent.body)
        return path

    def test_looking_changes_nothing_and_one_button_decides_once(self, alice, cast, asked):
        path = self.link(cast, cast.alice)

        assert "Approve access to Payments?" in alice.get(path).content.decode()
        assert the_request(cast).state == "open"
        assert alice.post(path, {"act": "approve"}).status_code == 302
        assert len(grants(cast)) == 1
        assert alice.get(path).status_code == 410
        assert alice.post(path, {"act": "approve"}).status_code == 409
        assert len(grants(cast)) == 1

    def test_it_is_for_one_person_who_signs_in(self, alice, bob, client, cast, asked):
        path = self.link(cast, cast.alice)

        assert bob.get(path).status_code == 404
        assert bob.post(path, {"act": "approve"}).status_code == 404
        assert client.get(path).status_code == 302
        assert grants(cast) == []

    def test_a_rejection_without_a_word_leaves_the_link_as_it_was(self, alice, cast, asked):
        path = self.link(cast, cast.alice)

        assert alice.post(path, {"act": "reject"}).status_code == 400
        assert alice.post(path, {"act": "reject", "comment": "Not now"}).status_code == 302
        assert the_request(cast).state == "rejected"

    def test_an_approver_who_lost_the_right_meanwhile_does_not_decide_with_it(self, alice, cast, asked):
        path = self.link(cast, cast.alice)
        cast.acme.memberships.filter(user=cast.alice).update(role="member")

        assert alice.post(path, {"act": "approve"}).status_code == 403
        assert grants(cast) == []

    def test_the_mail_has_a_page_as_well_as_text_and_forgets_the_link_once_it_is_sent(self, cast, asked):
        self.link(cast, cast.alice)

        [sent] = [each for each in mail.outbox if each.to == [cast.alice.email]]
        [(page, kind)] = [(each.content, each.mimetype) for each in sent.alternatives]
        assert kind == "text/html"
        assert "Month end" in page
        with within(cast):
            kept = Notification.objects.filter(email=cast.alice.email, kind="access.request_opened")
            assert [note.url for note in kept] == [""]

    def test_the_token_is_nowhere_in_the_database(self, cast, asked):
        with within(cast):
            token = links.mint(asked, cast.alice.pk)
            kept = links.opened(token, cast.alice).link
        assert token.encode() not in bytes(kept.token_digest)
        assert len(kept.token_digest) == 32


class TestRulesAbsencesAndReviews:
    def test_a_rule_is_added_and_removed_by_those_who_manage_access(self, alice, bob, cast):
        rule = {
            "name": "Destructive",
            "server": "payments",
            "min_trust": "high",
            "side_effect": "destructive",
            "first": ["owners", f"user:{cast.bob.pk}"],
            "target_h": "8",
            "escalate_h": "12",
        }
        assert bob.post(f"{LIST}rules/", rule).status_code == 403
        assert alice.post(f"{LIST}rules/", rule).status_code == 302
        page = bob.get(f"{LIST}rules/").content.decode()
        assert "Owners or bob@acme.example" in page
        with within(cast):
            [made] = ApprovalRule.objects.all()
        assert bob.post(f"{LIST}rules/{made.pk}/remove/").status_code == 403
        alice.post(f"{LIST}rules/{made.pk}/remove/")
        with within(cast):
            assert not ApprovalRule.objects.exists()

    def test_anybody_may_be_away(self, bob, cast):
        day = (clock.now() + timedelta(days=3)).date().isoformat()
        bob.post(f"{LIST}away/", {"deputy": str(cast.alice.pk), "until": day})
        assert "alice@acme.example can decide instead of you" in bob.get(f"{LIST}rules/").content.decode()
        bob.post(f"{LIST}away/", {"back": "1"})
        with within(cast):
            assert not Absence.objects.exists()

    def test_a_review_is_begun_and_decided(self, alice, cast, asked):
        with within(cast):
            approve(cast, asked)
        day = (clock.now() + timedelta(days=3)).date().isoformat()
        alice.post(f"{LIST}reviews/", {"name": "Autumn", "due_at": day})
        with within(cast):
            campaign = Campaign.objects.get()
            item = campaign.items.get()
        page = f"{LIST}reviews/{campaign.pk}/"
        assert "bob@acme.example" in alice.get(page).content.decode()
        alice.post(page, {"item": item.pk, "act": "revoke"})
        assert [grant.state for grant in grants(cast)] == ["revoked"]

    def test_what_is_not_used_is_let_go_of(self, alice, cast, asked):
        with within(cast):
            approve(cast, asked)
            Grant.objects.update(created_at=clock.now() - timedelta(days=40))
        assert "Not called in 30 days" in alice.get(f"{LIST}reviews/").content.decode()
        [grant] = grants(cast)
        alice.post(f"/o/acme/access/{grant.pk}/shrink/")
        assert [grant.state for grant in grants(cast)] == ["revoked"]

    def test_renewing_is_one_question(self, bob, cast, asked):
        with within(cast):
            approve(cast, asked)
        [grant] = grants(cast)
        path = f"/o/acme/access/{grant.pk}/renew/"
        assert "Ask for the same access again?" in bob.get(path).content.decode()
        bob.post(path)
        with within(cast):
            assert AccessRequest.objects.filter(renews_id=grant.pk, state="open").count() == 1


class TestProviders:
    """A restricted server of another organisation: its owner decides as well, and sees what the request says."""

    @pytest.fixture
    def restricted(self, cast, asked):
        from tenants.context import platform_scope

        with platform_scope():
            cast.payments.badge = "restricted"
            cast.payments.save()
        with within(cast):
            return ask(cast, tools=("refund_invoice",), reason="Refunds of October")

    def test_the_owner_decides_after_the_organisation(self, alice, cast, restricted):
        diana = browser_of(cast.diana)
        there = f"/o/initech/requests/provider/{restricted.pk}/"
        assert diana.get(there).status_code == 404
        alice.post(page_of(restricted), decision(restricted))
        assert grants(cast) == []

        page = diana.get(there).content.decode()
        assert "Refunds of October" in page
        assert "Acme" in page
        assert "alice@acme.example" not in page
        diana.post(there, {"act": "approve", "digest": restricted.digest})

        [grant] = grants(cast)
        assert grant.request_id == restricted.pk
        assert "Approved by diana@initech.example" in diana.get(there).content.decode()

    def test_its_rejection_ends_the_request(self, alice, cast, restricted):
        alice.post(page_of(restricted), decision(restricted))
        diana = browser_of(cast.diana)
        there = f"/o/initech/requests/provider/{restricted.pk}/"
        diana.post(there, {"act": "reject", "digest": restricted.digest, "comment": "Not for this"})

        assert "Not for this" in alice.get(page_of(restricted)).content.decode()
        with within(cast):
            assert AccessRequest.objects.get(pk=restricted.pk).state == "rejected"

    def test_nobody_else_sees_it(self, charlie, alice, restricted):
        alice.post(page_of(restricted), decision(restricted))

        assert charlie.get(f"/o/globex/requests/provider/{restricted.pk}/").status_code == 404
        assert charlie.get(f"/o/initech/requests/provider/{restricted.pk}/").status_code == 404
