"""How each client is told of a server. File names, keys and commands follow the client's own documentation.

A client gets what it can use: one that starts programs only is given a bridge to an address, one that asks its user for secrets
gets inputs instead of placeholders, and one that cannot reach a target says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from catalog.snippets.targets import Blank, Http, Process, Target, Text
from catalog.snippets.texts import as_command, as_json, as_toml, as_yaml, cursor_link, type_toml, vs_code_link

JSON = dict[str, Any]
JSON_FILE, TOML_FILE, YAML_FILE, SHELL, LINK = "json", "toml", "yaml", "shell", "link"


@dataclass(frozen=True, slots=True)
class Snippet:
    """What to put where; `caption` is the file or the place, `language` how it is read. A link's code is its address."""

    label: str
    code: str
    caption: str
    language: str = JSON_FILE


@dataclass(frozen=True, slots=True)
class Client:
    """One client with its ways to do the same, the usual one first. Without a snippet `note` says why there is none."""

    id: str
    label: str
    snippets: tuple[Snippet, ...]
    note: str = ""


def claude_code(target: Target) -> Client:
    if isinstance(target, Http):
        lines = [
            ["claude", "mcp", "add", "--transport", "sse" if target.sse else "http", target.name, target.url.filled()]
        ]
        lines += [["--header", f"{name}: {value.filled()}"] for name, value in target.headers]
        note = "Type /mcp in Claude Code to sign in." if target.oauth else ""
        return _client("claude-code", "Claude Code", [("", as_command(lines), "shell", SHELL)], note)
    # Another option stands between --env and the name: --env takes every word that follows it.
    first = ["claude", "mcp", "add"]
    for name, value in target.environment:
        first += ["--env", f"{name}={value.filled()}"]
    code = as_command([[*first, "--transport", "stdio", target.name, "--", target.command, *_arguments(target)]])
    return _client("claude-code", "Claude Code", [("", code, "shell", SHELL)])


def claude_desktop(target: Target) -> Client:
    """It starts local programs only, so a bridge carries the headers; values come by environment because of their spaces."""
    config, note = (_process(target), "") if isinstance(target, Process) else (_bridge(target), "")
    if isinstance(target, Http):
        note = "The file starts programs only, so mcp-remote (Node.js) bridges to the address."
        note += " It opens a browser to sign in." if target.oauth else ""
    code = as_json({"mcpServers": {target.name: config}})
    return _client("claude-desktop", "Claude Desktop", [("", code, "claude_desktop_config.json", JSON_FILE)], note)


def _bridge(target: Http) -> JSON:
    arguments, environment = ["-y", "mcp-remote", target.url.filled()], {}
    for number, (name, value) in enumerate(target.headers):
        variable = "AUTHORIZATION" if name.lower() == "authorization" else f"HEADER_{number + 1}"
        arguments += ["--header", f"{name}:${{{variable}}}"]
        environment[variable] = value.filled()
    if target.url.filled().lower().startswith("http://"):
        arguments.append("--allow-http")
    return {"command": "npx", "args": arguments} | ({"env": environment} if environment else {})


def cursor(target: Target) -> Client:
    config = _process(target) if isinstance(target, Process) else _address(target, "url")
    file = as_json({"mcpServers": {target.name: config}})
    return _client(
        "cursor",
        "Cursor",
        [
            ("File", file, "~/.cursor/mcp.json", JSON_FILE),
            ("Link", cursor_link(target.name, config), "opens Cursor", LINK),
        ],
        "Cursor asks you to sign in when it connects." if _signs_in(target) else "",
    )


def vs_code(target: Target) -> Client:
    """It asks for secrets once and keeps them out of the file."""
    inputs = _inputs(target)
    config = _vs_code_config(target)
    file = as_json(({"inputs": inputs} if inputs else {}) | {"servers": {target.name: config}})
    whole = {"name": target.name, **config} | ({"inputs": inputs} if inputs else {})
    return _client(
        "vs-code",
        "VS Code",
        [
            ("File", file, ".vscode/mcp.json", JSON_FILE),
            ("Command", as_command([["code", "--add-mcp", json.dumps(whole)]]), "shell", SHELL),
            ("Link", vs_code_link(whole), "opens VS Code", LINK),
        ],
        "VS Code opens a browser to sign in." if _signs_in(target) else "",
    )


