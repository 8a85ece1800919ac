"""`server.yaml` of Docker's MCP registry (docker/mcp-registry, `servers/*/server.yaml`), as YAML or JSON.

Three kinds: `server` (an image), `remote` (an address) and `poci` (tools that run an image each). `{{name.parameter}}` in the
environment and in words of the command is for the user to fill; `config.parameters` is the JSON Schema of those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from catalog.formats import claims
from catalog.formats.commands import looks_secret
from catalog.formats.normal import (
    JSON,
    Argument,
    CodeRepository,
    Entry,
    Icon,
    Input,
    Package,
    Problem,
    Remote,
    Transport,
)
from catalog.formats.reading import Node, Reading

FORMAT = "docker_server"
KINDS = ("server", "remote", "poci")

_TEMPLATE = re.compile(r"\{\{\s*([\w.-]+?)(?:\|[^}]*)?\s*\}\}")
_SHELL = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_TRANSPORTS = {"sse": "sse", "streamable-http": "streamable-http", "http": "streamable-http"}
_KEPT = ("type", "source", "run", "config", "oauth", "dynamic", "longLived", "requirement", "remote")


def read(data: Any, file: str = "") -> tuple[Entry | None, list[Problem]]:
    reading = Reading(file)
    root = reading.begin(data)
    if root is None:
        return None, reading.problems
    name = claims.good_name(root, (), most=200)
    kind = root.choice("type", among=KINDS, default="server")
    if not name:
        return None, reading.problems
    return _entry(root, name, kind), reading.problems


def read_all(data: Any, file: str = "") -> tuple[list[Entry], list[Problem]]:
    entries: list[Entry] = []
    problems: list[Problem] = []
    for each in data if isinstance(data, list) else [data]:
        entry, found = read(each, file)
        problems += found
        entries += [entry] if entry else []
    return entries, problems


def _entry(root: Node, name: str, kind: str) -> Entry:
    about, meta, source = root.node("about"), root.node("meta"), root.node("source")
    config = root.node("config")
    icon = about.url("icon")
    project = source.url("project")
    inputs = tuple(_secrets(config)) + tuple(_environment(config))
    remotes = tuple(_remotes(root, inputs)) if kind == "remote" or "remote" in root else ()
    return Entry(
        name=name,
        format=FORMAT,
        title=about.text("title", most=200),
        description=about.text("description"),
        repository=CodeRepository(project, subfolder=source.text("directory", most=500)) if project else None,
        icons=(Icon(icon),) if icon else (),
        category=meta.text("category", most=100),
        tags=meta.texts("tags", most=40),
        packages=tuple(_packages(root, inputs)),
        remotes=remotes,
        tools=claims.read_tools(root),
        auth_mode=_auth_mode(root, remotes),
        requirements=_requirements(root),
        configuration_schema=_schema(config),
        extra=_extra(root),
    )


def _extra(root: Node) -> JSON:
    for key in _KEPT:
        root.get(key)
    return root.rest() | {key: root.data[key] for key in _KEPT if root.data.get(key) is not None}


def _secrets(config: Node) -> Iterator[Input]:
    for node in config.nodes("secrets"):
        if name := node.text("env", "name", most=500).strip():
            yield Input(
                name=name,
                description=node.text("description"),
                is_required=node.data.get("required") is not False,
                is_secret=True,
                placeholder=node.text("example"),
            )
        else:
            node.report("env", "is missing")


def _environment(config: Node) -> Iterator[Input]:
    properties = config.node("parameters").mapping("properties")
    for node in config.nodes("env"):
        name = node.text("name", "env", most=500).strip()
        if not name:
            node.report("name", "is missing")
            continue
        value, variables = _filled(node.text("value", "default"), properties)
        yield Input(
            name=name,
            description=node.text("description"),
            is_required=node.flag("required"),
            is_secret=False,
            value=value if variables else "",
            default="" if variables else value,
            placeholder=node.text("example"),
            variables=variables,
        )


def _filled(text: str, properties: JSON) -> tuple[str, tuple[Input, ...]]:
    """The text with `{parameter}` for `{{name.parameter}}`, and the parameters."""
    found: dict[str, Input] = {}

    def take(match: re.Match[str]) -> str:
        name = match[1].partition(".")[2] or match[1]
        told = properties.get(name)
        told = told if isinstance(told, dict) else {}
        description, default = told.get("description"), told.get("default")
        found[name] = Input(
            name=name,
            description=description if isinstance(description, str) else "",
            default=str(default) if isinstance(default, str | int | float) else "",
        )
        return f"{{{name}}}"

    return _TEMPLATE.sub(take, text), tuple(found.values())


def _packages(root: Node, inputs: tuple[Input, ...]) -> Iterator[Package]:
    image = root.text("image", most=500).strip()
    if not image:
        return
    properties = root.node("config").node("parameters").mapping("properties")
    run = root.node("run")
    volumes = [word for volume in run.texts("volumes", most=2_000) for word in ("-v", volume)]
    yield Package(
        registry_type="oci",
        identifier=image,
        transport=Transport("stdio"),
        runtime_hint="docker",
        runtime_arguments=tuple(_arguments(volumes, properties)),
        package_arguments=tuple(_arguments(list(run.texts("command", most=2_000)), properties)),
        environment=inputs + tuple(_fixed(run)),
    )


def _fixed(run: Node) -> Iterator[Input]:
    for name, value in run.mapping("env").items():
        if isinstance(value, str | int | float):
            yield Input(name=name, default=str(value))


def _arguments(words: list[str], properties: JSON) -> Iterator[Argument]:
    for word in words:
        value, variables = _filled(word, properties)
        yield Argument(type="positional", value=value, variables=variables)


def _remotes(root: Node, inputs: tuple[Input, ...]) -> Iterator[Remote]:
    node = root.node("remote")
    kind = node.choice("transportType", among=tuple(_TRANSPORTS), default="streamable-http")
    url = node.url("url")
    if url:
        headers = tuple(_headers(node, {given.name: given for given in inputs}))
        yield Remote(type=_TRANSPORTS[kind], url=url, headers=headers)
    elif "url" not in node:
        node.report("url", "is missing")


def _headers(node: Node, inputs: dict[str, Input]) -> Iterator[Input]:
    for name, value in node.mapping("headers").items():
        if isinstance(value, str):
            variables = tuple(
                inputs.get(each) or Input(name=each, is_required=True, is_secret=looks_secret(each))
                for each in dict.fromkeys(_SHELL.findall(value))
            )
            secret = any(given.is_secret for given in variables)
            yield Input(name=name, value=_SHELL.sub(r"{\1}", value), variables=variables, is_secret=secret)


def _auth_mode(root: Node, remotes: tuple[Remote, ...]) -> str:
    """How callers of the address say who they are; an image's program asks nobody, so of those nothing is said."""
    if root.data.get("oauth"):
        return "oauth"
    if not remotes:
        return ""
    secrets = root.node("config").data.get("secrets")
    return "header" if secrets or any(remote.headers for remote in remotes) else "none"


