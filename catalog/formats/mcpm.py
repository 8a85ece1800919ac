"""Entries of mcpm's registry (pathintegral-institute/mcpm.sh, `mcp-registry/servers/*.json`), the shape of HTTP indexes.

`installations` holds commands; those that run something of a package registry become packages. `arguments` describes the
variables that the commands name. An index is a list of entries, an object of them by name, or one of these under `servers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catalog.formats import claims
from catalog.formats.commands import inputs_of, looks_secret, package_of
from catalog.formats.normal import JSON, CodeRepository, Entry, Icon, Input, Package, Problem, Remote
from catalog.formats.reading import Node, Reading, is_on_this_machine

FORMAT = "mcpm"
_KEPT = ("installations", "arguments", "env", "author", "categories", "is_archived")


def read(data: Any, file: str = "") -> tuple[Entry | None, list[Problem]]:
    reading = Reading(file)
    root = reading.begin(data)
    if root is None:
        return None, reading.problems
    name = claims.good_name(root, (), most=200)
    return (_entry(root, name) if name else None), reading.problems


def read_all(data: Any, file: str = "") -> tuple[list[Entry], list[Problem]]:
    if isinstance(data, dict) and isinstance(data.get("servers"), list | dict):
        data = data["servers"]
    rows: Any = data
    if isinstance(data, dict):
        is_index = "name" not in data and all(isinstance(each, dict) for each in data.values())
        rows = [{"name": name} | each for name, each in data.items()] if is_index else [data]
    if not isinstance(rows, list):
        return [], [Problem(file, "", "", "is neither a list of entries nor an object of them")]
    entries: list[Entry] = []
    problems: list[Problem] = []
    for row in rows:
        entry, found = read(row, file)
        problems += found
        entries += [entry] if entry else []
    return entries, problems


def _entry(root: Node, name: str) -> Entry:
    described = dict(_described(root))
    repository, icon = root.url("repository"), root.url("icon", "logo")
    archived = root.flag("is_archived")
    categories = root.texts("categories", most=100)
    remotes = tuple(_remotes(root))
    return Entry(
        name=name,
        format=FORMAT,
        title=root.text("display_name", most=200),
        description=root.text("description"),
        version=root.text("version", most=100),
        website_url=root.url("homepage"),
        documentation_url=root.url("documentation"),
        repository=CodeRepository(repository) if repository else None,
        icons=(Icon(icon),) if icon else (),
        license=root.text("license", most=100),
        publisher=_publisher(root),
        category=categories[0] if categories else "",
        tags=root.texts("tags", most=40),
        packages=tuple(_packages(root, described)),
        remotes=remotes,
        tools=claims.read_tools(root),
        resources=claims.read_claims(root, "resources"),
        prompts=claims.read_claims(root, "prompts"),
        status="deprecated" if archived else "active",
        status_message="Archived by its author." if archived else "",
        configuration_schema=_schema(described),
        extra=_extra(root),
    )


def _extra(root: Node) -> JSON:
    for key in _KEPT:
        root.get(key)
    return root.rest() | {key: root.data[key] for key in _KEPT if root.data.get(key)}


def _publisher(root: Node) -> str:
    if isinstance(root.data.get("author"), str):
        return root.text("author", most=200)
    return root.node("author").text("name", most=200)


def _described(root: Node) -> Iterator[tuple[str, Input]]:
    for key in ("arguments", "env"):
        for name, node in root.members(key):
            yield (
                name,
                Input(
                    name=name,
                    description=node.text("description"),
                    is_required=node.flag("required"),
                    is_secret=looks_secret(name),
                    placeholder=node.text("example"),
                ),
            )


def _schema(described: dict[str, Input]) -> JSON:
    if not described:
        return {}
    properties: JSON = {}
    for name, given in described.items():
        properties[name] = {"type": "string"} | ({"description": given.description} if given.description else {})
        if given.placeholder and not given.is_secret:
            properties[name]["examples"] = [given.placeholder]
        if given.is_secret:
            properties[name]["writeOnly"] = True
    needed = [name for name, given in described.items() if given.is_required]
    return {"type": "object", "properties": properties} | ({"required": needed} if needed else {})


def _packages(root: Node, described: dict[str, Input]) -> Iterator[Package]:
    """One of each package, the recommended way first."""
    ways = [node for _, node in root.members("installations", count=50)]
    seen = set()
    for node in sorted(ways, key=lambda node: node.data.get("recommended") is not True):
        _, given = node.get("args")
        words = [str(word) for word in given if isinstance(word, str | int | float)] if isinstance(given, list) else []
        variables = {name: str(value) for name, value in node.mapping("env").items() if isinstance(value, str | int)}
        package = package_of(node.text("command", most=500), words, inputs_of(variables, described))
        if package is not None and (package.registry_type, package.identifier) not in seen:
            seen.add((package.registry_type, package.identifier))
            yield package


def _remotes(root: Node) -> Iterator[Remote]:
    for _, node in root.members("installations", count=50):
        if "url" in node and (url := node.url("url")):
            if is_on_this_machine(url):
                node.report("url", f"{url} is an address of whoever reads it; it was left out")
                continue
            kind = "sse" if node.data.get("type") == "sse" or url.rstrip("/").endswith("/sse") else "streamable-http"
            yield Remote(kind, url=url)


def write(entry: Entry) -> JSON:
    """The entry again. Reading it gives the same entry, when that was read from such a file."""
    own = entry.extra if entry.format == FORMAT else {}
    document: JSON = {
        "name": entry.name,
        "display_name": entry.title,
        "description": entry.description,
        "version": entry.version,
        "homepage": entry.website_url,
        "documentation": entry.documentation_url,
        "repository": {"type": "git", "url": entry.repository.url} if entry.repository else None,
        "icon": entry.icons[0].src if entry.icons else "",
        "author": {"name": entry.publisher} if entry.publisher else None,
        "license": entry.license,
        "categories": [entry.category] if entry.category else [],
        "tags": list(entry.tags),
        "tools": claims.write_tools(entry.tools),
        "resources": claims.write_claims(entry.resources),
        "prompts": claims.write_claims(entry.prompts),
        "is_archived": entry.status == "deprecated",
    }
    return {key: value for key, value in document.items() if value} | own