def _vs_code_config(target: Target) -> JSON:
    def asked(text: Text) -> str:
        return "".join(
            f"${{input:{_input_id(target, part)}}}" if isinstance(part, Blank) else part for part in text.parts
        )

    if isinstance(target, Http):
        headers = {name: asked(value) for name, value in target.headers}
        return {"type": "sse" if target.sse else "http", "url": asked(target.url)} | (
            {"headers": headers} if headers else {}
        )
    environment = {name: asked(value) for name, value in target.environment}
    config = {"type": "stdio", "command": target.command, "args": [asked(each) for each in target.arguments]}
    return config | ({"env": environment} if environment else {})


def _inputs(target: Target) -> list[JSON]:
    found: dict[str, JSON] = {}
    for blank in (blank for text in target.texts for blank in text.blanks):
        name = _input_id(target, blank)
        if blank.choices:
            found[name] = {"type": "pickString", "id": name, "description": blank.label, "options": list(blank.choices)}
        else:
            found[name] = {"type": "promptString", "id": name, "description": blank.label, "password": blank.secret}
    return list(found.values())


def _input_id(target: Target, blank: Blank) -> str:
    return f"{target.name}-{blank.id}"


def windsurf(target: Target) -> Client:
    config = _process(target) if isinstance(target, Process) else _address(target, "serverUrl")
    code = as_json({"mcpServers": {target.name: config}})
    note = "Windsurf asks you to sign in when it connects." if _signs_in(target) else ""
    return _client("windsurf", "Windsurf", [("", code, "~/.codeium/windsurf/mcp_config.json", JSON_FILE)], note)


def docker(target: Target) -> Client:
    """A catalog of one server for Docker's MCP Gateway. Secrets lie in Docker's store and reach the server by name."""
    id_, label = "docker", "Docker MCP Gateway"
    if isinstance(target, Process) and not target.image:
        return Client(id_, label, (), "It runs containers and reaches addresses; this program is neither.")
    entry, secrets = _docker_remote(target) if isinstance(target, Http) else _docker_image(target)
    if secrets:
        entry["secrets"] = [
            {"name": f"{target.name}.{blank.id}", "env": variable} for variable, blank in secrets.items()
        ]
    file = f"{target.name}.yaml"
    catalog = as_yaml({"name": target.name, "displayName": target.name, "registry": {target.name: entry}})
    commands = [
        ["docker", "mcp", "secret", "set", f"{target.name}.{blank.id}={blank.fill}"] for blank in secrets.values()
    ]
    if _signs_in(target):
        commands.append(["docker", "mcp", "oauth", "authorize", target.name])
    commands.append(["docker", "mcp", "gateway", "run", "--catalog", file, "--servers", target.name])
    run = "\n".join(as_command([command]) for command in commands)
    parts = [("Catalog", catalog, f"~/.docker/mcp/catalogs/{file}", YAML_FILE), ("Commands", run, "shell", SHELL)]
    return _client(id_, label, parts, "Save the catalog, then run the commands.")


def _docker_remote(target: Http) -> tuple[JSON, dict[str, Blank]]:
    secrets: dict[str, Blank] = {}

    def named(text: Text) -> str:
        return "".join(
            _docker_secret(target, part, secrets) if isinstance(part, Blank) else part for part in text.parts
        )

    headers = {name: named(value) for name, value in target.headers}
    remote: JSON = {"transport_type": "sse" if target.sse else "streamable-http", "url": target.url.filled()}
    entry: JSON = {"title": target.name, "description": target.name, "type": "remote", "remote": remote}
    if headers:
        remote["headers"] = headers
    if target.oauth:
        token = {"provider": target.name, "secret": f"{target.name}.token", "env": f"{_variable(target.name)}_TOKEN"}
        entry["oauth"] = {"providers": [token]}
    return entry, secrets


