from __future__ import annotations

import json
import shlex
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import snippets

PUBLIC = "https://market.example/"
URL = "https://market.example/mcp/payments"
BEARER = "Bearer mk_dev_1_s_c"


@pytest.fixture
def made() -> dict[str, snippets.Snippet]:
    return {each.label: each for each in snippets.for_server(PUBLIC, "payments", "mk_dev_1_s_c")}


def arguments(code: str) -> list[str]:
    return shlex.split(code.replace("\\\n", " "))


class TestForServer:
    @pytest.mark.parametrize(
        ("client", "path"),
        [
            ("Cursor", ("mcpServers", "payments", "url")),
            ("Windsurf", ("mcpServers", "payments", "serverUrl")),
            ("Gemini CLI", ("mcpServers", "payments", "httpUrl")),
            ("VS Code", ("servers", "payments", "url")),
            ("Other clients", ("mcpServers", "payments", "url")),
        ],
    )
    def test_each_client_finds_the_address_where_it_looks(self, made, client, path):
        value = json.loads(made[client].code)
        for part in path:
            value = value[part]
        assert value == URL

    @pytest.mark.parametrize("client", ["Cursor", "Windsurf", "Gemini CLI", "Other clients"])
    def test_the_key_is_sent_as_a_header(self, made, client):
        entry = json.loads(made[client].code)["mcpServers"]["payments"]
        assert entry["headers"] == {"Authorization": BEARER}

    def test_claude_code_is_a_command(self, made):
        assert arguments(made["Claude Code"].code) == [
            "claude", "mcp", "add", "--transport", "http", "payments", URL, "--header", f"Authorization: {BEARER}",
        ]  # fmt: skip

    def test_claude_desktop_goes_through_a_bridge_that_gets_the_key_by_environment(self, made):
        entry = json.loads(made["Claude Desktop"].code)["mcpServers"]["payments"]
        assert entry["args"] == ["-y", "mcp-remote", URL, "--header", "Authorization:${AUTHORIZATION}"]
        assert entry["env"] == {"AUTHORIZATION": BEARER}

    def test_vs_code_asks_for_the_key_and_keeps_it_out_of_the_file(self, made):
        value = json.loads(made["VS Code"].code)
        assert "mk_dev" not in made["VS Code"].code
        assert (
            value["servers"]["payments"]["headers"]["Authorization"] == f"Bearer ${{input:{value['inputs'][0]['id']}}}"
        )

    def test_codex_is_toml(self, made):
        entry = tomllib.loads(made["Codex"].code)["mcp_servers"]["payments"]
        assert entry == {"url": URL, "http_headers": {"Authorization": BEARER}}

    def test_without_a_key_there_is_a_placeholder(self):
        assert snippets.KEY_PLACEHOLDER in snippets.for_server(PUBLIC, "payments")[0].code

    @given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30).filter(lambda key: "\r" not in key))
    def test_no_name_and_no_key_breaks_out_of_its_place(self, slug, key):
        made = {each.label: each.code for each in snippets.for_server("http://127.0.0.1:8000", slug, key)}

        codex = tomllib.loads(made["Codex"])["mcp_servers"]
        assert codex == {
            slug: {
                "url": f"http://127.0.0.1:8000/mcp/{slug}",
                "http_headers": {"Authorization": f"Bearer {key}"},
            }
        }
        assert list(json.loads(made["Cursor"])["mcpServers"]) == [slug]


class TestInvokeWithCurl:
    @pytest.mark.parametrize("tool", ["list_invoices", 'it\'s "odd"; rm -rf $HOME `x`'])
    def test_the_body_survives_the_shell(self, tool):
        parts = arguments(snippets.invoke_with_curl(PUBLIC, "payments", tool).code)

        assert parts[2] == "https://market.example/v1/invoke"
        assert json.loads(parts[parts.index("--data") + 1]) == {"server": "payments", "tool": tool, "arguments": {}}
