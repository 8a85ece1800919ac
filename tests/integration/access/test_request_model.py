"""Any sequence of asking, editing, deciding, revoking and waiting, by three people, against a model of what must hold."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from access.models import AccessRequest, Grant
from access.requests import deciding, opening, upkeep
from access.requests.events import asked_terms
from access.requests.rules import Terms
from access.services import grants
from core import clock
from core.errors import MarketplaceError
from tenants.choices import Role
from tenants.models import Membership
from tests.integration.access.requesting import join, member, wish, within

PEOPLE = st.sampled_from(["alice", "bob", "carol"])
TOOLS = st.sampled_from([("list_invoices",), ("refund_invoice",), ("list_invoices", "refund_invoice"), ()])


class Asking(RuleBasedStateMachine):
    """alice owns, carol is an admin, bob a member; all three ask, all three try to decide."""

    cast = None
    given = 0  # in all examples: a model that never reaches an approval would prove nothing

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = clock.now()
        self.seen: dict[str, str] = {}  # digests that somebody has read, by request
        self.approved_by: dict[str, tuple[str, Terms]] = {}

    @initialize()
    def begin(self) -> None:
        self.people = {"alice": self.cast.alice, "bob": self.cast.bob}
        self.people["carol"] = Membership.objects.get(tenant=self.cast.acme, user__name="Carol").user

    def attempt(self, work) -> bool:
        """Do something at the machine's moment; whether it was let through."""
        try:
            with clock.frozen(self.now), transaction.atomic():
                work()
            return True
        except MarketplaceError:
            return False

    @rule(by=PEOPLE, subject=PEOPLE, tools=TOOLS)
    def ask(self, by, subject, tools) -> None:
        actor, target = member(self.cast.acme, self.people[by]), str(self.people[subject].pk)
        self.attempt(
            lambda: opening.open_request(
                actor=actor, server=self.cast.payments, ask=wish(self.cast, tools=tools, user=target)
            )
        )

    @precondition(lambda self: AccessRequest.objects.exists())
    @rule(by=PEOPLE, tools=TOOLS, number=st.integers(0, 9))
    def edit(self, by, tools, number) -> None:
        request = self.pick(number)
        actor = member(self.cast.acme, self.people[by])
        done = self.attempt(
            lambda: opening.edit(
                actor=actor,
                request_id=request.pk,
                server=self.cast.payments,
                ask=wish(self.cast, tools=tools, user=request.subject_user),
            )
        )
        assert not done or request.requester_id == actor.user_id

    @precondition(lambda self: AccessRequest.objects.exists())
    @rule(number=st.integers(0, 9))
    def read(self, number) -> None:
        request = self.pick(number)
        self.seen[str(request.pk)] = request.digest

    @precondition(lambda self: AccessRequest.objects.exists())
    @rule(by=PEOPLE, number=st.integers(0, 9), less=st.booleans(), fresh=st.booleans())
    def approve(self, by, number, less, fresh) -> None:
        request, person = self.pick(number), self.people[by]
        read = request.digest if fresh else self.seen.get(str(request.pk), "never read")
        digest, asked = read, asked_terms(request)
        terms = Terms.of(asked.tools, "low", ["read"], 1) if less and "read" in asked.side_effects else None
        done = self.attempt(
            lambda: deciding.approve(
                tenant=self.cast.acme, user=person, request_id=request.pk, digest=digest, terms=terms
            )
        )
        if done:
            assert person.pk != request.requester_id
            assert str(person.pk) != request.subject_user
            assert by != "bob", "a member without the right"
            assert (request.undecided, digest) == (True, request.digest)
            type(self).given += 1
            self.approved_by[str(request.pk)] = (by, terms or asked)

    @precondition(lambda self: AccessRequest.objects.exists())
    @rule(by=PEOPLE, number=st.integers(0, 9))
    def withdraw(self, by, number) -> None:
        request, actor = self.pick(number), member(self.cast.acme, self.people[by])
        done = self.attempt(lambda: opening.withdraw(actor=actor, request_id=request.pk))
        assert not done or request.requester_id == actor.user_id

    @precondition(lambda self: Grant.objects.filter(origin="request").exists())
    @rule(number=st.integers(0, 9))
    def revoke(self, number) -> None:
        given = list(Grant.objects.filter(origin="request").order_by("pk"))
        self.attempt(
            lambda: grants.revoke(tenant=self.cast.acme, grant_id=given[number % len(given)].pk, actor=self.cast.alice)
        )

    @rule(hours=st.sampled_from([1, 25, 24 * 15]))
    def wait(self, hours) -> None:
        self.now += timedelta(hours=hours)
        with clock.frozen(self.now):
            upkeep.expire_due(self.cast.acme)
            upkeep.escalate_due(self.cast.acme)

    @invariant()
    def every_grant_is_what_somebody_else_approved(self) -> None:
        requests = {request.grant_id: request for request in AccessRequest.objects.exclude(grant_id=None)}
        given = list(Grant.objects.filter(origin="request"))
        assert {grant.pk for grant in given} == set(requests)
        for grant in given:
            request = requests[grant.pk]
            by, terms = self.approved_by[str(request.pk)]
            assert request.state == "approved"
            assert self.people[by].pk not in {request.requester_id, grant.subject_user}
            assert Terms.of(grant.tools, grant.max_trust, grant.side_effects, terms.duration_h) == terms
            assert grant.expires_at - grant.created_at <= timedelta(hours=terms.duration_h)

    @invariant()
    def only_approved_requests_have_a_grant(self) -> None:
        assert not AccessRequest.objects.exclude(state="approved").exclude(grant_id=None).exists()
        assert not AccessRequest.objects.filter(state="approved", grant_id=None).exists()

    def pick(self, number: int) -> AccessRequest:
        found = list(AccessRequest.objects.order_by("pk"))
        return found[number % len(found)]

    def teardown(self) -> None:
        self.rollback()


@pytest.mark.parametrize("examples", [15])
def test_any_sequence_keeps_the_rules(cast, examples):
    join(cast.acme, "carol", Role.ADMIN)
    with within(cast):

        class InATransaction(Asking):
            def __init__(self) -> None:
                super().__init__()
                self.cast = cast
                self.savepoint = transaction.savepoint()

            def rollback(self) -> None:
                transaction.savepoint_rollback(self.savepoint)

        run_state_machine_as_test(
            InATransaction,
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )

    assert InATransaction.given > 0
