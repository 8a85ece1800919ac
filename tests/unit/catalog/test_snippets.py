"""What each client would make of its snippet, by the client's own rules: parsed here without our serialisers."""

from __future__ import annotations

import base64
import json
import re
import shlex
import tomllib
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import snippets
from catalog.formats.normal import Argument, Entry, Input, Package, Remote, Transport
from catalog.snippets import checks, targets
from catalog.snippets.targets import Http, Process

PUBLIC = "https://market.example/"
URL = "https://market.example/mcp/payments"
BEARER = "Bearer mk_dev_1_s_c"
CLIENTS = [
    "Claude Code",
    "Claude Desktop",
    "Cursor",
    "VS Code",
    "Windsurf",
    "Docker MCP Gateway",
    "Codex CLI",
    "Gemini CLI",
    "Other clients",
]


def of(target) -> dict[str, snippets.Client]:
    return {client.label: client for client in snippets.for_target(target)}


def read(client: snippets.Client, label: str = ""):
    """The snippet as its client reads it; without a label the first one."""
    found = next(each for each in client.snippets if not label or each.label == label)
    match found.language:
        case "json":
            return json.loads(found.code)
        case "toml":
            return tomllib.loads(found.code)
        case "yaml":
            return yaml.safe_load(found.code)
        case "shell":
            return [shlex.split(line) for line in found.code.replace("\\\n", " ").splitlines()]
    address = urlsplit(found.code)
    if address.scheme == "cursor":
        query = parse_qs(address.query)
        return query["name"][0], json.loads(base64.b64decode(query["config"][0]))
    return json.loads(unquote(address.query))


@pytest.fixture
def by_key():
    return of(targets.through_gateway(PUBLIC, "payments", "mk_dev_1_s_c"))


@pytest.fixture
def by_oauth():
    return of(targets.through_gateway(PUBLIC, "payments", oauth=True))


class TestThroughTheGatewayWithAKey:
    def test_every_client_is_there(self, by_key):
        assert list(by_key) == CLIENTS
        assert all(client.snippets for client in by_key.values())

    @pytest.mark.parametrize(
        ("client", "key"), [("Cursor", "url"), ("Windsurf", "serverUrl"), ("Gemini CLI", "httpUrl")]
    )
    def test_address_and_header_are_where_the_client_looks(self, by_key, client, key):
        assert read(by_key[client]) == {"mcpServers": {"payments": {key: URL, "headers": {"Authorization": BEARER}}}}

    def test_other_clients_are_told_the_transport(self, by_key):
        entry = read(by_key["Other clients"])["mcpServers"]["payments"]
        assert entry == {"type": "http", "url": URL, "headers": {"Authorization": BEARER}}

    def test_claude_code_is_a_command(self, by_key):
        assert read(by_key["Claude Code"]) == [[
            "claude", "mcp", "add", "--transport", "http", "payments", URL, "--header", f"Authorization: {BEARER}",
        ]]  # fmt: skip

    def test_claude_desktop_goes_through_a_bridge_that_gets_the_key_by_environment(self, by_key):
        entry = read(by_key["Claude Desktop"])["mcpServers"]["payments"]
        assert entry["args"] == ["-y", "mcp-remote", URL, "--header", "Authorization:${AUTHORIZATION}"]
        assert entry["env"] == {"AUTHORIZATION": BEARER}

    def test_cursors_link_carries_the_entry_of_its_file(self, by_key):
        name, config = read(by_key["Cursor"], "Link")
        assert {name: config} == read(by_key["Cursor"])["mcpServers"]

    @pytest.mark.parametrize("way", ["File", "Command", "Link"])
    def test_vs_code_asks_for_the_key_and_keeps_it_out(self, by_key, way):
        assert "mk_dev" not in next(each.code for each in by_key["VS Code"].snippets if each.label == way)
        found = read(by_key["VS Code"], way)
        if way == "Command":
            assert found[0][:2] == ["code", "--add-mcp"]
            found = json.loads(found[0][2])
        server = found["servers"]["payments"] if way == "File" else found
        assert way == "File" or found["name"] == "payments"
        assert (server["type"], server["url"]) == ("http", URL)
        assert server["headers"]["Authorization"] == f"Bearer ${{input:{found['inputs'][0]['id']}}}"
        assert found["inputs"][0]["password"] is True

    def test_codex_is_toml(self, by_key):
        entry = read(by_key["Codex CLI"])["mcp_servers"]["payments"]
        assert entry == {"url": URL, "http_headers": {"Authorization": BEARER}}

    def test_docker_gets_a_catalog_and_its_secret_beside_it(self, by_key):
        entry = read(by_key["Docker MCP Gateway"], "Catalog")["registry"]["payments"]
        commands = read(by_key["Docker MCP Gateway"], "Commands")

        assert entry["remote"]["url"] == URL
        assert entry["remote"]["headers"] == {"Authorization": f"Bearer ${{{entry['secrets'][0]['env']}}}"}
        assert commands[0] == ["docker", "mcp", "secret", "set", f"{entry['secrets'][0]['name']}=mk_dev_1_s_c"]
        assert commands[1][:4] == ["docker", "mcp", "gateway", "run"]

    def test_without_a_key_there_is_a_placeholder(self):
        assert snippets.KEY_PLACEHOLDER in snippets.for_server(PUBLIC, "payments")[0].code


