"""`server.json` of every generation."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from catalog.formats import server_json
from catalog.formats.normal import CodeRepository, Entry
from tests.support import registries

CANONICAL = {
    "$schema": server_json.SCHEMA,
    "name": "io.github.acme/mail",
    "title": "Mail",
    "description": "Sends and reads mail.",
    "version": "1.2.3",
    "websiteUrl": "https://acme.example/mail",
    "repository": {"url": "https://github.com/acme/mail", "source": "github", "id": "17", "subfolder": "server"},
    "icons": [{"src": "https://acme.example/i.png", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}],
    "packages": [
        {
            "registryType": "npm",
            "registryBaseUrl": "https://registry.npmjs.org",
            "identifier": "@acme/mail",
            "version": "1.2.3",
            "runtimeHint": "npx",
            "transport": {"type": "stdio"},
            "runtimeArguments": [{"type": "named", "name": "--yes"}],
            "packageArguments": [
                {"type": "positional", "valueHint": "folder", "format": "filepath", "isRequired": True},
                {"type": "named", "name": "--tag", "value": "{tag}", "isRepeated": True, "variables": {"tag": {}}},
            ],
            "environmentVariables": [
                {"name": "MAIL_KEY", "description": "Your key", "isRequired": True, "isSecret": True},
                {"name": "MODE", "default": "fast", "choices": ["fast", "slow"], "placeholder": "fast"},
            ],
        },
        {
            "registryType": "mcpb",
            "identifier": "https://github.com/acme/mail/releases/download/v1/mail-mcp.mcpb",
            "fileSha256": "ab" * 32,
            "transport": {"type": "streamable-http", "url": "http://localhost:{port}/mcp", "variables": {"port": {}}},
        },
    ],
    "remotes": [
        {
            "type": "streamable-http",
            "url": "https://{tenant}.acme.example/mcp",
            "variables": {"tenant": {"description": "Your tenant", "isRequired": True}},
            "headers": [{"name": "X-Key", "isSecret": True, "value": "Bearer {key}", "variables": {"key": {}}}],
        },
        {"type": "sse", "url": "{base}/sse"},
    ],
    "_meta": {"io.modelcontextprotocol.registry/publisher-provided": {"tool": "x", "more": [1, 2]}},
}
SEED = {
    "id": "0c4fb7a1-0000-4000-8000-000000000000",
    "name": "io.github.acme/mail",
    "description": "Sends mail",
    "repository": {"url": "https://github.com/acme/mail", "source": "github", "id": "17"},
    "version_detail": {"version": "0.0.1-seed", "release_date": "2025-05-16T18:56:52Z", "is_latest": True},
    "packages": [
        {
            "registry_name": "docker",
            "name": "acme/mail",
            "version": "1",
            "runtime_hint": "docker",
            "environment_variables": [{"name": "KEY", "is_required": True, "is_secret": True}],
            "package_arguments": [{"type": "positional", "value_hint": "folder", "is_repeated": True}],
        }
    ],
    "remotes": [{"transport_type": "sse", "url": "https://acme.example/sse"}],
}


def good(data: object) -> Entry:
    entry, problems = server_json.read(data, "file")
    assert problems == []
    assert entry is not None
    return entry


class TestGenerations:
    def test_a_canonical_document_comes_back_as_it_was(self):
        assert server_json.write(good(CANONICAL)) == CANONICAL

    def test_an_entry_survives_the_database(self):
        entry = good(CANONICAL)

        assert Entry.from_dict(json.loads(json.dumps(entry.to_dict()))) == entry

    def test_the_seed_of_may_2025_is_read(self):
        entry = good(SEED)

        assert (entry.version, entry.is_latest) == ("0.0.1-seed", True)
        assert entry.published_at == datetime(2025, 5, 16, 18, 56, 52, tzinfo=UTC)
        package = entry.packages[0]
        assert (package.registry_type, package.identifier, package.runtime_hint) == ("oci", "acme/mail", "docker")
        assert (package.environment[0].is_required, package.environment[0].is_secret) == (True, True)
        assert (package.package_arguments[0].value_hint, package.package_arguments[0].is_repeated) == ("folder", True)
        assert entry.remotes[0].type == "sse"

    def test_snake_case_of_july_2025_says_the_same_as_camel_case(self):
        old = {
            "$schema": "https://static.modelcontextprotocol.io/schemas/2025-07-09/server.schema.json",
            "name": "io.github.acme/mail",
            "description": "Mail",
            "status": "deprecated",
            "website_url": "https://acme.example",
            "version": "1.0.0",
            "packages": [
                {
                    "registry_type": "pypi",
                    "registry_base_url": "https://pypi.org",
                    "identifier": "acme-mail",
                    "transport": {"type": "stdio"},
                }
            ],
        }
        entry = good(old)

        assert entry.status == "deprecated"
        assert entry.website_url == "https://acme.example"
        assert entry.packages[0].registry_base_url == "https://pypi.org"
        assert set(entry.extra) == {"$schema"}

    def test_what_the_registry_says_is_read_from_the_envelope(self):
        row = registries.make_row("io.github.acme/mail", "2.0.0")
        row["_meta"][server_json.OFFICIAL] |= {"status": "deleted", "statusMessage": "Gone", "isLatest": False}
        entry = good(row)

        assert (entry.status, entry.status_message, entry.is_latest) == ("deleted", "Gone", False)
        assert entry.updated_at == registries.START
        assert server_json.write_listed(entry) == row

    @pytest.mark.parametrize("key", ["_meta", "x-io.modelcontextprotocol.registry"])
    def test_what_the_registry_said_where_it_stood_before_is_read_too(self, key):
        told = {"published_at": "2025-09-01T00:00:00Z", "updated_at": "2025-09-02T00:00:00Z", "is_latest": True}
        document = {"name": "a.b/c", "version": "1", "description": "x"}
        data = document | {"_meta": {server_json.OFFICIAL: told}} if key == "_meta" else {"server": document, key: told}
        entry = good(data)

        assert entry.is_latest is True
        assert entry.updated_at == datetime(2025, 9, 2, tzinfo=UTC)


class TestOddInput:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": "no-slash"}, "name"),
            ({"name": ""}, "name"),
            ({"name": ["a.b/c"]}, "name"),
            ({"version": ""}, "version"),
            ({"version": "^1.2"}, "version"),
            ({"version": "1.x"}, "version"),
            ({"version": "1" * 256}, "version"),
        ],
    )
    def test_an_entry_without_a_good_name_or_version_is_refused_with_the_field(self, change, field):
        entry, problems = server_json.read(CANONICAL | change, "list.json")

        assert entry is None
        assert {(problem.file, problem.field) for problem in problems} == {("list.json", field)}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"packages": [{"registryType": "gem", "identifier": "x"}]}, "packages[0].registryType"),
            ({"packages": [{"registryType": "npm"}]}, "packages[0].identifier"),
            ({"packages": "npm"}, "packages"),
            ({"packages": [1]}, "packages[0]"),
            ({"remotes": [{"type": "websocket", "url": "wss://x"}]}, "remotes[0].type"),
            ({"remotes": [{"type": "sse", "url": "javascript:alert(1)"}]}, "remotes[0].url"),
            ({"remotes": [{"type": "sse", "url": "https://ex ample"}]}, "remotes[0].url"),
            ({"websiteUrl": "javascript:alert(1)"}, "websiteUrl"),
            ({"icons": [{"src": "data:text/html,x"}]}, "icons[0].src"),
            ({"repository": 7}, "repository"),
            ({"description": {"en": "x"}}, "description"),
        ],
    )
    def test_a_part_that_cannot_be_taken_is_reported_and_the_rest_goes_on(self, change, field):
        entry, problems = server_json.read(CANONICAL | change, "list.json")

        assert entry is not None
        assert (entry.name, entry.version) == ("io.github.acme/mail", "1.2.3")
        assert [problem.field for problem in problems] == [field]
        assert problems[0].entry == "io.github.acme/mail"

    def test_a_page_gives_every_good_entry_and_every_problem(self):
        entries, problems = server_json.read_all({"servers": [CANONICAL, 7, {"name": "x"}, SEED]}, "page")

        assert [entry.version for entry in entries] == ["1.2.3", "0.0.1-seed"]
        assert [(problem.entry, problem.field) for problem in problems] == [("", ""), ("x", "name"), ("x", "version")]


class TestWriting:
    def test_an_entry_of_another_format_gives_a_document_that_the_schema_takes(self):
        entry = Entry(
            name="io.docker/mail",
            format="docker_server",
            description="long " * 50,
            repository=CodeRepository("https://github.com/acme/mail"),
            extra={"run": {}},
        )
        document = server_json.write(entry)

        assert len(document["description"]) <= 100
        assert document["version"] == "0.0.0"
        assert document["repository"]["source"] == "github"
        assert "run" not in document

    def test_a_name_that_is_none_of_a_registry_is_refused(self):
        with pytest.raises(ValueError, match="not a registry name"):
            server_json.write(Entry(name="mail", format="docker_server"))


@pytest.mark.skipif(not registries.SHARED.exists(), reason="the shared data is not there")
class TestRealRegistry:
    def test_all_versions_of_the_official_registry_are_read_and_given_back(self):
        rows = registries.shared_rows()
        changed = 0
        for row in rows:
            entry, problems = server_json.read(row, "official")
            assert entry is not None
            written = server_json.write_listed(entry)
            assert server_json.read(written, "official") == (entry, [])
            document = {key: value for key, value in row["server"].items() if value not in ({}, [])}
            if problems:
                changed += 1
            else:
                assert written == {"server": document, "_meta": row["_meta"]}

        assert len(rows) == 2794
        assert changed < 20  # variables without a name, arguments without a type
