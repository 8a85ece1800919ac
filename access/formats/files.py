"""Files that may say anything about access: several documents, several kinds, YAML or JSON. Never raises for content. Pure.

What describes servers (`MCPServer`, `.mcp/*.yaml`) is read by the catalog's readers; of it the policy is taken here, and the
listing goes the catalog's way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from access.formats import manifests
from access.formats.entries import FlowEntry, GrantEntry, PolicyEntry, SessionEntry
from catalog.formats import files as catalog
from catalog.formats import mcp_metadata, mcp_server_manifest
from catalog.formats.normal import Entry as ServerEntry
from catalog.formats.normal import Problem
from catalog.formats.reading import Node, Reading, UnreadableError, tame
from core.errors import TooLargeError

ENTRIES_MAX = 10_000
FILES_MAX, BYTES_MAX = 500, 4 * 2**20
_SERVER_FORMATS = {mcp_server_manifest.FORMAT, mcp_metadata.FORMAT}
_ORDER = {
    manifests.OWN_FLOW: 3,
    manifests.OWN_POLICY: 0,
    manifests.GRANT: 1,
    manifests.OWN_GRANT: 1,
    manifests.SESSION: 2,
    manifests.OWN_SESSION: 2,
}


@dataclass(slots=True)
class Found:
    """What files say. `places` names the file of each entry, by kind, namespace and name."""

    grants: list[GrantEntry] = field(default_factory=list)
    sessions: list[SessionEntry] = field(default_factory=list)
    policies: list[PolicyEntry] = field(default_factory=list)
    flows: list[FlowEntry] = field(default_factory=list)
    servers: list[ServerEntry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    places: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.grants) + len(self.sessions) + len(self.policies) + len(self.flows) + len(self.servers)


def bounded(contents: list[tuple[str, bytes]], *, bytes_max: int = BYTES_MAX) -> list[tuple[str, bytes]]:
    """The same files. Raises TooLargeError for more than are taken at once."""
    if len(contents) > FILES_MAX or sum(len(content) for _, content in contents) > bytes_max:
        raise TooLargeError(
            f"At most {FILES_MAX} files of {bytes_max // 2**20} MiB together.",
            next_step="Split them by namespace and apply one after the other.",
        )
    return contents


def read_files(contents: Iterable[tuple[str, bytes]]) -> Found:
    """Every entry of files given as name and content. The same name twice is a problem, whichever file it is in."""
    found = Found()
    for name, content in contents:
        try:
            documents = catalog.read_documents(content, name)
        except UnreadableError as error:
            found.problems.append(Problem(name, "", "", str(error)))
            continue
        for document in documents:
            if found.count >= ENTRIES_MAX:
                found.problems.append(Problem(name, "", "", f"holds more than {ENTRIES_MAX:,} entries; split it"))
                break
            _take(found, document, name)
    return found


def _take(found: Found, document: Any, file: str) -> None:
    if isinstance(document, list):
        for each in document[:ENTRIES_MAX]:
            _take_one(found, each, file)
    else:
        _take_one(found, document, file)


def _take_one(found: Found, data: Any, file: str) -> None:
    kind = data.get("kind") if isinstance(data, dict) else None
    is_access = isinstance(kind, str) and kind in manifests.KINDS
    if not is_access and catalog.recognise(data) in _SERVER_FORMATS and kind in (None, mcp_server_manifest.KIND):
        _take_servers(found, data, file)
        return
    if not is_access:
        reading = Reading(file)
        if (root := reading.begin(data, name_keys=())) is not None:
            _refuse_kind(root)
        found.problems += reading.problems
        return
    entry, problems = manifests.read(data, file)
    found.problems += problems
    if isinstance(entry, GrantEntry):
        _add(found, found.grants, entry, (manifests.GRANT, entry.namespace, entry.name), file)
    elif isinstance(entry, SessionEntry):
        _add(found, found.sessions, entry, (manifests.SESSION, entry.namespace, entry.name), file)
    elif isinstance(entry, FlowEntry):
        # One an organisation, whatever namespace it is written in.
        _add(found, found.flows, entry, (manifests.OWN_FLOW, "", entry.name), file)
    elif entry is not None:
        _add(found, found.policies, entry, (manifests.OWN_POLICY, entry.namespace, entry.server), file)


def _refuse_kind(root: Node) -> None:
    kind = root.text("kind", most=200)
    what = f"kind {kind[:60]!r}" if kind else "this document"
    root.report(
        "kind", f"{what} is not taken; write {', '.join([*manifests.KINDS, mcp_server_manifest.KIND])}, or servers: […]"
    )


def _add(found: Found, rows: list[Any], entry: Any, place: tuple[str, str, str], file: str) -> None:
    if place in found.places:
        kind, namespace, name = place
        where = f"{namespace}/{name}" if namespace else name
        found.problems.append(
            Problem(file, name, "metadata.name", f"{kind} {where} is in {found.places[place] or 'the file'} already")
        )
        return
    found.places[place] = file
    rows.append(entry)


def _take_servers(found: Found, data: Any, file: str) -> None:
    entries, problems = catalog.read_document(data, file)
    found.problems += problems
    for entry in entries:
        found.servers.append(entry)
        policy, doubts = _policy_of(entry, _described(data, entry.name), file)
        found.problems += doubts
        if not policy.says_nothing:
            _add(found, found.policies, policy, (manifests.OWN_POLICY, policy.namespace, policy.server), file)


def _described(data: Any, name: str) -> dict[str, Any]:
    """What the file itself says of the server, without the defaults that its reader fills in."""
    if "spec" in data:
        return data["spec"] if isinstance(data["spec"], dict) else {}
    rows = data.get("servers") or []
    return next((row for row in rows if isinstance(row, dict) and row.get("name") == name), {})


def _policy_of(entry: ServerEntry, described: dict[str, Any], file: str) -> tuple[PolicyEntry, list[Problem]]:
    """The policy in the description of a server: what is written there, and nothing that is not."""
    reading = Reading(file, entry.name)
    root = Node(reading, tame(described), "")
    namespace = entry.extra.get("spec", {}).get("namespace") or entry.extra.get("metadata", {}).get("namespace") or ""
    policy = PolicyEntry(
        server=entry.name,
        namespace=namespace if isinstance(namespace, str) else "",
        **manifests.policy_fields(root.node("policy"), root.node("session")),
        auth_mode=entry.auth_mode or None if "auth" in root else None,
    )
    return policy, reading.problems


def write_files(
    grants: Iterable[GrantEntry],
    sessions: Iterable[SessionEntry],
    policies: Iterable[PolicyEntry],
    flows: Iterable[FlowEntry] = (),
) -> str:
    """One YAML stream, always the same for the same entries: policies, grants, sessions, the flow rule."""
    entries: list[manifests.Entry] = [*policies, *grants, *sessions, *flows]
    documents = [manifests.write(entry) for entry in entries]
    documents.sort(key=_position)
    return (
        yaml.safe_dump_all(
            documents, sort_keys=False, default_flow_style=False, allow_unicode=True, width=120, explicit_start=True
        )
        if documents
        else ""
    )


def _position(document: dict[str, Any]) -> tuple[int, str, str, str]:
    metadata = document["metadata"]
    return _ORDER[document["kind"]], metadata.get("namespace", ""), metadata["name"], document["kind"]
