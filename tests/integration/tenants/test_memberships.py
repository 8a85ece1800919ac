from __future__ import annotations

import threading

import pytest
from django.db import connections

from audit.models import AuditEvent
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from core.ids import uuid7
from tenants.choices import Role
from tenants.context import tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.services import memberships, onboarding, teams
from tests.support.cast import make_person


def membership_of(user: User, tenant: Tenant) -> Membership:
    return Membership.objects.select_related("tenant", "user").get(user=user, tenant=tenant)


def join_as(role: str, tenant: Tenant) -> Membership:
    person = make_person(role.capitalize(), f"{role}-{uuid7().hex[-6:]}@acme.example")
    return Membership.objects.create(tenant=tenant, user=person, role=role)


def actions_of(tenant: Tenant) -> list[str]:
    with tenant_scope(tenant):
        return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


@pytest.fixture
def alice(cast):
    return membership_of(cast.alice, cast.acme)


@pytest.fixture
def bob(cast):
    return membership_of(cast.bob, cast.acme)


class TestChangeRole:
    def test_an_owner_gives_a_member_a_role_and_it_is_recorded(self, cast, alice, bob):
        memberships.change_role(actor=alice, membership_id=bob.pk, role=Role.AUDITOR)

        assert membership_of(cast.bob, cast.acme).role == Role.AUDITOR
        assert actions_of(cast.acme)[-1] == "tenants:membership:changed"

    def test_gateways_hear_of_it(self, cast, alice, bob):
        before = Tenant.objects.get(pk=cast.acme.pk).revision
        memberships.change_role(actor=alice, membership_id=bob.pk, role=Role.ADMIN)
        assert Tenant.objects.get(pk=cast.acme.pk).revision > before

    def test_the_same_role_changes_nothing(self, cast, alice, bob):
        before = actions_of(cast.acme)
        memberships.change_role(actor=alice, membership_id=bob.pk, role=Role.MEMBER)
        assert actions_of(cast.acme) == before

    def test_the_last_owner_stays_owner(self, alice):
        with pytest.raises(ConflictError, match="only owner") as caught:
            memberships.change_role(actor=alice, membership_id=alice.pk, role=Role.MEMBER)
        assert "else an owner" in caught.value.next_step

    def test_with_a_second_owner_the_first_may_step_down(self, cast, alice, bob):
        memberships.change_role(actor=alice, membership_id=bob.pk, role=Role.OWNER)
        memberships.change_role(actor=alice, membership_id=alice.pk, role=Role.MEMBER)
        assert membership_of(cast.alice, cast.acme).role == Role.MEMBER

    @pytest.mark.parametrize("role", [Role.MEMBER, Role.BILLING, Role.AUDITOR])
    def test_without_the_right_nobody_changes_roles(self, cast, bob, role):
        actor = join_as(role, cast.acme)
        with pytest.raises(ForbiddenError, match=f"{role.label.lower()}, does not let you manage people") as caught:
            memberships.change_role(actor=actor, membership_id=bob.pk, role=Role.ADMIN)
        assert cast.alice.email in caught.value.next_step

    def test_an_admin_makes_no_owner_and_changes_none(self, cast, alice, bob):
        admin = join_as(Role.ADMIN, cast.acme)
        for target, role in ((bob, Role.OWNER), (alice, Role.MEMBER)):
            with pytest.raises(ForbiddenError, match="Only an owner"):
                memberships.change_role(actor=admin, membership_id=target.pk, role=role)

    def test_somebody_demoted_a_moment_ago_changes_nothing_with_a_page_from_before(self, cast, alice, bob):
        admin = join_as(Role.ADMIN, cast.acme)
        memberships.change_role(actor=alice, membership_id=admin.pk, role=Role.MEMBER)

        with pytest.raises(ForbiddenError):
            memberships.change_role(actor=admin, membership_id=bob.pk, role=Role.AUDITOR)

    def test_a_member_of_another_organisation_is_not_found(self, cast, alice):
        charlie = membership_of(cast.charlie, cast.globex)
        with pytest.raises(NotFoundError):
            memberships.change_role(actor=alice, membership_id=charlie.pk, role=Role.MEMBER)

    def test_an_unknown_role_is_refused(self, alice, bob):
        with pytest.raises(InvalidError, match="A role is one of"):
            memberships.change_role(actor=alice, membership_id=bob.pk, role="emperor")

    def test_two_owners_who_demote_each_other_at_once_leave_one(self, durable_db):
        suffix = uuid7().hex[-8:]
        people = [make_person(name, f"{name}-{suffix}@pair.example") for name in ("first", "second")]
        tenant = onboarding.create_organisation(name="Pair", slug=f"pair-{suffix}", owner=people[0])
        Membership.objects.create(tenant=tenant, user=people[1], role=Role.OWNER)
        both = [membership_of(person, tenant) for person in people]
        start, refused = threading.Barrier(2), []

        def demote(actor: Membership, target: Membership) -> None:
            start.wait(timeout=10)
            try:
                memberships.change_role(actor=actor, membership_id=target.pk, role=Role.MEMBER)
            except (ConflictError, ForbiddenError) as error:
                refused.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=demote, args=pair) for pair in (both, both[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)

        assert len(refused) == 1
        assert Membership.objects.filter(tenant=tenant, role=Role.OWNER).count() == 1


class TestRemove:
    def test_an_owner_removes_a_member(self, cast, alice, bob):
        memberships.remove(actor=alice, membership_id=bob.pk)

        assert not Membership.objects.filter(pk=bob.pk).exists()
        assert actions_of(cast.acme)[-1] == "tenants:membership:removed"

    def test_anybody_may_leave(self, cast, bob):
        memberships.remove(actor=bob, membership_id=bob.pk)
        assert actions_of(cast.acme)[-1] == "tenants:membership:left"

    def test_the_last_owner_cannot_leave(self, alice):
        with pytest.raises(ConflictError, match="only owner"):
            memberships.remove(actor=alice, membership_id=alice.pk)

    def test_an_owner_who_was_deactivated_does_not_count(self, cast, alice, bob):
        memberships.change_role(actor=alice, membership_id=bob.pk, role=Role.OWNER)
        cast.bob.is_active = False
        cast.bob.save()
        with pytest.raises(ConflictError, match="only owner"):
            memberships.remove(actor=alice, membership_id=alice.pk)

    def test_a_member_removes_nobody_else(self, alice, bob):
        with pytest.raises(ForbiddenError):
            memberships.remove(actor=bob, membership_id=alice.pk)

    def test_an_admin_removes_no_owner(self, cast, alice):
        with pytest.raises(ForbiddenError, match="Only an owner"):
            memberships.remove(actor=join_as(Role.ADMIN, cast.acme), membership_id=alice.pk)


class TestTeams:
    def test_a_team_gets_a_technical_name_and_people(self, cast, alice, bob):
        team = teams.create(actor=alice, name="Data Platform")
        teams.add(actor=alice, team_id=team.pk, membership_id=bob.pk)
        teams.add(actor=alice, team_id=team.pk, membership_id=bob.pk)

        assert team.namespace == "mcp-team-data-platform"
        assert list(team.members.all()) == [bob]
        assert actions_of(cast.acme).count("tenants:team:member_added") == 1

        teams.take_out(actor=alice, team_id=team.pk, membership_id=bob.pk)
        assert not team.members.exists()

    def test_the_same_name_twice_is_a_conflict_and_another_organisation_may_have_it(self, cast, alice):
        teams.create(actor=alice, name="Data")
        with pytest.raises(ConflictError, match="'data'"):
            teams.create(actor=alice, name="data")
        teams.create(actor=membership_of(cast.charlie, cast.globex), name="Data")

    @pytest.mark.parametrize("name", ["", "   ", "数据", "x" * 101])
    def test_a_name_of_which_no_technical_name_can_be_made_is_refused(self, alice, name):
        with pytest.raises(InvalidError, match="letter or digit"):
            teams.create(actor=alice, name=name)

    def test_members_and_teams_of_others_are_not_found(self, cast, alice, bob):
        charlie = membership_of(cast.charlie, cast.globex)
        team = teams.create(actor=alice, name="Ours")
        theirs = teams.create(actor=charlie, name="Theirs")
        with pytest.raises(NotFoundError):
            teams.add(actor=alice, team_id=team.pk, membership_id=charlie.pk)
        with pytest.raises(NotFoundError):
            teams.add(actor=alice, team_id=theirs.pk, membership_id=bob.pk)

    def test_a_member_makes_no_team(self, bob):
        with pytest.raises(ForbiddenError):
            teams.create(actor=bob, name="Mine")
