"""How much servers are called: counted from the organisations' own logs, shown as sums that name nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from catalog.models import CallDay, CountedDay, Server
from catalog.services import importing, popularity
from core import clock
from tenants.context import platform_scope, viewer
from tests.integration.catalog.test_importing import MAIL, MIRROR
from tests.support.calls import add_call, add_refusal
from tests.support.cast import make_server

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon():
    with clock.frozen(NOON):
        yield


def call(tenant, server, number: int, *, days_ago: int = 0, **fields) -> None:
    for _ in range(number):
        add_call(tenant, at=NOON - timedelta(days=days_ago, hours=1), server_id=server.pk, **fields)


def shown(server) -> tuple[int, int]:
    with platform_scope():
        return Server.objects.values_list("calls_30d", "trend").get(pk=server.pk)


def text_of(answer) -> str:
    return " ".join(answer.content.decode().split())


class TestCounting:
    def test_calls_of_all_organisations_are_added_up(self, cast):
        call(cast.acme, cast.payments, 2)
        call(cast.globex, cast.payments, 3, days_ago=20)
        call(cast.acme, cast.vault, 1)

        assert popularity.count_calls()

        assert (shown(cast.payments)[0], shown(cast.vault)[0]) == (5, 1)

    def test_what_was_refused_and_what_lists_tools_is_no_use(self, cast):
        call(cast.acme, cast.payments, 1)
        call(cast.acme, cast.payments, 4, method="tools/list", tool="")
        add_refusal(cast.acme, "no_grant", server_id=cast.payments.pk, at=NOON)

        popularity.count_calls()

        assert shown(cast.payments)[0] == 1

    def test_counting_again_counts_nothing_twice_and_finds_what_came_late(self, cast):
        call(cast.acme, cast.payments, 2, days_ago=1)
        popularity.count_calls()
        popularity.count_calls()
        assert shown(cast.payments)[0] == 2

        call(cast.acme, cast.payments, 1, days_ago=1)
        popularity.count_calls()
        assert shown(cast.payments)[0] == 3

    def test_old_calls_fall_out(self, cast):
        call(cast.acme, cast.payments, 2, days_ago=1)
        call(cast.acme, cast.payments, 9, days_ago=31)
        popularity.count_calls()
        assert shown(cast.payments)[0] == 2

        with clock.frozen(NOON + timedelta(days=30)):
            assert popularity.count_calls()
        assert shown(cast.payments) == (0, 0)
        with platform_scope():
            assert not CallDay.objects.filter(server_id=cast.payments.pk).exists()

    def test_a_run_without_time_counts_one_day_and_the_next_goes_on(self, cast):
        call(cast.acme, cast.payments, 1)
        call(cast.acme, cast.payments, 1, days_ago=5)

        assert not popularity.count_calls(seconds=0)
        assert shown(cast.payments)[0] == 1
        with platform_scope():
            assert CountedDay.objects.count() == 1
        assert popularity.count_calls()
        assert shown(cast.payments)[0] == 2

    def test_calls_of_servers_that_are_gone_are_left_out(self, cast):
        add_call(cast.acme, at=NOON, server_id=cast.acme.pk)

        assert popularity.count_calls()

    def test_an_import_keeps_what_was_counted(self, cast):
        importing.take(MIRROR, [MAIL])
        with platform_scope():
            Server.objects.filter(registry_name="com.example/mail").update(calls_30d=7, trend=3)
        importing.take(MIRROR, [replace(MAIL, title="Other")])
        with platform_scope():
            assert Server.objects.values_list("calls_30d", "trend").get(registry_name="com.example/mail") == (7, 3)

    def test_counts_of_a_private_server_are_its_owner_s(self, cast):
        call(cast.acme, cast.vault, 1)
        popularity.count_calls()

        for who, rows in ((cast.acme.pk, 1), (cast.globex.pk, 0), ("", 0)):
            with viewer(who):
                assert CallDay.objects.filter(server=cast.vault).count() == rows


class TestTrend:
    def test_more_calls_in_a_week_than_the_mean_of_the_month_are_a_trend(self, cast):
        call(cast.acme, cast.payments, 10, days_ago=2)
        call(cast.acme, cast.payments, 20, days_ago=20)
        call(cast.acme, cast.vault, 4, days_ago=2)  # too few to say anything
        popularity.count_calls()

        assert shown(cast.payments) == (30, 3)
        assert shown(cast.vault) == (4, 0)

    def test_a_steady_or_falling_server_has_none(self, cast):
        call(cast.acme, cast.payments, 7, days_ago=2)
        call(cast.acme, cast.payments, 40, days_ago=20)
        popularity.count_calls()

        assert shown(cast.payments) == (47, 0)

    def test_the_home_page_has_a_shelf_when_there_are_any(self, cast, client):
        assert "Trending" not in text_of(client.get("/"))
        call(cast.acme, cast.payments, 12)
        popularity.count_calls()

        page = text_of(client.get("/"))
        assert "Trending" in page
        assert "12 calls in 30 days" in page

    def test_results_can_be_ordered_by_it(self, cast, client):
        with platform_scope():
            make_server(cast.initech, "aardvark", "Aardvark")
        call(cast.acme, cast.payments, 12)
        popularity.count_calls()

        page = text_of(client.get("/", {"sort": "trend"}))
        assert page.index(">Payments<") < page.index(">Aardvark<")

    def test_a_private_server_stands_on_no_shelf_of_others(self, cast, client, signed_in):
        call(cast.acme, cast.vault, 12)
        popularity.count_calls()

        assert "Trending" not in text_of(client.get("/"))
        assert "Trending" not in text_of(signed_in(cast.charlie).get("/"))
        assert "Trending" in text_of(signed_in(cast.bob).get("/"))


def test_tools_of_what_is_called_come_first(cast):
    call(cast.acme, cast.payments, 12)
    popularity.count_calls()
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(t.popularity) > 0, min(t.popularity) = max(s.popularity) FROM public.catalog_tooldocument t"
            " JOIN public.catalog_searchdocument s USING (server_id) WHERE server_id = %s",
            [cast.payments.pk],
        )
        assert cursor.fetchone() == (True, True)