class TestThroughTheGatewayByOAuth:
    def test_no_snippet_has_a_place_for_a_key(self, by_oauth):
        for client in by_oauth.values():
            for snippet in client.snippets:
                assert "Bearer" not in snippet.code
                assert snippets.KEY_PLACEHOLDER not in snippet.code

    def test_each_says_how_to_sign_in_and_the_address_alone(self, by_oauth):
        assert read(by_oauth["Claude Code"])[0][-2:] == ["payments", URL]
        assert read(by_oauth["Cursor"])["mcpServers"]["payments"] == {"url": URL}
        assert read(by_oauth["VS Code"]) == {"servers": {"payments": {"type": "http", "url": URL}}}
        assert read(by_oauth["Claude Desktop"])["mcpServers"]["payments"]["args"] == ["-y", "mcp-remote", URL]
        assert read(by_oauth["Codex CLI"], "Sign in") == [["codex", "mcp", "login", "payments"]]
        assert ["docker", "mcp", "oauth", "authorize", "payments"] in read(by_oauth["Docker MCP Gateway"], "Commands")
        assert "/mcp auth payments" in by_oauth["Gemini CLI"].note


def npm(**fields) -> Package:
    given = {"registry_type": "npm", "identifier": "@acme/mail", "version": "1.2.0", "transport": Transport("stdio")}
    return Package(**given | fields)


def direct(*, packages=(), remotes=()) -> list[targets.Way]:
    return targets.ways_of(Entry(name="io.acme/mail", format="server.json", packages=packages, remotes=remotes), "mail")


