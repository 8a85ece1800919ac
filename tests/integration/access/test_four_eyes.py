"""Nobody approves their own access: not in the database's shell, not in the admin, not in a race."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, connection, connections, transaction

from access.models import AccessRequest, EventKind, Grant, RequestEvent
from access.requests import deciding
from core.errors import MarketplaceError
from core.ids import uuid7
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.services import onboarding
from tests.integration.access.requesting import approve, ask, member, within
from tests.support.cast import make_person, make_server

APPROVALS_AT_ONCE = 50


@pytest.fixture
def acme(cast):
    with within(cast):
        yield cast


def refused(statement: str, values: list | None = None) -> str:
    """What Postgres says to a statement that a shell might send."""
    with pytest.raises(DatabaseError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values or [])
    return str(error.value)


def insert_approval(request, actor, **changes) -> tuple[str, list]:
    values = {
        "id": uuid7(),
        "created_at": request.created_at,
        "request_id": request.pk,
        "kind": "approved",
        "actor_id": actor.pk,
        "actor_label": "x",
        "on_behalf_of": "",
        "stage": 0,
        "digest": request.digest,
        "comment": "",
        "via": "psql",
    } | changes
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    return f"INSERT INTO access_requestevent ({columns}) VALUES ({places})", list(values.values())


class TestTheDatabase:
    def test_it_takes_no_approval_of_the_requester_nor_of_the_one_it_is_for(self, acme):
        own = ask(acme, by=member(acme.acme, acme.alice), user=str(acme.alice.pk))
        for_bob = ask(acme, by=member(acme.acme, acme.alice), user=str(acme.bob.pk))

        assert "four eyes" in refused(*insert_approval(own, acme.alice))
        assert "four eyes" in refused(*insert_approval(for_bob, acme.alice))
        assert "four eyes" in refused(*insert_approval(for_bob, acme.bob))

    def test_it_takes_no_approval_of_another_state_or_step_or_by_nobody(self, acme):
        request = ask(acme)

        assert "four eyes" in refused(*insert_approval(request, acme.alice, digest="0" * 64))
        assert "four eyes" in refused(*insert_approval(request, acme.alice, stage=1))
        assert refused(*insert_approval(request, acme.alice, actor_id=None))

    def test_nothing_becomes_approved_without_its_approvals(self, acme):
        request = ask(acme)

        assert "four eyes" in refused("UPDATE access_accessrequest SET state = 'approved' WHERE id = %s", [request.pk])
        assert refused("UPDATE access_accessrequest SET state = 'approved', route = '[]' WHERE id = %s", [request.pk])

    def test_a_request_cannot_be_made_approved_nor_given_to_another_requester(self, acme):
        request = ask(acme)

        assert "never changed" in refused(
            "UPDATE access_accessrequest SET requester_id = %s WHERE id = %s", [acme.charlie.pk, request.pk]
        )
        assert "kept" in refused("DELETE FROM access_accessrequest WHERE id = %s", [request.pk])
        copy = AccessRequest.objects.get(pk=request.pk)
        copy.pk, copy.state = uuid7(), "approved"
        with pytest.raises(DatabaseError), transaction.atomic():
            copy.save(force_insert=True)

    @pytest.mark.parametrize(
        "change",
        ["max_trust = 'high'", "tools = '[]'", "duration_h = 8000", "subject_user = ''", "beneficiaries = '{}'"],
    )
    def test_what_is_asked_does_not_change_behind_its_digest(self, acme, change):
        request = ask(acme)

        assert refused(f"UPDATE access_accessrequest SET {change} WHERE id = %s", [request.pk])

    def test_a_decided_request_and_the_story_of_any_stay_as_they_are(self, acme):
        request = approve(acme, ask(acme))

        for statement in (
            "UPDATE access_accessrequest SET state = 'open' WHERE id = %s",
            "UPDATE access_accessrequest SET grant_id = gen_random_uuid() WHERE id = %s",
            "UPDATE access_requestevent SET actor_id = gen_random_uuid() WHERE request_id = %s",
            "DELETE FROM access_requestevent WHERE request_id = %s",
        ):
            assert refused(statement, [request.pk])

    def test_an_organisation_that_was_cloned_has_the_same_guards(self, cast):
        with tenant_scope(cast.globex), connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
                " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()"
                " AND t.tgname IN ('access_accessrequest_guard', 'access_requestevent_guard')"
            )
            assert cursor.fetchone()[0] == 2


class TestTheCode:
    def test_a_refusal_of_the_database_is_told_in_words(self, acme, monkeypatch):
        """Were the check of the service gone, the answer would still be a refusal and no failure."""
        request = ask(acme, by=member(acme.acme, acme.alice), user=str(acme.alice.pk))
        monkeypatch.setattr(deciding.routing, "approver_of", lambda *_: deciding.Approver(acme.alice))

        with pytest.raises(MarketplaceError) as error, transaction.atomic():
            approve(acme, request)

        assert error.value.error_code == "access.four_eyes"


class TestARace:
    def test_fifty_approvals_at_once_make_one_grant(self, durable_db):
        organisation, request, approvers = _organisation_with_a_request()

        def one(number: int) -> str:
            try:
                with tenant_scope(organisation):
                    deciding.approve(
                        tenant=organisation,
                        user=approvers[number % len(approvers)],
                        request_id=request.pk,
                        digest=request.digest,
                    )
                return "approved"
            except MarketplaceError as error:
                return error.error_code
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            ends = list(pool.map(one, range(APPROVALS_AT_ONCE)))

        with tenant_scope(organisation):
            assert ends.count("approved") == 1
            assert set(ends) == {"approved", "access.request_decided"}
            assert Grant.objects.filter(request_id=request.pk).count() == 1
            assert RequestEvent.objects.filter(request=request, kind=EventKind.APPROVED).count() == 1


def _organisation_with_a_request() -> tuple[Tenant, AccessRequest, list[User]]:
    """Committed, under names of its own."""
    tag = uuid7().hex[-8:]
    with platform_scope():
        people = [make_person(name, f"{name}-{tag}@race.example") for name in ("asker", "first", "second")]
        organisation = onboarding.create_organisation(name=f"Race {tag}", slug=f"race-{tag}", owner=people[0])
        server = make_server(organisation, f"race-{tag}", "Race", visibility="org")
    for person in people[1:]:
        Membership.objects.create(tenant=organisation, user=person, role="admin")
    cast = type("Race", (), {"acme": organisation, "bob": people[0], "payments": server})
    with tenant_scope(organisation):
        request = ask(cast, by=member(organisation, people[0]))
    return organisation, request, people[1:]
