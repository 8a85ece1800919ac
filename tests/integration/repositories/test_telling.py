"""Who looks after a source is told once that it cannot be read, however often it fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core import clock
from notifications.models import Notification
from repositories.models import Repository
from repositories.services import telling
from tenants.context import platform_scope, tenant_scope
from tests.integration.repositories.conftest import add, go_on, keeper_of, read

pytestmark = pytest.mark.django_db


def fail(source: Repository, times: int) -> None:
    for _ in range(times):
        run = read(source)
        for _ in range(10):
            if run.resume_at is None:
                break
            with clock.frozen(run.resume_at + timedelta(seconds=1)):
                run = go_on(run)
        assert run.state == "failed"


def told(scope) -> list[tuple[str, str]]:
    with scope:
        rows = Notification.objects.filter(kind=telling.KIND).order_by("created_at")
        return list(rows.values_list("email", "title"))


def test_the_operators_hear_of_a_row_of_failures_once(cast, official):
    source = add("official", official.url)
    official.always = "garbage"
    fail(source, telling.FAILURES_MIN - 1)
    telling.tell(source.pk)
    assert told(platform_scope()) == []

    fail(source, 1)
    telling.tell(source.pk)
    telling.tell(source.pk)
    fail(source, 1)
    telling.tell(source.pk)
    assert told(platform_scope()) == [(cast.olga.email, "The source Source cannot be read")]


def test_a_reading_that_succeeds_begins_another_row(cast, official):
    source = add("official", official.url)
    official.always = "garbage"
    fail(source, telling.FAILURES_MIN)
    telling.tell(source.pk)
    official.always = ""
    with clock.frozen(clock.now() + timedelta(hours=2)):
        read(source, full=True)
    with platform_scope():
        assert Repository.objects.get().failing_told_at is None
    official.always = "garbage"
    with clock.frozen(clock.now() + timedelta(hours=4)):
        fail(source, telling.FAILURES_MIN)
    telling.tell(source.pk)
    assert len(told(platform_scope())) == 2


def test_of_an_organisation_s_source_its_own_people_hear(cast, official):
    source = add("official", official.url, keeper=keeper_of(cast.acme))
    official.always = "garbage"
    fail(source, telling.FAILURES_MIN)
    telling.tell(source.pk)

    assert told(tenant_scope(cast.acme)) == [(cast.alice.email, "The source Source cannot be read")]
    assert told(tenant_scope(cast.globex)) == []
    assert told(platform_scope()) == []
    with tenant_scope(cast.acme):
        assert Notification.objects.get(kind=telling.KIND).url == f"/o/acme/sources/{source.pk}/"


def test_a_notice_whose_job_was_lost_is_found_again(cast, official):
    source = add("official", official.url)
    other = add("official", official.url, name="Well")
    with platform_scope():
        Repository.objects.filter(pk=source.pk).update(failures=5, sync_status="failed")
        assert list(telling.waiting().values_list("pk", flat=True)) == [source.pk]
        assert other.failures == 0
        telling.tell_waiting()