def _docker_secret(target: Target, blank: Blank, secrets: dict[str, Blank]) -> str:
    variable = f"{_variable(target.name)}_{_variable(blank.id)}"
    secrets[variable] = blank
    return f"${{{variable}}}"


def _docker_image(target: Process) -> tuple[JSON, dict[str, Blank]]:
    entry: JSON = {"title": target.name, "description": target.name, "type": "server", "image": target.image}
    if target.image_arguments:
        entry["command"] = [each.filled() for each in target.image_arguments]
    secrets: dict[str, Blank] = {}
    plain = []
    for name, value in target.environment:
        if len(value.parts) == 1 and isinstance(value.parts[0], Blank) and value.parts[0].secret:
            secrets[name] = value.parts[0]
        else:
            plain.append({"name": name, "value": value.filled()})
    if plain:
        entry["env"] = plain
    return entry, secrets


def codex(target: Target) -> Client:
    id_, label = "codex", "Codex CLI"
    if isinstance(target, Http) and target.sse:
        return Client(id_, label, (), "Codex reaches Streamable HTTP and local programs, not HTTP+SSE.")
    values: dict[str, type_toml]
    if isinstance(target, Http):
        values = {"url": target.url.filled()}
        if target.headers:
            values["http_headers"] = {name: value.filled() for name, value in target.headers}
    else:
        values = {"command": target.command, "args": _arguments(target)}
        if target.environment:
            values["env"] = {name: value.filled() for name, value in target.environment}
    parts = [("", as_toml(["mcp_servers", target.name], values), "~/.codex/config.toml", TOML_FILE)]
    if _signs_in(target):
        parts = [
            ("File", *parts[0][1:]),
            ("Sign in", as_command([["codex", "mcp", "login", target.name]]), "shell", SHELL),
        ]
    return _client(id_, label, parts)


def gemini(target: Target) -> Client:
    config = _process(target) if isinstance(target, Process) else _address(target, "url" if target.sse else "httpUrl")
    note = f"Type /mcp auth {target.name} in Gemini CLI to sign in." if _signs_in(target) else ""
    code = as_json({"mcpServers": {target.name: config}})
    return _client("gemini", "Gemini CLI", [("", code, "~/.gemini/settings.json", JSON_FILE)], note)


def other(target: Target) -> Client:
    kind = "stdio" if isinstance(target, Process) else "sse" if target.sse else "http"
    config = _process(target) if isinstance(target, Process) else _address(target, "url")
    code = as_json({"mcpServers": {target.name: {"type": kind, **config}}})
    return _client("other", "Other clients", [("", code, "JSON", JSON_FILE)])


WRITERS: tuple[Callable[[Target], Client], ...] = (
    claude_code,
    claude_desktop,
    cursor,
    vs_code,
    windsurf,
    docker,
    codex,
    gemini,
    other,
)


def _process(target: Process) -> JSON:
    environment = {name: value.filled() for name, value in target.environment}
    return {"command": target.command, "args": _arguments(target)} | ({"env": environment} if environment else {})


def _arguments(target: Process) -> list[str]:
    return [each.filled() for each in target.arguments]


def _address(target: Http, key: str) -> JSON:
    headers = {name: value.filled() for name, value in target.headers}
    return {key: target.url.filled()} | ({"headers": headers} if headers else {})


def _signs_in(target: Target) -> bool:
    return isinstance(target, Http) and target.oauth


def _variable(text: str) -> str:
    return text.upper().replace("-", "_")


def _client(id_: str, label: str, parts: list[tuple[str, str, str, str]], note: str = "") -> Client:
    made = tuple(Snippet(part or label, code, caption, language) for part, code, caption, language in parts)
    return Client(id_, label, made, note)