class TestDirect:
    def test_an_npm_package_is_run_by_npx_with_its_blanks(self):
        token = Input(name="MAIL_TOKEN", description="Your token", is_required=True, is_secret=True)
        mode = Argument(type="named", name="--mode", value="static")
        (way,) = direct(packages=(npm(environment=(token,), package_arguments=(mode,)),))

        entry = read(of(way.target)["Cursor"])["mcpServers"]["mail"]
        assert entry == {
            "command": "npx",
            "args": ["-y", "@acme/mail@1.2.0", "--mode", "static"],
            "env": {"MAIL_TOKEN": "YOUR_MAIL_TOKEN"},
        }
        asked = read(of(way.target)["VS Code"])
        assert asked["inputs"] == [
            {"type": "promptString", "id": "mail-mail-token", "description": "Your token", "password": True}
        ]
        assert asked["servers"]["mail"]["env"] == {"MAIL_TOKEN": "${input:mail-mail-token}"}

    def test_claude_code_puts_an_option_between_environment_and_name(self):
        token = Input(name="MAIL_TOKEN", is_required=True)
        (way,) = direct(packages=(npm(environment=(token,)),))
        assert read(of(way.target)["Claude Code"]) == [[
            "claude", "mcp", "add", "--env", "MAIL_TOKEN=YOUR_MAIL_TOKEN", "--transport", "stdio", "mail", "--",
            "npx", "-y", "@acme/mail@1.2.0",
        ]]  # fmt: skip

    def test_what_starts_the_program_is_not_said_twice(self):
        again = (Argument(type="named", name="-y", value="@acme/mail@latest"),)
        (way,) = direct(packages=(npm(runtime_arguments=again),))
        assert [each.filled() for each in way.target.arguments] == ["-y", "@acme/mail@1.2.0"]

    def test_a_word_of_the_program_itself_stays(self):
        (way,) = direct(packages=(npm(package_arguments=(Argument(value="run"),)),))
        assert [each.filled() for each in way.target.arguments][-1] == "run"

    def test_python_by_uvx_and_dotnet_by_dnx(self):
        python, dotnet = direct(
            packages=(
                Package("pypi", "acme-mail", Transport("stdio"), "0.3"),
                Package("nuget", "Acme.Mail", Transport("stdio"), "2.0.1", package_arguments=(Argument(value="mcp"),)),
            )
        )
        assert [python.target.command, *(each.filled() for each in python.target.arguments)] == ["uvx", "acme-mail@0.3"]
        assert [dotnet.target.command, *(each.filled() for each in dotnet.target.arguments)] == [
            "dnx", "Acme.Mail@2.0.1", "--yes", "--", "mcp",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("identifier", "host", "version", "image"),
        [
            ("acme/mail", "https://docker.io", "1.0", "acme/mail:1.0"),
            ("acme/mail:2", "", "1.0", "acme/mail:2"),
            ("acme/mail", "https://ghcr.io", "1.0", "ghcr.io/acme/mail:1.0"),
            ("ghcr.io/acme/mail", "https://ghcr.io", "", "ghcr.io/acme/mail"),
        ],
    )
    def test_a_container_gets_its_environment_by_name(self, identifier, host, version, image):
        token = Input(name="TOKEN", is_required=True, is_secret=True)
        package = Package("oci", identifier, Transport("stdio"), version, host, environment=(token,))
        (way,) = direct(packages=(package,))

        entry = read(of(way.target)["Other clients"])["mcpServers"]["mail"]
        assert entry["args"] == ["run", "-i", "--rm", "-e", "TOKEN", image]
        catalog = read(of(way.target)["Docker MCP Gateway"], "Catalog")["registry"]["mail"]
        assert (catalog["image"], catalog["secrets"]) == (image, [{"name": "mail.token", "env": "TOKEN"}])

    def test_docker_says_that_it_runs_no_npm_package(self):
        (way,) = direct(packages=(npm(),))
        client = of(way.target)["Docker MCP Gateway"]
        assert client.snippets == ()
        assert "containers" in client.note

    def test_a_remote_with_a_secret_header_has_two_forms(self):
        key = Input(name="Authorization", value="Bearer {token}", is_required=True, is_secret=True)
        by_key, by_oauth = direct(remotes=(Remote("streamable-http", "https://mail.example/mcp", (key,)),))

        assert read(of(by_key.target)["Cursor"])["mcpServers"]["mail"]["headers"] == {
            "Authorization": "Bearer YOUR_TOKEN"
        }
        assert read(of(by_oauth.target)["Cursor"])["mcpServers"]["mail"] == {"url": "https://mail.example/mcp"}

    def test_an_address_with_variables_is_asked_for(self):
        remote = Remote("sse", "https://{tenant}.mail.example/sse", variables=(Input(name="tenant", is_required=True),))
        (way,) = direct(remotes=(remote,))

        assert (
            read(of(way.target)["VS Code"])["servers"]["mail"]["url"] == "https://${input:mail-tenant}.mail.example/sse"
        )
        assert read(of(way.target)["Gemini CLI"])["mcpServers"]["mail"] == {
            "url": "https://YOUR_TENANT.mail.example/sse"
        }
        assert of(way.target)["Codex CLI"].snippets == ()

    @pytest.mark.parametrize(
        "package",
        [
            npm(identifier="--registry=https://evil.example"),
            npm(identifier="a; rm -rf $HOME"),
            Package("oci", "-v/:/host", Transport("stdio")),
            Package("pypi", "git+https://evil.example/x", Transport("stdio")),
            Package("mcpb", "https://mail.example/mail.mcpb", Transport("stdio")),
        ],
    )
    def test_what_is_no_package_of_its_registry_is_not_run(self, package):
        (way,) = direct(packages=(package,))
        assert way.target is None
        assert way.why

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "-o=x", "", "//evil.example"])
    def test_only_web_addresses_are_written(self, url):
        (way,) = direct(remotes=(Remote("streamable-http", url),))
        assert way.target is None

    @pytest.mark.parametrize("client", ["Cursor", "VS Code", "Gemini CLI", "Claude Desktop", "Windsurf"])
    def test_a_manifest_cannot_make_a_client_send_its_users_environment(self, client):
        hostile = Input(name="X-Id", value="${env:AWS_SECRET_ACCESS_KEY}", is_required=True)
        ways = direct(
            remotes=(Remote("streamable-http", "https://mail.example/?x=${env:AWS_SECRET}&y=$HOME", (hostile,)),)
        )
        for way in ways:
            code = of(way.target)[client].snippets[0].code
            assert "AWS_SECRET_ACCESS_KEY" not in code
            assert not re.search(r"\$\{?(env|HOME)", code)


