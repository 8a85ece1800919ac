"""Configuration of MCP clients for one server behind the gateway. Pure; every text is made by a serialiser.

Names and addresses are given by strangers, so none is pasted into JSON, TOML or a command line. File names, keys and commands
follow each client's documentation.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

KEY_PLACEHOLDER = "YOUR_API_KEY"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(frozen=True, slots=True)
class Snippet:
    """What to put where for one client; `caption` is the file or the place."""

    label: str
    code: str
    caption: str


def for_server(public_url: str, slug: str, key: str = KEY_PLACEHOLDER) -> list[Snippet]:
    """A snippet per client. `public_url` is the marketplace's own address, `slug` the server's name in it."""
    url = f"{public_url.rstrip('/')}/mcp/{slug}"
    bearer = f"Bearer {key}"
    headers = {"Authorization": bearer}
    return [
        Snippet("Claude Code", _claude_code(slug, url, bearer), "shell"),
        Snippet("Claude Desktop", _json(_claude_desktop(slug, url, bearer)), "claude_desktop_config.json"),
        Snippet("Cursor", _json({"mcpServers": {slug: {"url": url, "headers": headers}}}), "~/.cursor/mcp.json"),
        Snippet("VS Code", _json(_vs_code(slug, url)), ".vscode/mcp.json"),
        Snippet(
            "Windsurf",
            _json({"mcpServers": {slug: {"serverUrl": url, "headers": headers}}}),
            "~/.codeium/windsurf/mcp_config.json",
        ),
        Snippet("Codex", _toml(["mcp_servers", slug], {"url": url, "http_headers": headers}), "~/.codex/config.toml"),
        Snippet(
            "Gemini CLI",
            _json({"mcpServers": {slug: {"httpUrl": url, "headers": headers}}}),
            "~/.gemini/settings.json",
        ),
        Snippet(
            "Other clients", _json({"mcpServers": {slug: {"type": "http", "url": url, "headers": headers}}}), "JSON"
        ),
    ]


def invoke_with_curl(public_url: str, slug: str, tool: str, key: str = KEY_PLACEHOLDER) -> Snippet:
    """A first call without any client."""
    body = json.dumps({"server": slug, "tool": tool, "arguments": {}})
    lines = [
        ["curl", "--fail-with-body", f"{public_url.rstrip('/')}/v1/invoke"],
        ["--header", f"Authorization: Bearer {key}"],
        ["--header", "Content-Type: application/json"],
        ["--data", body],
    ]
    return Snippet("curl", " \\\n  ".join(shlex.join(line) for line in lines), "shell")


def _claude_code(slug: str, url: str, bearer: str) -> str:
    first = ["claude", "mcp", "add", "--transport", "http", slug, url]
    return f"{shlex.join(first)} \\\n  {shlex.join(['--header', f'Authorization: {bearer}'])}"


def _claude_desktop(slug: str, url: str, bearer: str) -> dict[str, Any]:
    """It starts local processes only, so a bridge carries the header; the value comes by environment because of its space."""
    arguments = ["-y", "mcp-remote", url, "--header", "Authorization:${AUTHORIZATION}"]
    if url.startswith("http://"):
        arguments.append("--allow-http")
    return {"mcpServers": {slug: {"command": "npx", "args": arguments, "env": {"AUTHORIZATION": bearer}}}}


def _vs_code(slug: str, url: str) -> dict[str, Any]:
    """It asks for the key once and keeps it out of the file."""
    name = f"{slug}-key"
    return {
        "inputs": [{"type": "promptString", "id": name, "description": "MCP Marketplace API key", "password": True}],
        "servers": {slug: {"type": "http", "url": url, "headers": {"Authorization": f"Bearer ${{input:{name}}}"}}},
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)


def _toml(table: list[str], values: dict[str, str | dict[str, str]]) -> str:
    """One table of texts and inline tables of texts, which is all that is needed."""
    lines = [f"[{'.'.join(_toml_key(part) for part in table)}]"]
    for name, value in values.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{_toml_key(key)} = {_toml_text(text)}" for key, text in value.items())
            lines.append(f"{_toml_key(name)} = {{ {inner} }}")
        else:
            lines.append(f"{_toml_key(name)} = {_toml_text(value)}")
    return "\n".join(lines)


def _toml_key(text: str) -> str:
    return text if _BARE_KEY.match(text) else _toml_text(text)


def _toml_text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, save that TOML escapes DEL and knows no surrogate pairs."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
