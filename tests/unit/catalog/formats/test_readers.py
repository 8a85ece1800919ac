"""Every format but `server.json`: what is taken, what is refused, and that writing it again loses nothing."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.formats import (
    contextforge,
    docker_server,
    files,
    mcp_metadata,
    mcp_server_manifest,
    mcpb,
    mcpm,
    server_json,
)
from catalog.formats.commands import package_of
from catalog.formats.normal import Entry
from catalog.formats.reading import DEPTH_MAX
from tests.support.registries import SHARED
from tests.unit.catalog.formats import samples
from tests.unit.catalog.formats.test_server_json import CANONICAL

READERS = {
    "docker": (docker_server, samples.DOCKER),
    "docker remote": (docker_server, samples.DOCKER_REMOTE),
    "contextforge": (contextforge, samples.CONTEXTFORGE),
    "mcpm": (mcpm, samples.MCPM),
    "manifest": (mcp_server_manifest, samples.MANIFEST),
    "metadata": (mcp_metadata, samples.METADATA["servers"][0]),
    "bare metadata": (mcp_metadata, samples.METADATA["servers"][1]),
    "mcpb": (mcpb, samples.MCPB),
    "server.json": (server_json, CANONICAL),
}
EVERY = pytest.mark.parametrize(("module", "sample"), READERS.values(), ids=READERS)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JUNK = st.recursive(
    SCALARS | st.binary(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=12,
)


def good(module, data) -> Entry:
    entry, problems = module.read(data, "file")
    assert problems == []
    assert entry is not None
    return entry


class TestEveryFormat:
    @EVERY
    def test_an_entry_that_is_written_and_read_again_is_the_same(self, module, sample):
        entry = good(module, sample)

        assert module.read(json.loads(json.dumps(module.write(entry))), "file")[0] == entry

    @EVERY
    def test_it_survives_the_database(self, module, sample):
        entry = good(module, sample)

        assert Entry.from_dict(json.loads(json.dumps(entry.to_dict()))) == entry

    @EVERY
    def test_reading_changes_nothing_of_what_was_given(self, module, sample):
        given_data = deepcopy(sample)
        module.read(given_data, "file")

        assert given_data == sample

    @EVERY
    def test_it_is_recognised_by_what_it_holds(self, module, sample):
        whole = {"version": "v1", "servers": [sample]} if module is mcp_metadata else sample

        assert files.recognise(whole) == module.FORMAT
        entries, problems = files.read_file(json.dumps(whole).encode(), "found.json")
        assert (len(entries), problems) == (1, [])

    @EVERY
    @given(data=st.data())
    def test_whatever_stands_in_a_field_the_reader_reports_and_goes_on(self, module, sample, data):
        changed = deepcopy(sample)
        for _ in range(data.draw(st.integers(1, 3))):
            holder = data.draw(st.sampled_from(list(_holders(changed))))
            key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
            holder[key] = data.draw(JUNK)
        entry, problems = module.read(changed, "file")

        assert all(problem.file == "file" and problem.reason for problem in problems)
        if entry is None:
            assert problems
        else:
            stored = json.dumps(entry.to_dict(), allow_nan=False)
            assert "\\u0000" not in stored
            stored.encode()
            assert Entry.from_dict(json.loads(stored)) == entry

    @EVERY
    @given(junk=JUNK)
    def test_junk_is_refused_with_a_reason(self, module, sample, junk):
        entry, problems = module.read(junk, "file")
        many, reported = files.read_document(junk, "file")

        assert entry is None or isinstance(junk, dict)
        assert entry or problems
        assert many or reported or junk in ([], {})

    @EVERY
    def test_what_is_too_deep_or_refers_to_itself_is_refused(self, module, sample):
        loop: dict = dict(sample)
        loop["loop"] = loop
        deep: object = "end"
        for _ in range(DEPTH_MAX + 5):
            deep = [deep]

        for data in (loop, sample | {"deep": deep}):
            entry, problems = module.read(data, "file")
            assert entry is None
            assert "deeper" in problems[0].reason or "more than" in problems[0].reason


def _holders(value):
    if isinstance(value, dict | list):
        if value:
            yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _holders(each)


class TestDocker:
    def test_an_image_becomes_a_package_with_what_the_user_sets(self):
        entry = good(docker_server, samples.DOCKER)
        package = entry.packages[0]

        assert (package.registry_type, package.identifier, package.transport.type) == ("oci", "mcp/mail", "stdio")
        assert package.environment[0].name == "MAIL_KEY"
        assert package.environment[0].is_secret
        assert (package.environment[1].value, package.environment[1].variables[0].description) == ("{host}", "The host")
        assert [argument.value for argument in package.package_arguments] == ["--level={level}"]
        assert [argument.value for argument in package.runtime_arguments] == ["-v", "{folder}:/data"]
        assert entry.configuration_schema["required"] == ["host"]
        assert entry.repository is not None
        assert entry.repository.subfolder == "src/mail"

    def test_a_list_of_arguments_becomes_a_schema(self):
        schema = good(docker_server, samples.DOCKER).tools[0].input_schema

        assert schema is not None
        assert schema["required"] == ["to"]
        assert schema["properties"]["copies"] == {"type": "array", "items": {"type": "string"}}

    def test_a_remote_names_its_address_and_the_secret_in_its_header(self):
        entry = good(docker_server, samples.DOCKER_REMOTE)

        assert entry.packages == ()
        assert (entry.remotes[0].type, entry.remotes[0].url) == ("sse", "https://mail.example/sse")
        assert entry.remotes[0].headers[0].value == "Bearer {MAIL_KEY}"
        assert entry.remotes[0].headers[0].is_secret
        assert entry.auth_mode == "header"

    @pytest.mark.parametrize(
        ("change", "mode"),
        [({"config": {}}, "header"), ({"config": {}, "remote": {"url": "https://x.example/mcp"}}, "none")],
    )
    def test_the_way_to_say_who_calls_is_read_off_secrets_and_headers(self, change, mode):
        assert good(docker_server, samples.DOCKER_REMOTE | change).auth_mode == mode
        oauth = {"oauth": [{"provider": "x", "secret": "y", "env": "Z"}]}
        assert good(docker_server, samples.DOCKER_REMOTE | change | oauth).auth_mode == "oauth"


class TestContextForge:
    @pytest.mark.parametrize(
        ("spelling", "mode"),
        [
            ("OAuth2.1", "oauth"),
            ("OAuth", "oauth"),
            ("OAuth2.1 & API Key", "oauth"),
            ("API Key", "header"),
            ("API", "header"),
            ("Open", "none"),
        ],
    )
    def test_every_spelling_of_the_credential_is_known(self, spelling, mode):
        entry = good(contextforge, samples.CONTEXTFORGE | {"auth_type": spelling, "requires_api_key": False})

        assert entry.auth_mode == mode

    def test_the_transport_is_guessed_from_the_address_where_none_is_given(self):
        for url, kind in (("https://a.example/sse", "sse"), ("https://a.example/mcp", "streamable-http")):
            assert good(contextforge, samples.CONTEXTFORGE | {"url": url}).remotes[0].type == kind
        given_kind = samples.CONTEXTFORGE | {"transport": "STREAMABLEHTTP"}
        assert good(contextforge, given_kind).remotes[0].type == "streamable-http"

    def test_an_address_of_the_reader_s_own_machine_is_no_remote(self):
        row = samples.CONTEXTFORGE | {"url": "http://localhost:8103/sse", "install": "npx -y @acme/mail@latest"}
        entry, problems = contextforge.read(row, "file")

        assert entry is not None
        assert entry.remotes == ()
        assert (entry.packages[0].identifier, entry.packages[0].transport.type) == ("@acme/mail", "sse")
        assert [problem.field for problem in problems] == ["url"]
        assert contextforge.read(contextforge.write(entry), "file")[0] == entry

    def test_a_transport_that_the_protocol_has_not_is_reported(self):
        entry, problems = contextforge.read(samples.CONTEXTFORGE | {"transport": "WEBSOCKET"}, "file")

        assert entry is not None
        assert entry.remotes == ()
        assert [problem.field for problem in problems] == ["transport"]


class TestMcpm:
    def test_commands_become_packages_the_recommended_one_first(self):
        entry = good(mcpm, samples.MCPM)

        assert [(package.registry_type, package.identifier, package.version) for package in entry.packages] == [
            ("npm", "@acme/mail", "1.2.0"),
            ("pypi", "acme-mail", "2.0"),
            ("oci", "acme/mail:3", ""),
        ]
        assert [argument.value for argument in entry.packages[1].package_arguments] == ["--key", "{MAIL_KEY}"]
        key, mode = entry.packages[0].environment
        assert (key.is_secret, key.is_required, key.default, mode.default) == (True, True, "", "slow")
        assert [remote.url for remote in entry.remotes] == ["https://mail.example/mcp"]

    def test_resources_are_told_apart_by_their_address(self):
        assert [claim.uri for claim in good(mcpm, samples.MCPM).resources] == ["mail://1", "mail://2"]

    def test_an_archived_entry_is_deprecated(self):
        assert good(mcpm, samples.MCPM).status == "deprecated"

    @pytest.mark.parametrize("shape", ["list", "by name", "under servers"])
    def test_an_index_may_have_three_shapes(self, shape):
        row = {key: value for key, value in samples.MCPM.items() if key != "name"}
        data = {
            "list": [samples.MCPM, samples.MCPM | {"name": "post"}],
            "by name": {"mail": row, "post": row},
            "under servers": {"servers": {"mail": row, "post": row}},
        }[shape]
        entries, problems = files.read_document(data, "index.json")

        assert ([entry.name for entry in entries], problems) == (["mail", "post"], [])

    @pytest.mark.parametrize(
        ("command", "arguments"),
        [
            ("node", ["index.js"]),
            ("npx", ["/path/to/thing"]),
            ("npx", ["-y"]),
            ("uvx", ["--from", "git+https://github.com/acme/mail", "mail"]),
            ("docker", ["compose", "up"]),
            ("docker", ["run", "--rm"]),
            ("uv", ["run", "server.py"]),
        ],
    )
    def test_a_command_that_names_nothing_in_a_registry_gives_no_package(self, command, arguments):
        assert package_of(command, arguments) is None


class TestManifest:
    def test_a_whole_manifest_is_read_with_the_platform_s_defaults(self):
        entry = good(mcp_server_manifest, samples.MANIFEST)
        spec = entry.extra["spec"]

        assert entry.packages[0].identifier == "registry.example:5000/acme/mail:latest"
        assert entry.packages[0].transport.url == "http://localhost:9000/post/mcp"
        assert [(tool.name, tool.required_trust, tool.side_effect) for tool in entry.tools] == [
            ("send", "high", "write"),
            ("read", "low", "read"),
        ]
        assert entry.auth_mode == "oauth"
        assert spec["auth"]["agentIDHeader"] == "X-MCP-Agent-ID"
        assert spec["policy"] == {
            "mode": "observe",
            "defaultDecision": "deny",
            "enforceOn": "call_tool",
            "policyVersion": "v1",
        }
        assert spec["session"]["maxLifetime"] == "24h"
        assert spec["gateway"]["port"] == 8091
        assert spec["analytics"]["source"] == "mail-gateway"

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"image": ""}, "spec.image"),
            ({"port": "not-a-number"}, "spec.port"),
            ({"publicPathPrefix": "//"}, "spec.publicPathPrefix"),
            ({"teamID": "a b"}, "spec.teamID"),
            ({"tools": [{"name": "a"}]}, "spec.tools.a.sideEffect"),
            ({"tools": [{"name": "a", "sideEffect": "explode"}]}, "spec.tools[0].sideEffect"),
            ({"tools": [{"name": "a", "sideEffect": "read"}] * 2}, "spec.tools[1].name"),
            ({"auth": {"mode": "oauth"}}, "spec.auth.issuerURL"),
            ({"auth": {"mode": "magic"}}, "spec.auth.mode"),
            ({"auth": {"mode": "mtls", "trustDomain": "x"}, "gateway": {}, "analytics": {}}, "spec.auth.mode"),
            ({"policy": {"mode": "allow"}}, "spec.policy.mode"),
            ({"gateway": None}, "spec.analytics.ingestURL"),
            ({"gateway": {"enabled": True, "port": 9000}}, "spec.gateway.port"),
            ({"rollout": {"strategy": "Canary", "canaryReplicas": 3}}, "spec.rollout.canaryReplicas"),
            ({"rollout": {"maxSurge": "lots"}}, "spec.rollout.maxSurge"),
            ({"secretEnvVars": [{"name": "A"}]}, "spec.secretEnvVars[0]"),
        ],
    )
    def test_a_broken_rule_refuses_the_manifest_and_names_the_field(self, change, field):
        entry, problems = mcp_server_manifest.read(
            samples.MANIFEST | {"spec": samples.MANIFEST["spec"] | change}, "m.yaml"
        )

        assert entry is None
        assert field in [problem.field for problem in problems]

    @pytest.mark.parametrize("kind", ["Deployment", "MCPAccessGrant", "MCPAgentSession", ""])
    def test_another_kind_is_refused_by_name(self, kind):
        entry, problems = mcp_server_manifest.read(samples.MANIFEST | {"kind": kind}, "m.yaml")

        assert entry is None
        assert problems[0].field == "kind"

    def test_a_tag_or_digest_in_the_image_stays(self):
        for image in ("acme/mail:2", "acme/mail@sha256:" + "0" * 64):
            spec = samples.MANIFEST["spec"] | {"image": image}
            assert good(mcp_server_manifest, samples.MANIFEST | {"spec": spec}).packages[0].identifier == image


class TestMetadata:
    def test_defaults_are_filled_in_by_scope(self):
        entries, problems = mcp_metadata.read_all(
            samples.METADATA, "servers.yaml", mcp_metadata.Defaults("registry.example")
        )
        mail, bare = entries

        assert problems == []
        assert mail.packages[0].identifier == "registry.example/org/mail:latest"
        assert mail.packages[0].transport.url == "http://localhost:8088/post/mcp"
        assert (mail.extra["spec"]["scope"], mail.extra["spec"]["namespace"]) == ("org", "mcp-servers-org")
        assert mail.tools[0].required_trust == "low"
        assert bare.packages[0].identifier == "registry.example/bare:latest"
        assert bare.packages[0].transport.url == "http://localhost:8088/bare/mcp"
        assert (bare.extra["spec"]["replicas"], bare.extra["spec"]["namespace"]) == (1, "mcp-servers")
        assert "policy" not in bare.extra["spec"]

    def test_a_wrong_scope_is_refused_in_the_words_of_the_platform(self):
        entry, problems = mcp_metadata.read({"name": "mail", "scope": "world"}, "servers.yaml")

        assert entry is None
        assert problems[0].reason == 'scope "world" is invalid (use tenant, org, or public)'

    def test_one_bad_server_does_not_stop_the_others(self):
        data = {
            "version": "v1",
            "servers": [{"name": "Bad Name"}, {"name": "a", "port": "x"}, {"name": "b"}, {"name": "b"}],
        }
        entries, problems = mcp_metadata.read_all(data, "servers.yaml")

        assert [entry.name for entry in entries] == ["b"]
        assert [problem.field for problem in problems] == ["name", "port", "servers[3].name"]

    def test_it_says_the_same_as_the_manifest_of_the_same_server(self):
        entry = good(mcp_metadata, samples.METADATA["servers"][0])
        manifest = mcp_server_manifest.write(entry)
        again = good(mcp_server_manifest, manifest)

        assert again.tools == entry.tools
        assert again.packages[0].identifier == entry.packages[0].identifier


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not there")
class TestRealFiles:
    @pytest.mark.parametrize(
        ("name", "entries", "problems"),
        [
            ("official-registry-2025-12-18.jsonl.gz", 2794, 16),
            ("docker-mcp-registry.jsonl.gz", 328, 0),
            ("mcpm-servers.jsonl.gz", 380, 3),
            ("context-forge-catalog.yml", 135, 14),
            ("mcp-runtime/workspace-assistant-mcp/servers.yaml", 1, 0),
            ("mcp-runtime/data-utility-mcp/servers.yaml", 1, 0),
            ("mcp-runtime/text-analysis-mcp/servers.yaml", 1, 0),
            ("mcp-runtime/governed-agent/deploy/server.metadata.yaml", 1, 0),
            ("mcp-runtime/mcpserver-path-based.yaml", 1, 0),
            ("mcp-runtime/governed-agent/deploy/grant.yaml", 0, 1),
            ("metorial-tools.jsonl.gz", 0, 1),
        ],
    )
    def test_every_entry_is_taken_or_reported_and_survives_writing(self, name, entries, problems):
        found, reported = files.read_file((SHARED.parent / name).read_bytes(), name)

        assert (len(found), len(reported)) == (entries, problems)
        modules = {module.FORMAT: module for module, _ in READERS.values()}
        for entry in found:
            module = modules[entry.format]
            write = server_json.write_listed if module is server_json else module.write
            assert module.read(write(entry), name)[0] == entry
            assert Entry.from_dict(json.loads(json.dumps(entry.to_dict()))) == entry
