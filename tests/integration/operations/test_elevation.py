"""An operator sees an organisation only for a reason, for hours, with its owners told, and only in the browser that asked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.db import IntegrityError, transaction
from django.test import Client

from audit.models import AuditEvent
from core import clock
from core.errors import NotFoundError
from notifications.models import Notification
from notifications.webhooks import EVENTS
from tenants.choices import Role
from tenants.context import platform_scope, tenant_scope
from tenants.elevated import SESSION_KEY
from tenants.models import Elevation, User
from tenants.services import elevations
from tests.integration.tenants.test_memberships import join_as
from tests.support.operators import elevate, prove

RECORDS, CALLS = "/operations/records/", "/o/acme/calls/"
WANTED = {"organisation": "acme", "reason": "A caller reports refused calls", "ticket": "4711", "minutes": "60"}


@pytest.fixture
def olga(cast):
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "unused"})
    return cast.olga


@pytest.fixture
def browser(olga, signed_in) -> Client:
    """olga's, in which she has just proven that it is her."""
    found = signed_in(olga)
    prove(found, olga)
    return found


def actions(*scopes) -> list[list[tuple[str, str]]]:
    found = []
    for scope in scopes:
        with scope:
            rows = AuditEvent.objects.filter(action__startswith="operations:elevation:").order_by("sequence")
            found.append(list(rows.values_list("action", "actor_label")))
    return found


class TestOpening:
    def test_without_it_nothing_of_an_organisation_shows(self, browser):
        assert browser.get(CALLS).status_code == 404
        assert browser.get("/admin/calls/call/")["Location"] == RECORDS

    def test_with_it_pages_and_records_show_and_both_sides_know(self, cast, olga, browser):
        page = browser.post(RECORDS, WANTED, follow=True).content.decode()
        assert "records of Acme are open" in page
        assert browser.get(CALLS).status_code == 200
        assert browser.get("/admin/calls/call/").status_code == 200

        acme, platform, globex = actions(tenant_scope(cast.acme), platform_scope(), tenant_scope(cast.globex))
        started, viewed = ("operations:elevation:started", olga.email), ("operations:elevation:viewed", olga.email)
        assert acme == [started, viewed, viewed]
        assert platform == [started]
        assert globex == []
        with tenant_scope(cast.acme):
            event = AuditEvent.objects.get(action=started[0])
            assert (event.data["reason"], event.data["ticket"]) == (WANTED["reason"], "4711")
            paths = AuditEvent.objects.filter(action=viewed[0]).order_by("sequence")
            assert [each.data["path"] for each in paths] == [CALLS, "/admin/calls/call/"]

    def test_the_owners_are_told_at_once_by_mail_too(self, cast, browser):
        browser.post(RECORDS, WANTED)
        with tenant_scope(cast.acme):
            notice = Notification.objects.get(kind=elevations.STARTED)

        assert (notice.recipient_id, notice.email) == (cast.alice.pk, cast.alice.email)
        assert WANTED["reason"] in notice.body
        assert cast.olga.email in notice.body

    def test_who_has_not_just_proven_to_be_it_is_sent_to_do_so(self, cast, olga, signed_in):
        browser = signed_in(olga)
        assert "Prove that it is you" in browser.get(RECORDS).content.decode()
        assert browser.post(RECORDS, WANTED)["Location"].startswith("/accounts/reauthenticate/")
        assert not Elevation.objects.exists()

    @pytest.mark.parametrize(
        "change", [{"reason": ""}, {"reason": "because"}, {"minutes": "600"}, {"minutes": "x"}, {"organisation": "no"}]
    )
    def test_without_a_reason_or_for_longer_than_hours_nothing_opens(self, cast, browser, change):
        assert browser.post(RECORDS, WANTED | change).status_code == 422
        assert not Elevation.objects.exists()

    def test_the_database_too_knows_the_longest_time_and_only_one_at_a_time(self, cast, olga):
        now = clock.now()
        wanted = {"operator": olga, "operator_label": "o", "tenant": cast.acme, "reason": "r", "created_at": now}
        for ends_at in (now + timedelta(hours=4, seconds=1), now):
            with pytest.raises(IntegrityError), transaction.atomic():
                Elevation.objects.create(**wanted, ends_at=ends_at)
        Elevation.objects.create(**wanted, ends_at=now + timedelta(hours=1))
        with pytest.raises(IntegrityError), transaction.atomic():
            Elevation.objects.create(**wanted, ends_at=now + timedelta(hours=1))

    def test_who_is_no_operator_opens_nothing(self, cast, signed_in):
        browser = signed_in(cast.charlie)
        prove(browser, cast.charlie)
        assert browser.post(RECORDS, WANTED).status_code == 404

        session = browser.session
        session[SESSION_KEY] = str(elevate(Client(), cast.olga, cast.acme).pk)
        session.save()
        assert browser.get(CALLS).status_code == 404


