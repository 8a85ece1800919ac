"""MCP Runtime's MCPServer manifest: `apiVersion: mcpruntime.org/v1alpha1`, `kind: MCPServer`.

Other kinds in the same file are named and left out: grants and sessions are about access and go another way.
"""

from __future__ import annotations

from typing import Any

from catalog.formats import mcp_runtime
from catalog.formats.normal import JSON, Entry, Problem
from catalog.formats.reading import Node, Reading

FORMAT = "mcp_server_manifest"
API_VERSION, KIND = "mcpruntime.org/v1alpha1", "MCPServer"
_ACCESS_KINDS = ("MCPAccessGrant", "MCPAgentSession")


def read(data: Any, file: str = "") -> tuple[Entry | None, list[Problem]]:
    reading = Reading(file)
    root = reading.begin(data)
    if root is None or not _is_ours(root):
        return None, reading.problems
    metadata, spec = root.node("metadata"), root.node("spec")
    name = mcp_runtime.good_server_name(metadata)
    reading.entry = name
    image = spec.text("image", most=500).strip()
    if not image:
        spec.report("image", "is missing")
    prefix = spec.text("publicPathPrefix", most=200)
    if "publicPathPrefix" in spec and not prefix.strip("/"):
        spec.report("publicPathPrefix", "needs a character that is no slash")
    path = spec.text("ingressPath", most=500) or f"/{(prefix or name).strip('/')}/mcp"
    extra = {"metadata": {key: value for key, value in metadata.data.items() if key != "name"}}
    if reading.problems:
        return None, reading.problems
    entry = mcp_runtime.read_server(spec, name, FORMAT, image=image, path=path, extra=extra)
    return entry, reading.problems


def read_all(data: Any, file: str = "") -> tuple[list[Entry], list[Problem]]:
    entries: list[Entry] = []
    problems: list[Problem] = []
    for each in data if isinstance(data, list) else [data]:
        entry, found = read(each, file)
        problems += found
        entries += [entry] if entry else []
    return entries, problems


def _is_ours(root: Node) -> bool:
    version, kind = root.text("apiVersion"), root.text("kind")
    if kind in _ACCESS_KINDS:
        root.report("kind", f"{kind} is about access and describes no server")
    elif kind != KIND:
        root.report("kind", f"{kind[:60]!r} is not {KIND}; write the server as one, not as what runs it")
    elif version != API_VERSION:
        root.report("apiVersion", f"{version[:60]!r} is not {API_VERSION}")
    return not root.reading.problems


def write(entry: Entry) -> JSON:
    """The manifest. Raises ValueError for an entry without an image."""
    own = entry.extra.get("metadata", {}) if entry.format == FORMAT else {}
    spec = mcp_runtime.write_server(entry)
    for key in ("namespace", "scope", "route"):  # keys of the metadata format
        spec.pop(key, None)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": entry.name} | own, "spec": spec}
