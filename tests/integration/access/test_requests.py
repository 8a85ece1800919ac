"""From a wish to a grant: who may ask, who decides, and what comes of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from access import selectors as access
from access import tasks
from access.models import AccessRequest, Campaign, CampaignItem, Grant, RequestState
from access.requests import absences, approval_rules, campaigns, deciding, links, opening, selectors, upkeep
from access.requests.events import open_terms
from access.requests.rules import Terms
from access.services import grants
from audit.models import AuditEvent
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError, LimitReachedError, NotFoundError
from notifications.models import Notification, WebhookDelivery
from tenants.choices import Role
from tenants.services import api_keys, teams, webhooks
from tests.integration.access.requesting import approve, ask, join, member, wish, within


@pytest.fixture
def acme(cast):
    """Inside acme, with carol as a second admin."""
    join(cast.acme, "carol")
    with within(cast):
        yield cast


def carol(cast):
    return cast.acme.memberships.select_related("user").get(user__email="carol@acme.example").user


class TestAsking:
    def test_trust_and_side_effects_follow_from_the_tools(self, acme):
        small, large = ask(acme), ask(acme, tools=("list_invoices", "refund_invoice"))

        assert (small.max_trust, small.side_effects) == ("low", ["read"])
        assert (large.max_trust, large.side_effects) == ("high", ["destructive", "read"])

    def test_no_tool_means_every_tool_and_what_the_most_demanding_needs(self, acme):
        request = ask(acme, tools=())

        assert (request.tools, request.max_trust) == ([], "high")

    def test_everybody_who_may_decide_is_told_on_the_web_and_by_mail_and_the_requester_is_not(self, acme):
        ask(acme)

        told = Notification.objects.filter(kind="access.request_opened")
        assert set(told.exclude(email="").values_list("email", flat=True)) == {
            "alice@acme.example",
            "carol@acme.example",
        }
        assert set(told.exclude(recipient_id=None).values_list("recipient_id", flat=True)) == {
            acme.alice.pk,
            carol(acme).pk,
        }

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"tools": ("no_such_tool",)}, "access.tool_unknown"),
            ({"reason": "  "}, "access.reason_missing"),
            ({"reason": "x" * 1001}, "access.reason_long"),
            ({"duration_h": 0}, "access.duration_out_of_range"),
            ({"duration_h": 24 * 367}, "access.duration_out_of_range"),
            ({"user": ""}, "access.subject_missing"),
            ({"user": "", "key": "no id"}, "access.subject_unknown"),
            ({"trust": "low", "effect": "everything"}, "access.side_effect_unknown"),
        ],
    )
    def test_what_cannot_be_asked_is_named(self, acme, changes, code):
        with pytest.raises(InvalidError) as refused:
            ask(acme, **changes)

        assert refused.value.error_code == code
        assert AccessRequest.objects.count() == 0

    def test_a_member_does_not_ask_for_a_colleague_nor_for_a_stranger(self, acme):
        for person in (acme.alice, acme.charlie):
            with pytest.raises(InvalidError):
                ask(acme, user=str(person.pk))

    def test_the_same_twice_leads_to_the_one_that_waits(self, acme):
        first = ask(acme)

        with pytest.raises(ConflictError) as refused:
            ask(acme)

        assert refused.value.data["request_id"] == str(first.pk)

    def test_nobody_floods_the_approvers(self, acme, monkeypatch):
        monkeypatch.setattr(opening, "UNDECIDED_MAX", 1)
        ask(acme)

        with pytest.raises(LimitReachedError):
            ask(acme, tools=())


class TestDeciding:
    def test_an_approval_gives_exactly_what_was_asked_for_exactly_as_long(self, acme):
        moment = clock.now()
        with clock.frozen(moment):
            request = approve(acme, ask(acme))

        grant = Grant.objects.get(pk=request.grant_id)
        assert request.state == RequestState.APPROVED
        assert (grant.tools, grant.max_trust, grant.side_effects) == (["list_invoices"], "low", ["read"])
        assert (grant.subject_user, grant.expires_at) == (str(acme.bob.pk), moment + timedelta(hours=24))
        assert (grant.origin, grant.request_id) == ("request", request.pk)

    def test_less_can_be_approved_and_for_a_shorter_time(self, acme):
        request = ask(acme, tools=("list_invoices", "refund_invoice"))

        request = approve(acme, request, terms=Terms.of(["list_invoices"], "low", ["read"], 2))

        grant = Grant.objects.get(pk=request.grant_id)
        assert (grant.tools, grant.max_trust) == (["list_invoices"], "low")
        assert grant.expires_at < clock.now() + timedelta(hours=3)

    @pytest.mark.parametrize(
        "terms",
        [
            Terms.of([], "low", ["read"], 24),
            Terms.of(["refund_invoice"], "low", ["read"], 24),
            Terms.of(["list_invoices"], "medium", ["read"], 24),
            Terms.of(["list_invoices"], "low", ["read", "write"], 24),
            Terms.of(["list_invoices"], "low", ["read"], 25),
        ],
    )
    def test_more_than_was_asked_cannot_be_approved(self, acme, terms):
        request = ask(acme)

        with pytest.raises(InvalidError) as refused:
            approve(acme, request, terms=terms)

        assert refused.value.error_code == "access.more_than_asked"
        assert Grant.objects.count() == 0

    def test_a_session_is_opened_when_one_was_asked_for(self, acme):
        request = approve(acme, ask(acme, wants_session=True))

        session = access.list_sessions().get(pk=request.session_id)
        assert (session.consented_trust, session.origin) == ("low", "request")

    def test_a_rejection_says_why_and_gives_nothing(self, acme):
        request = ask(acme)
        with pytest.raises(InvalidError):
            deciding.reject(
                tenant=acme.acme, user=acme.alice, request_id=request.pk, digest=request.digest, comment=" "
            )

        deciding.reject(
            tenant=acme.acme, user=acme.alice, request_id=request.pk, digest=request.digest, comment="Use staging"
        )

        [mail] = Notification.objects.filter(kind="access.request_rejected").exclude(email="")
        assert (mail.email, "Use staging" in mail.body) == ("bob@acme.example", True)
        assert Grant.objects.count() == 0

    def test_a_question_goes_back_and_its_answer_to_the_approvers(self, acme):
        request = ask(acme)

        deciding.ask_back(
            tenant=acme.acme, user=acme.alice, request_id=request.pk, digest=request.digest, comment="Which month?"
        )
        opening.answer(actor=member(acme.acme, acme.bob), request_id=request.pk, comment="October")

        request.refresh_from_db()
        assert request.state == RequestState.OPEN
        assert [event.kind for event in selectors.story(request)] == ["answered", "asked", "opened"]
        approve(acme, request)

    def test_what_was_changed_after_it_was_read_is_not_approved(self, acme):
        request = ask(acme)
        opening.edit(
            actor=member(acme.acme, acme.bob),
            request_id=request.pk,
            server=acme.payments,
            ask=wish(acme, tools=("refund_invoice",)),
        )

        with pytest.raises(ConflictError) as refused:
            approve(acme, request)

        assert refused.value.error_code == "access.request_changed"

    def test_a_decided_request_stays_decided(self, acme):
        request = approve(acme, ask(acme))

        for again in (
            lambda: approve(acme, request, carol(acme)),
            lambda: opening.withdraw(actor=member(acme.acme, acme.bob), request_id=request.pk),
        ):
            with pytest.raises(ConflictError):
                again()
        assert Grant.objects.count() == 1

    def test_a_tool_that_changed_since_then_has_to_be_asked_for_again(self, acme):
        request = ask(acme)
        changed = [{**tool, "definition": "another"} for tool in request.tools]
        request.tools, request.digest, request.version = changed, "0" * 64, 2
        request.save()

        with pytest.raises(ConflictError) as refused:
            approve(acme, request)

        assert refused.value.error_code == "access.tool_changed"
        assert Grant.objects.count() == 0

    def test_everything_is_in_the_audit_log(self, acme):
        approve(acme, ask(acme))

        actions = list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))
        assert actions[-3:] == ["access:request:opened", "access:request:approved", "access:grant:given"]


class TestFourEyes:
    def test_the_requester_never_approves_whatever_the_role(self, acme):
        request = ask(acme, by=member(acme.acme, acme.alice), user=str(acme.alice.pk))

        with pytest.raises(ForbiddenError) as refused:
            approve(acme, request)

        assert refused.value.error_code == "access.four_eyes"
        assert acme.alice.pk not in request.deciders

    def test_nor_does_anybody_whom_the_right_would_be_for(self, acme):
        key = api_keys.issue(tenant=acme.acme, name="hers", scopes=["invoke"], actor=acme.alice, agent="clerk").key
        owner = member(acme.acme, acme.alice)
        team = teams.create(actor=owner, name="Desk")
        teams.add(actor=owner, team_id=team.pk, membership_id=owner.pk)
        asker = member(acme.acme, carol(acme))
        for subject in ({"key": str(key.pk)}, {"team": str(team.pk)}, {"user": str(acme.alice.pk)}):
            request = ask(acme, by=asker, **({"user": ""} | subject))

            with pytest.raises(ForbiddenError) as refused:
                approve(acme, request)

            assert refused.value.error_code == "access.four_eyes"

    def test_nor_does_one_who_joined_the_team_after_the_request(self, acme):
        owner = member(acme.acme, acme.alice)
        team = teams.create(actor=owner, name="Desk")
        teams.add(actor=owner, team_id=team.pk, membership_id=member(acme.acme, acme.bob).pk)
        request = ask(acme, user="", team=str(team.pk))
        teams.add(actor=owner, team_id=team.pk, membership_id=owner.pk)

        with pytest.raises(ForbiddenError):
            approve(acme, request)

    def test_an_agent_is_nobody_in_particular(self, acme):
        api_keys.issue(tenant=acme.acme, name="its", scopes=["invoke"], actor=acme.alice, agent="clerk")

        assert approve(acme, ask(acme, user="", agent="clerk")).state == "approved"

    def test_a_member_without_the_right_and_a_stranger_do_not(self, acme):
        request = ask(acme, by=member(acme.acme, acme.alice), user=str(acme.alice.pk))

        for person in (acme.bob, acme.charlie, acme.olga):
            with pytest.raises(ForbiddenError):
                approve(acme, request, person)

    def test_an_approver_who_lost_the_right_does_not(self, acme):
        request = ask(acme)
        acme.acme.memberships.filter(user=acme.alice).update(role=Role.MEMBER)

        with pytest.raises(ForbiddenError):
            approve(acme, request)


class TestRoutes:
    def rule(self, acme, stages, **more):
        wanted = approval_rules.Wanted(name="Two steps", stages=stages, **more)
        return approval_rules.add(actor=member(acme.acme, acme.alice), wanted=wanted)

    def test_steps_are_decided_in_their_order_by_different_people(self, acme):
        self.rule(acme, [["managers"], [f"user:{carol(acme).pk}", f"user:{acme.alice.pk}"]])
        request = approve(acme, ask(acme))

        assert (request.state, request.stage) == ("open", 1)
        with pytest.raises(ForbiddenError):
            approve(acme, request)
        assert approve(acme, request, carol(acme)).state == "approved"

    def test_a_later_step_sees_what_an_earlier_one_left_and_can_only_take_away(self, acme):
        self.rule(acme, [["managers"], ["managers"]])
        request = approve(acme, ask(acme), terms=Terms.of(["list_invoices"], "low", ["read"], 3))

        assert open_terms(request).duration_h == 3
        with pytest.raises(InvalidError):
            approve(acme, request, carol(acme), terms=Terms.of(["list_invoices"], "low", ["read"], 4))
        approve(acme, request, carol(acme))
        assert Grant.objects.get().expires_at < clock.now() + timedelta(hours=4)

    def test_an_edit_voids_the_approvals_that_were_given(self, acme):
        self.rule(acme, [["managers"], ["managers"]])
        request = approve(acme, ask(acme))
        opening.edit(
            actor=member(acme.acme, acme.bob),
            request_id=request.pk,
            server=acme.payments,
            ask=wish(acme, tools=("refund_invoice",)),
        )
        request.refresh_from_db()

        assert request.stage == 0
        approve(acme, request, carol(acme))
        assert Grant.objects.count() == 0

    def test_a_rule_holds_for_what_it_says(self, acme):
        self.rule(acme, [["owners"]], min_trust="high", side_effect="destructive")

        assert ask(acme).route[0]["any_of"] == ["managers"]
        assert ask(acme, tools=("refund_invoice",)).route[0]["any_of"] == ["owners"]

    def test_the_team_that_owns_a_server_decides_about_it(self, acme):
        owner = member(acme.acme, acme.alice)
        team = teams.create(actor=owner, name="Vault keepers")
        keeper = join(acme.acme, "dave", Role.MEMBER)
        teams.add(actor=owner, team_id=team.pk, membership_id=keeper.pk)
        acme.vault.owner_team = team
        acme.vault.save()

        request = ask(acme, server=acme.vault)

        assert keeper.user_id in request.deciders
        assert approve(acme, request, keeper.user).state == "approved"

    @pytest.mark.parametrize("stages", [[], [[]], [["nobody"]], [["user:no-id"]], [["managers"]] * 6])
    def test_a_rule_that_nobody_could_follow_is_refused(self, acme, stages):
        with pytest.raises(InvalidError):
            self.rule(acme, stages)

    def test_a_deputy_decides_as_long_as_somebody_is_away(self, acme):
        self.rule(acme, [["owners"]])
        request = ask(acme)
        away = member(acme.acme, acme.alice)
        absences.leave(actor=away, deputy=member(acme.acme, carol(acme)), until=clock.now() + timedelta(days=1))

        with clock.frozen(clock.now() + timedelta(days=2)), pytest.raises(ForbiddenError):
            approve(acme, request, carol(acme))
        approve(acme, request, carol(acme))
        assert selectors.story(request)[1].on_behalf_of == "alice@acme.example"

    def test_a_step_can_be_handed_on_but_not_to_whom_it_is_for(self, acme):
        request, dave = ask(acme), join(acme.acme, "dave", Role.MEMBER)

        with pytest.raises(ForbiddenError):
            deciding.delegate(tenant=acme.acme, user=acme.alice, request_id=request.pk, to=member(acme.acme, acme.bob))
        deciding.delegate(tenant=acme.acme, user=acme.alice, request_id=request.pk, to=dave)

        assert approve(acme, request, dave.user).state == "approved"


class TestTime:
    def test_what_nobody_decides_is_escalated_once_and_then_ends(self, acme):
        request = ask(acme)
        with clock.frozen(clock.now() + timedelta(hours=25)):
            assert (upkeep.escalate_due(acme.acme), upkeep.escalate_due(acme.acme)) == (1, 0)
        with clock.frozen(clock.now() + timedelta(days=15)):
            assert (upkeep.expire_due(acme.acme), upkeep.expire_due(acme.acme)) == (1, 0)

        request.refresh_from_db()
        assert request.state == RequestState.EXPIRED
        with pytest.raises(ConflictError):
            approve(acme, request)

    def test_the_end_that_time_brings_to_a_right_is_recorded_once_and_systems_hear_of_it(self, acme, settings):
        settings.EGRESS_ALLOW = ["127.0.0.1:9"]
        chosen = ["access.grant.expired"]
        webhooks.create(tenant=acme.acme, name="x", url="http://127.0.0.1:9/", events=chosen, actor=acme.alice)
        request = approve(acme, ask(acme, duration_h=48))
        assert upkeep.note_expired(acme.acme) == 0
        with clock.frozen(clock.now() + timedelta(hours=49)):
            assert (upkeep.note_expired(acme.acme), upkeep.note_expired(acme.acme)) == (1, 0)

        event = AuditEvent.objects.get(action="access:grant:expired")
        assert event.target_id == str(request.grant_id)
        assert WebhookDelivery.objects.get().data["grant_id"] == str(request.grant_id)

    def test_people_hear_of_the_end_of_a_right_once_and_renew_it_in_one_step(self, acme):
        request = approve(acme, ask(acme, duration_h=30 * 24))
        grant = Grant.objects.get(pk=request.grant_id)
        with clock.frozen(clock.now() + timedelta(days=24)):
            assert (upkeep.remind_expiring(acme.acme), upkeep.remind_expiring(acme.acme)) == (1, 0)

        [note] = Notification.objects.filter(kind="access.grant_expiring")
        assert (note.recipient_id, f"{grant.pk}/renew/" in note.url) == (acme.bob.pk, True)
        again = opening.renew(
            actor=member(acme.acme, acme.bob), grant=grant, server=acme.payments, subject={"user": str(acme.bob.pk)}
        )
        assert (again.tool_names, again.duration_h, again.renews_id) == (["list_invoices"], 720, grant.pk)

    def test_the_job_does_all_of_it_for_every_organisation(self, acme):
        request = ask(acme)
        with clock.frozen(clock.now() + timedelta(days=15)):
            tasks.keep_requests()

        request.refresh_from_db()
        assert request.state == RequestState.EXPIRED


class TestLinks:
    def test_a_link_is_for_one_person_one_state_and_one_use(self, acme):
        request = ask(acme)
        token = links.mint(request, acme.alice.pk)

        assert links.opened(token, acme.alice).obstacle == ""
        for person in (acme.bob, carol(acme)):
            with pytest.raises(NotFoundError):
                links.opened(token, person)
        links.use(token, acme.alice)
        with pytest.raises(ConflictError):
            links.use(token, acme.alice)

    def test_an_edit_and_time_make_it_useless(self, acme):
        request = ask(acme)
        token = links.mint(request, acme.alice.pk)
        with clock.frozen(clock.now() + timedelta(days=8)):
            assert links.opened(token, acme.alice).obstacle == "expired"
        opening.edit(
            actor=member(acme.acme, acme.bob), request_id=request.pk, server=acme.payments, ask=wish(acme, tools=())
        )

        assert links.opened(token, acme.alice).obstacle == "changed"

    @pytest.mark.parametrize("token", ["", "x", "a:b:c", "é"])
    def test_what_we_never_signed_is_not_known(self, acme, token):
        with pytest.raises(NotFoundError):
            links.opened(token, acme.alice)


class TestReviews:
    def give(self, acme, person):
        return grants.give(
            tenant=acme.acme,
            server=acme.payments,
            subject=grants.Subject(user=str(person.pk), label=person.email),
            actor=acme.alice,
        )

    def test_each_right_is_confirmed_or_let_go_of_by_somebody_whom_it_is_not_for(self, acme):
        own, other = self.give(acme, acme.alice), self.give(acme, acme.bob)
        actor = member(acme.acme, acme.alice)
        due = clock.now() + timedelta(days=7)
        campaigns.open_campaign(actor=actor, name="Autumn", due_at=due)
        items = {item.grant_id: item for item in CampaignItem.objects.all()}

        with pytest.raises(ForbiddenError):
            campaigns.decide(actor=actor, item_id=items[own.pk].pk, keep=True)
        campaigns.decide(actor=member(acme.acme, carol(acme)), item_id=items[own.pk].pk, keep=True)
        campaigns.decide(actor=actor, item_id=items[other.pk].pk, keep=False)

        assert (Grant.objects.get(pk=own.pk).state, Grant.objects.get(pk=other.pk).state) == ("active", "revoked")

    def test_what_nobody_confirms_ends_when_the_review_says_so(self, acme):
        kept = self.give(acme, acme.bob)
        actor, due = member(acme.acme, acme.alice), clock.now() + timedelta(days=7)
        campaigns.open_campaign(actor=actor, name="Marks only", due_at=due)
        with clock.frozen(due):
            assert campaigns.close_due(acme.acme) == 1
        assert Grant.objects.get(pk=kept.pk).state == "active"

        campaigns.open_campaign(actor=actor, name="Ends", due_at=due, revoke_unanswered=True)
        with clock.frozen(due):
            assert campaigns.close_due(acme.acme) == 1
        assert Grant.objects.get(pk=kept.pk).state == "revoked"
        assert Campaign.objects.filter(closed_at=None).count() == 0

    def test_rights_that_nobody_uses_are_found(self, acme):
        grant = self.give(acme, acme.bob)
        assert selectors.unused_rights() == []
        Grant.objects.filter(pk=grant.pk).update(created_at=clock.now() - timedelta(days=31))

        [found] = selectors.unused_rights()

        assert (found.grant.pk, found.used, found.last_used_at) == (grant.pk, (), None)