class TestLooking:
    def test_only_that_organisation_shows(self, browser):
        browser.post(RECORDS, WANTED)
        assert browser.get("/o/globex/calls/").status_code == 404

    def test_only_in_the_browser_that_asked(self, olga, browser):
        browser.post(RECORDS, WANTED)
        other = Client()
        other.force_login(olga)
        assert other.get(CALLS).status_code == 404

    def test_nothing_is_changed(self, cast, browser):
        browser.post(RECORDS, WANTED)
        answer = browser.post("/o/acme/people/teams/", {"name": "Mine"})
        assert (answer.status_code, answer.headers.get("Location")) == (403, None)
        assert browser.get("/o/acme/keys/new/").status_code == 403
        assert not cast.acme.teams.exists()

    def test_every_page_says_so_and_offers_the_end(self, browser):
        browser.post(RECORDS, WANTED)
        for path in (CALLS, "/", "/servers/payments/", "/accounts/email/", RECORDS):
            page = browser.get(path).content.decode()
            assert 'class="elevation"' in page, path
            assert "End now" in page
        assert "Reading Acme until" in browser.get("/admin/").content.decode()

    def test_without_the_second_factor_there_is_nothing(self, olga, browser):
        browser.post(RECORDS, WANTED)
        Authenticator.objects.filter(user=olga).delete()
        assert browser.get(CALLS).status_code == 404

    def test_an_operator_who_is_none_any_more_sees_nothing(self, olga, browser):
        browser.post(RECORDS, WANTED)
        User.objects.filter(pk=olga.pk).update(is_staff=False)
        assert browser.get(CALLS).status_code == 404


class TestEnding:
    def test_by_the_operator_at_once(self, cast, browser):
        browser.post(RECORDS, WANTED)
        browser.post(RECORDS, {"close": "1"})

        assert browser.get(CALLS).status_code == 404
        acme, platform = actions(tenant_scope(cast.acme), platform_scope())
        assert acme[-1][0] == platform[-1][0] == "operations:elevation:ended"
        assert 'class="elevation"' not in browser.get("/").content.decode()

    def test_by_time_to_the_second_and_noted_by_the_job(self, cast, browser):
        browser.post(RECORDS, WANTED)
        ends_at = Elevation.objects.get().ends_at
        with clock.frozen(ends_at - timedelta(seconds=1)):
            assert browser.get(CALLS).status_code == 200
            assert elevations.end_overdue() == 0
        with clock.frozen(ends_at):
            assert browser.get(CALLS).status_code == 404
            assert browser.get("/admin/audit/auditevent/")["Location"] == RECORDS
            assert elevations.end_overdue() == 1
            assert elevations.end_overdue() == 0

        assert Elevation.objects.get().ended_why == "time"
        [acme] = actions(tenant_scope(cast.acme))
        assert acme[-1] == ("operations:elevation:ended", "system")

    def test_by_an_owner_of_the_organisation_at_once(self, cast, browser):
        browser.post(RECORDS, WANTED)
        elevation = Elevation.objects.get()
        alice = Client()
        alice.force_login(cast.alice)
        page = alice.get("/o/acme/audit/operators/").content.decode()
        assert "Looking now" in page
        assert WANTED["reason"] in page
        alice.post(f"/o/acme/audit/operators/{elevation.pk}/end/")

        assert browser.get(CALLS).status_code == 404
        assert Elevation.objects.get().ended_why == "organisation"

    def test_an_auditor_sees_the_views_and_ends_none(self, cast, browser):
        browser.post(RECORDS, WANTED)
        auditor = Client()
        auditor.force_login(join_as(Role.AUDITOR, cast.acme).user)
        assert "Looking now" in auditor.get("/o/acme/audit/operators/").content.decode()
        assert auditor.post(f"/o/acme/audit/operators/{Elevation.objects.get().pk}/end/").status_code == 403

    def test_another_organisation_neither_sees_nor_ends_it(self, cast, browser):
        browser.post(RECORDS, WANTED)
        with pytest.raises(NotFoundError):
            elevations.end(elevation_id=Elevation.objects.get().pk, actor=cast.charlie, tenant=cast.globex)
        charlie = Client()
        charlie.force_login(cast.charlie)
        assert "Nobody looked" in charlie.get("/o/globex/audit/operators/").content.decode()

    def test_opening_another_ends_the_first(self, cast, browser):
        browser.post(RECORDS, WANTED)
        browser.post(RECORDS, WANTED | {"organisation": "globex"})

        assert browser.get(CALLS).status_code == 404
        assert browser.get("/o/globex/calls/").status_code == 200
        assert Elevation.objects.get(tenant=cast.acme).ended_why == "replaced"


def test_webhooks_may_hear_of_it():
    assert {"operations.elevation.started", "operations.elevation.ended"} <= set(EVENTS)
