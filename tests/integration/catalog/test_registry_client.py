"""What any registry owes a client, asked of our fake of the official one and of our own API with the same entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from catalog.choices import SourceKind, SourceTrust
from catalog.formats import server_json
from catalog.models import Server
from catalog.services import importing
from core.ids import uuid7
from tenants.context import platform_scope
from tests.support import registries
from tests.support.registry_client import InTransaction, RegistryClient, keys, told

NAME = "io.github.sample/server-000"
ROWS = registries.sample_rows(7)


@dataclass
class Ground:
    """A registry with `ROWS`. `change` marks a server deprecated or deleted there; `start` is before everything."""

    client: RegistryClient
    change: Callable[[str, str], None]
    start: datetime


@pytest.fixture(params=["fake v0.1", "fake v0", "ours v0.1", "ours v0"])
def ground(request, db) -> Iterator[Ground]:
    who, prefix = request.param.split()
    if who == "fake":
        yield from _fake(prefix)
    else:
        yield _ours(prefix)


def _fake(prefix: str) -> Iterator[Ground]:
    with registries.running_registry(registries.sample_rows(7)) as registry:

        def change(name: str, status: str) -> None:
            registry.change_status(name, status, at=registries.START + timedelta(days=1))

        yield Ground(RegistryClient(f"{registry.url}/{prefix}"), change, registries.START + timedelta(hours=1))


def _ours(prefix: str) -> Ground:
    source = importing.SourceRef(uuid7(), "official", SourceKind.OFFICIAL, SourceTrust.VERIFIED)

    def take(rows) -> None:
        entries, problems = server_json.read_all({"servers": rows}, "official")
        assert problems == []
        importing.take(source, entries)

    def change(name: str, status: str) -> None:
        changed = registries.FakeRegistry(registries.sample_rows(7))
        changed.change_status(name, status, at=registries.START + timedelta(days=1))
        take([row for row in changed.rows if row["server"]["name"] == name])

    take(ROWS)
    client = RegistryClient(f"http://testserver/{prefix}", transport=InTransaction())
    with platform_scope():
        start = max(Server.objects.values_list("entry_changed_at", flat=True))
    return Ground(client, change, start)


def sample(rows):
    return [row for row in rows if row["server"]["name"].startswith("io.github.sample/")]


class TestAnyRegistry:
    def test_every_version_is_listed_once_whatever_the_size_of_a_page(self, ground):
        whole = keys(sample(ground.client.all()))

        assert sorted(whole) == sorted(keys(ROWS))
        for limit in (1, 3, 14):
            assert keys(sample(ground.client.all(limit=limit))) == whole

    def test_a_document_is_given_as_it_was_published(self, ground):
        given = {(row["server"]["name"], row["server"]["version"]): row["server"] for row in ROWS}

        for row in sample(ground.client.all()):
            assert row["server"] == given[row["server"]["name"], row["server"]["version"]]

    def test_latest_versions_alone(self, ground):
        rows = sample(ground.client.all(version="latest"))

        assert {row["server"]["version"] for row in rows} == {"1.1.0"}
        assert len(rows) == 7
        assert all(told(row)["isLatest"] for row in rows)

    def test_one_version_of_all(self, ground):
        assert len(sample(ground.client.all(version="1.0.0"))) == 7
        assert sample(ground.client.all(version="9.9.9")) == []

    def test_a_part_of_the_name_finds_it(self, ground):
        assert {name for name, _ in keys(ground.client.all(search="SERVER-00"))} == {
            f"io.github.sample/server-00{number}" for number in range(7)
        }
        assert keys(ground.client.all(search="sample/server-003", version="latest")) == [
            ("io.github.sample/server-003", "1.1.0")
        ]

    def test_versions_of_one_name_the_newest_first(self, ground):
        assert [row["server"]["version"] for row in ground.client.versions(NAME)] == ["1.1.0", "1.0.0"]

    def test_one_version_by_label_and_as_the_latest(self, ground):
        assert ground.client.version(NAME).json()["server"]["version"] == "1.1.0"
        assert ground.client.version(NAME, "1.0.0").json()["server"]["version"] == "1.0.0"

    @pytest.mark.parametrize(("name", "version"), [("io.github.sample/none", "latest"), (NAME, "7"), ("none", "1")])
    def test_what_is_not_there_is_404_with_an_error(self, ground, name, version):
        answer = ground.client.version(name, version)

        assert answer.status_code == 404
        assert answer.json()["error"]

    @pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"updated_since": "yesterday"}])
    def test_a_wrong_question_is_refused(self, ground, query):
        answer = ground.client.get("/servers", **query)

        assert 400 <= answer.status_code < 500
        assert answer.json()["error"]

    def test_what_was_deleted_is_listed_only_for_those_who_ask_for_it(self, ground):
        ground.change(NAME, "deleted")

        assert NAME not in {name for name, _ in keys(ground.client.all())}
        rows = [row for row in ground.client.all(include_deleted="true") if row["server"]["name"] == NAME]
        assert {told(row)["status"] for row in rows} == {"deleted"}

    def test_what_changed_since_a_moment_is_listed_deleted_ones_too(self, ground):
        other = "io.github.sample/server-001"
        assert sample(ground.client.all(updated_since=ground.start.isoformat())) == []
        ground.change(NAME, "deleted")
        ground.change(other, "deprecated")
        rows = sample(ground.client.all(updated_since=ground.start.isoformat()))

        assert {(row["server"]["name"], told(row)["status"]) for row in rows} == {
            (NAME, "deleted"),
            (other, "deprecated"),
        }
        assert all(datetime.fromisoformat(told(row)["updatedAt"]) > ground.start for row in rows)
