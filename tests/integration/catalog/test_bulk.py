"""Rows that travel by columns arrive as they were given."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, IntegrityError, models, transaction

from catalog.models import Server, ServerVersion, SourceEntry
from core import bulk
from core.ids import uuid7, uuid7s
from tenants.context import platform_scope

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 5, 4, 3, 2, 1, 987654, tzinfo=UTC)
ODD = 'quote " comma , brace } back \\ \n tab \t NULL ü \U0001f600 %s {rows} $1'
make_server, make_version, make_entry = (bulk.maker(model) for model in (Server, ServerVersion, SourceEntry))


@pytest.fixture(autouse=True)
def platform():
    with platform_scope():
        yield


def servers(count: int, **columns) -> list[Server]:
    """Of each column the first server has the first value, and so on round."""
    usual = {"origin": "imported", "status": "listed", "visibility": "public", "updated_at": MOMENT, "name": "Server"}
    return [
        make_server(
            **usual
            | {"id": uuid7(), "slug": f"server-{number}"}
            | {name: values[number % len(values)] for name, values in columns.items()}
        )
        for number in range(count)
    ]


def stored(rows: list[Server]) -> dict[str, Server]:
    return {row.slug: row for row in Server.objects.filter(pk__in=[row.pk for row in rows])}


class TestInsert:
    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_values_of_every_kind_arrive(self, count):
        columns = {
            "description": ["", ODD, "x" * 9_000],
            "tags": [[], [ODD[:40], "NULL", ""], ["b"]],
            "allowed_teams": [[], uuid7s(3)],
            "published_at": [None, MOMENT],
            "tool_count": [None, 0, 70_000],
            "calls_30d": [2**40, 0],
            "has_tasks": [True, False],
            "source_id": [None, uuid7()],
            "health_detail": [ODD[:300], ""],
        }
        rows = servers(count, **columns)

        bulk.insert(rows)

        found = stored(rows)
        assert [{name: getattr(found[row.slug], name) for name in columns} for row in rows] == [
            {name: getattr(row, name) for name in columns} for row in rows
        ]

    def test_json_that_only_looks_alike_stays_apart(self):
        (server,) = rows = servers(1)
        bulk.insert(rows)
        given = [{"a": 1}, {"a": True}, {"a": 1.0}, {"a": "1"}, {ODD: [ODD, None, 2**70]}, bulk.Json('{"a":[1,2]}')]
        versions = [
            make_version(
                id=uuid7(),
                server_id=server.pk,
                version=str(number),
                inventory_digest="",
                created_at=MOMENT,
                manifest=value,
            )
            for number, value in enumerate(given)
        ]

        bulk.insert(versions)

        found = ServerVersion.objects.in_bulk([each.pk for each in versions])
        assert [repr(found[each.pk].manifest) for each in versions] == [
            repr(each) for each in [*given[:5], {"a": [1, 2]}]
        ]

    def test_more_rows_than_one_statement_takes(self, monkeypatch):
        monkeypatch.setattr(bulk, "ROWS_PER_STATEMENT", 4)
        rows = servers(11, summary=["one", "other"])

        bulk.insert(rows)

        assert {row.slug: row.summary for row in stored(rows).values()} == {row.slug: row.summary for row in rows}

    def test_no_rows_are_no_statement(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            bulk.insert([])
            bulk.insert_columns(Server, {"id": []})

    def test_a_row_that_is_there_gets_the_fields_that_are_named_and_no_other(self):
        rows = servers(2, name=["A", "B"], summary=["old"])
        bulk.insert(rows)
        for row in rows:
            row.name, row.summary = row.name * 2, "changed"

        bulk.insert(rows, update=["name"])

        assert {(row.name, row.summary) for row in stored(rows).values()} == {("AA", "old"), ("BB", "old")}

    def test_text_that_does_not_fit_is_refused(self):
        with pytest.raises(DatabaseError), transaction.atomic():
            bulk.insert(servers(2, summary=["x" * 301, ""]))

    def test_a_field_is_copied_from_rows_of_another_model(self):
        rows = servers(3)
        entries = [
            make_entry(
                server_id=row.pk, source_id=uuid7(), source_name="", source_kind="http", source_trust="", audience="public",
                external_id=row.slug, digest="", seen_at=MOMENT, manifest={"of": row.slug, "long": ODD * 200},
            )
            for row in rows
        ]  # fmt: skip
        bulk.insert(rows)
        bulk.insert(entries)
        versions = [
            make_version(
                id=uuid7(), server_id=row.pk, version="1", inventory_digest="", created_at=MOMENT, manifest=entry.pk
            )
            for row, entry in zip(rows, entries, strict=True)
        ]

        bulk.insert(versions, copied=bulk.Copied("manifest", SourceEntry))

        found = ServerVersion.objects.in_bulk([each.pk for each in versions])
        assert [found[each.pk].manifest for each in versions] == [each.manifest for each in entries]


class TestMeanwhile:
    def test_statements_run_in_their_order_and_are_done_when_the_block_is_left(self):
        rows = servers(3, summary=["old"])
        with bulk.meanwhile():
            bulk.insert(rows)
            for row in rows:
                row.summary = "changed"
            bulk.update(rows, ["summary"])

        assert {row.summary for row in stored(rows).values()} == {"changed"}

    def test_the_first_failure_is_told_and_not_what_came_of_it(self):
        (server,) = servers(1)

        def twice():
            with transaction.atomic(), bulk.meanwhile():
                bulk.insert([server])
                bulk.insert([server])
                bulk.update([server], ["summary"])
                Server.objects.filter(pk=server.pk).update(summary="too late")

        with pytest.raises(IntegrityError, match="pkey"):
            twice()
        assert stored([server]) == {}

    def test_a_failure_of_the_caller_is_told_as_it_is(self):
        def fail():
            with transaction.atomic(), bulk.meanwhile():
                bulk.insert(servers(1))
                raise ValueError("planned")

        with pytest.raises(ValueError, match="planned"):
            fail()


class TestKeysThatAreLookedUpEarly:
    def test_one_that_leads_nowhere_is_told_before_the_commit(self):
        def write():
            with transaction.atomic():
                with bulk.meanwhile():
                    bulk.insert(
                        [
                            make_version(
                                id=uuid7(), server_id=uuid7(), version="1", inventory_digest="0" * 64, created_at=MOMENT
                            )
                        ]
                    )
                    bulk.check_keys_now()
                pytest.fail("it was not looked up")

        with pytest.raises(IntegrityError, match="server_id"):
            write()

    def test_rows_that_follow_may_name_each_other(self):
        bulk.check_keys_now()
        (server,) = servers(1)
        version = make_version(
            id=uuid7(), server_id=server.pk, version="1", inventory_digest="0" * 64, created_at=MOMENT
        )

        bulk.insert([version])  # before its server
        bulk.insert([server])

        bulk.check_keys_now()


class TestUpdate:
    def test_each_row_gets_its_own_values(self):
        rows = servers(3, summary=["old"])
        bulk.insert(rows)
        for number, row in enumerate(rows):
            row.summary, row.tags, row.tool_count, row.name = (
                f"{number}",
                [ODD[:40]] * number,
                number or None,
                "passed over",
            )

        bulk.update(rows, ["summary", "tags", "tool_count"])

        found = stored(rows)
        assert [(found[row.slug].summary, found[row.slug].tags, found[row.slug].tool_count) for row in rows] == [
            (row.summary, row.tags, row.tool_count) for row in rows
        ]
        assert {row.name for row in found.values()} == {"Server"}


class TestAnyOf:
    @pytest.mark.parametrize("wanted", [[], ["server-1"], ["server-0", "server-2", ODD]])
    def test_it_finds_what_in_finds(self, wanted):
        bulk.insert(servers(3))

        found = Server.objects.filter(bulk.any_of("slug", wanted, models.TextField()))

        assert {row.slug for row in found} == {row.slug for row in Server.objects.filter(slug__in=wanted)}


class TestMaker:
    def test_it_makes_what_the_constructor_makes(self):
        given = {"id": uuid7(), "name": "A", "updated_at": MOMENT, "created_at": MOMENT, "entry_changed_at": MOMENT}

        made, usual = make_server(**given), Server(**given)

        assert {**made.__dict__, "_state": None} == {**usual.__dict__, "_state": None}
        assert made._state.adding is usual._state.adding is True

    def test_no_two_share_a_list(self):
        one, other = make_server(), make_server()
        one.tags.append("mine")

        assert other.tags == []
        assert one.pk != other.pk
