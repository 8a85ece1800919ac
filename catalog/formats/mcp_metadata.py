"""MCP Runtime's `.mcp/*.yaml` metadata: `version: v1`, `servers: […]`, with the platform's defaults filled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from catalog.formats import mcp_runtime
from catalog.formats.normal import JSON, Entry, Problem
from catalog.formats.reading import Node, Reading, UnreadableError, tame

FORMAT = "mcp_metadata"
VERSION = "v1"
_ALIASES = {"org": "org/", "public": "public/"}
_NAMESPACES = {"org": "mcp-servers-org", "public": "mcp-servers-public"}
_NAMESPACE = "mcp-servers"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is filled in where nothing is written. `registry_host` is where the platform's images lie."""

    registry_host: str = ""


def read(data: Any, file: str = "", defaults: Defaults = Defaults()) -> tuple[Entry | None, list[Problem]]:
    """One element of `servers`."""
    reading = Reading(file)
    root = reading.begin(data)
    return (_entry(root, defaults) if root else None), reading.problems


def read_all(data: Any, file: str = "", defaults: Defaults = Defaults()) -> tuple[list[Entry], list[Problem]]:
    """All servers of a file; names are unique in it."""
    try:
        data = tame(data)
    except UnreadableError as error:
        return [], [Problem(file, "", "", str(error))]
    if not isinstance(data, dict) or not isinstance(data.get("servers"), list):
        return [], [Problem(file, "", "servers", "is missing, or no list")]
    if data.get("version", VERSION) != VERSION:
        return [], [Problem(file, "", "version", f"{str(data['version'])[:40]!r} is not {VERSION}")]
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    for position, row in enumerate(data["servers"]):
        entry, found = read(row, file, defaults)
        problems += found
        if entry is not None and entry.name in entries:
            problems.append(
                Problem(file, entry.name, f"servers[{position}].name", "is there twice; the first was taken")
            )
        elif entry is not None:
            entries[entry.name] = entry
    return list(entries.values()), problems


def _entry(root: Node, defaults: Defaults) -> Entry | None:
    name = mcp_runtime.good_server_name(root)
    scope = root.text("scope", most=40)
    if scope.strip().lower() not in ("", *mcp_runtime.SCOPES):
        root.report("scope", f'scope "{scope}" is invalid (use tenant, org, or public)')
    if root.reading.problems:
        return None
    scope = scope.strip().lower()
    host = f"{defaults.registry_host}/" if defaults.registry_host else ""
    image = root.text("image", most=500).strip() or f"{host}{_ALIASES.get(scope, '')}{name}"
    route = root.text("route", most=500).strip() or f"{name}/mcp"
    route = f"/{route.lstrip('/')}"
    entry = mcp_runtime.read_server(root, name, FORMAT, image=image, path=route, extra={})
    if entry is None:
        return None
    spec = {key: value for key, value in entry.extra["spec"].items() if key != "name"}
    spec |= {"route": route, "namespace": root.text("namespace") or _NAMESPACES.get(scope, _NAMESPACE)}
    if scope:
        spec["scope"] = scope
    entry.extra["spec"] = spec
    return entry


def write(entry: Entry) -> JSON:
    """One element of `servers`. Raises ValueError for an entry without an image."""
    server = {"name": entry.name} | mcp_runtime.write_server(entry)
    for key in ("servicePort", "ingressClass", "ingressAnnotations"):  # keys of the manifest
        server.pop(key, None)
    return server


def write_all(entries: Iterable[Entry]) -> JSON:
    return {"version": VERSION, "servers": [write(entry) for entry in entries]}