def _requirements(root: Node) -> JSON:
    run = root.mapping("run")
    found = {key: run[key] for key in ("volumes", "user", "ports", "allowHosts", "disableNetwork") if run.get(key)}
    requirement = root.text("requirement", most=500)
    return found | ({"needs": requirement} if requirement else {})


def _schema(config: Node) -> JSON:
    """`config.parameters`; one real file has written the schema into `config` itself."""
    return config.mapping("parameters") or (config.data if isinstance(config.data.get("properties"), dict) else {})


def write(entry: Entry) -> JSON:
    """The file again. Reading it gives the same entry, when that was read from such a file."""
    own = entry.extra if entry.format == FORMAT else {}
    images = [package.identifier for package in entry.packages if package.registry_type == "oci"]
    document: JSON = {"name": entry.name}
    if images:
        document["image"] = images[0]
    document["type"] = own.get("type") or ("remote" if entry.remotes and not images else "server")
    document["meta"] = {"category": entry.category, "tags": list(entry.tags)}
    document["about"] = {
        name: value
        for name, value in (
            ("title", entry.title),
            ("description", entry.description),
            ("icon", entry.icons[0].src if entry.icons else ""),
        )
        if value
    }
    if entry.repository:
        document["source"] = {"project": entry.repository.url}
    if entry.remotes:
        document["remote"] = {"transport_type": entry.remotes[0].type, "url": entry.remotes[0].url}
    if entry.tools:
        document["tools"] = claims.write_tools(entry.tools)
    return document | own