HOSTILE = st.text(min_size=1, max_size=40) | st.sampled_from(
    [
        '"; rm -rf ~',
        "$(id)",
        "`id`",
        "--header",
        "a\nb: c",
        "</script>",
        "]\n[x]",
        "${env:HOME}",
        "\x7f",
        "𝒳",
        "'",
        "\\",
    ]
)


class TestHostileInput:
    @settings(max_examples=40)
    @given(HOSTILE, HOSTILE)
    def test_no_name_and_no_key_breaks_out_of_its_place(self, slug, key):
        for oauth in (False, True):
            target = targets.through_gateway("http://127.0.0.1:8000", slug, key, oauth=oauth)
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}", target.name)
            for client in snippets.for_target(target):
                for snippet in client.snippets:
                    assert checks.check(snippet, target).valid, (client.label, snippet)
        made = of(targets.through_gateway("http://127.0.0.1:8000", slug, key))
        name, key = targets.client_name(slug), targets.CONTROL.sub("", key)
        assert read(made["Cursor"])["mcpServers"][name]["headers"] == {"Authorization": f"Bearer {key}"}
        assert read(made["Codex CLI"])["mcp_servers"][name]["http_headers"] == {"Authorization": f"Bearer {key}"}
        assert read(made["Claude Code"])[0][-1] == f"Authorization: Bearer {key}"

    @settings(max_examples=40)
    @given(name=HOSTILE, value=HOSTILE, url=HOSTILE, argument=HOSTILE)
    def test_no_manifest_breaks_out_of_its_place(self, name, value, url, argument):
        given_values = (
            Input(name=name, value=value, is_required=True),
            Input(name="TOKEN", description=value, is_secret=True),
        )
        words = (Argument(value=argument), Argument(type="named", name=name, default=value))
        ways = direct(
            packages=(
                npm(environment=given_values, package_arguments=words, runtime_arguments=words),
                Package("oci", "a/b", Transport("stdio"), value, environment=given_values),
            ),
            remotes=(
                Remote("streamable-http", f"https://mail.example/{url}", given_values, given_values),
                Remote("sse", url),
            ),
        )
        for target in (way.target for way in ways if way.target is not None):
            for client in snippets.for_target(target):
                for snippet in client.snippets:
                    assert checks.check(snippet, target).valid, (client.label, snippet)
            entry = read(of(target)["Other clients"])["mcpServers"]
            assert list(entry) == ["mail"]
            if isinstance(target, Process):
                assert entry["mail"]["args"] == [each.filled() for each in target.arguments]
                assert entry["mail"]["command"] in {"npx", "docker"}
            elif isinstance(target, Http):
                assert re.match(r"(https?://|YOUR_)[\x21-\x7e]*\Z", entry["mail"]["url"], re.IGNORECASE)


class TestChecks:
    def test_what_does_not_parse_or_names_another_server_is_not_valid(self):
        target = targets.through_gateway(PUBLIC, "payments")
        assert not checks.check(snippets.Snippet("x", "{", "file"), target).valid
        assert not checks.check(snippets.Snippet("x", '{"mcpServers": {"other": {}}}', "file"), target).valid


class TestInvokeWithCurl:
    @pytest.mark.parametrize("tool", ["list_invoices", 'it\'s "odd"; rm -rf $HOME `x`'])
    def test_the_body_survives_the_shell(self, tool):
        parts = shlex.split(snippets.invoke_with_curl(PUBLIC, "payments", tool).code.replace("\\\n", " "))

        assert parts[2] == "https://market.example/v1/invoke"
        assert json.loads(parts[parts.index("--data") + 1]) == {"server": "payments", "tool": tool, "arguments": {}}
