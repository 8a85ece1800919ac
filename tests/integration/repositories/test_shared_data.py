"""The real files of the shared data, read as sources: the official registry through its API, an mcpm index over HTTP."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from catalog.services import importing
from repositories.choices import RunState
from tests.integration.repositories.conftest import add, read
from tests.support.registries import running_registry, shared_rows
from tests.support.source_hosts import Answer, Host, running

SHARED = Path(__file__).parents[4] / "shared" / "data"

pytestmark = [
    pytest.mark.usefixtures("platform"),
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not beside the project"),
]


def lines(name: str) -> list[object]:
    with gzip.open(SHARED / name, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_every_version_of_the_official_registry_is_read(settings, capsys):
    with running_registry(shared_rows()) as registry:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{registry.port}"]
        run = read(source := add("official", registry.url, trust_level="verified"))

    with capsys.disabled():
        print(f"\nofficial: {run.read} versions, {run.repository.server_count} servers, {run.problem_count} problems")
    assert run.state == RunState.SUCCESS, run.note
    assert run.read == 2794
    assert len(importing.names_of(source.pk)) == 1108


def test_an_index_of_mcpm_entries_is_read_over_http(settings, capsys):
    rows = lines("mcpm-servers.jsonl.gz")
    with running(Host({"/servers.json": Answer(200, {row["name"]: row for row in rows})})) as host:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{host.port}"]
        run = read(add("http", f"{host.url}/servers.json"))

    with capsys.disabled():
        print(f"\nmcpm: {len(rows)} rows, {run.read} entries, {run.problem_count} problems {run.problems[:2]}")
    assert run.state == RunState.SUCCESS, run.note
    assert run.read == len({row["name"] for row in rows}) == 380


def test_contextforges_catalog_and_dockers_entries_are_read_from_a_folder(settings, capsys):
    settings.SOURCE_FOLDERS = [str(SHARED)]
    for name, expected in (("context-forge-catalog.yml", 135), ("docker-mcp-registry.jsonl.gz", 328)):
        run = read(add("local", str(SHARED / name), name=name))
        with capsys.disabled():
            print(f"\n{name}: {run.read} entries, {run.problem_count} problems {run.problems[:2]}")
        assert run.state == RunState.SUCCESS, run.note
        assert run.read == expected
