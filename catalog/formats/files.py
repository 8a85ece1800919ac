"""Files of any known format into entries: loaded within bounds, told apart by what they hold. Never raises for content.

YAML is read by the safe loader after one look at its events: depth, number and anchors are bounded there, and merge keys are
refused, because both are how a short file becomes a large one.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from catalog.formats import (
    contextforge,
    docker_server,
    mcp_metadata,
    mcp_server_manifest,
    mcpb,
    mcpm,
    server_json,
)
from catalog.formats.normal import Entry, Problem
from catalog.formats.reading import DEPTH_MAX, UnreadableError

Found = tuple[list[Entry], list[Problem]]

FILE_MAX = 64 * 2**20
YAML_MAX = 4 * 2**20
YAML_EVENTS_MAX = 400_000
YAML_ALIASES_MAX = 100
LINES_MAX = 200_000

_READERS: dict[str, Callable[[Any, str], Found]] = {
    server_json.FORMAT: server_json.read_all,
    mcp_server_manifest.FORMAT: mcp_server_manifest.read_all,
    mcp_metadata.FORMAT: mcp_metadata.read_all,
    contextforge.FORMAT: contextforge.read_all,
    docker_server.FORMAT: docker_server.read_all,
    mcpb.FORMAT: mcpb.read_all,
    mcpm.FORMAT: mcpm.read_all,
}
FORMATS = tuple(_READERS)

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_file(content: bytes, name: str, fmt: str = "") -> Found:
    """Every entry of a file, whatever it is: JSON, JSON lines, YAML, a bundle, or one of these packed by gzip.

    Each document is of the given format, or of the one that it looks like.
    """
    try:
        content = _unzipped(content) if content[:2] == b"\x1f\x8b" else content
        if content[:4] == b"PK\x03\x04":
            bundle = mcpb.read_archive(content, name)
            return [bundle.entry] if bundle.entry else [], bundle.problems
        documents = list(_documents(content, name))
    except UnreadableError as error:
        return [], [Problem(name, "", "", str(error))]
    why_not = "" if fmt else _why_no_catalog(documents)
    if why_not:
        return [], [Problem(name, "", "", why_not)]
    entries: list[Entry] = []
    problems: list[Problem] = []
    for document in documents:
        found, reported = read_document(document, name, fmt)
        entries += found
        problems += reported
    return entries, problems


def read_documents(content: bytes, name: str) -> list[Any]:
    """The parsed documents of a file, packed by gzip or not. Raises UnreadableError."""
    return list(_documents(_unzipped(content) if content[:2] == b"\x1f\x8b" else content, name))


def _why_no_catalog(documents: list[Any]) -> str:
    """What to say of a file none of whose documents can be an entry: once, and not once a line."""
    if len(documents) < 2 or any(recognise(document) for document in documents):
        return ""
    if all(isinstance(each, dict) and isinstance(each.get("tools"), list) for each in documents):
        return (
            f"is no catalog: its {len(documents):,} lines list tools of servers, and none says how the server is "
            "installed or reached"
        )
    return f"is no catalog: none of its {len(documents):,} documents is of a known format: {', '.join(FORMATS)}"


def read_document(data: Any, name: str, fmt: str = "") -> Found:
    """The entries of parsed data, of the given format or of the one that it looks like."""
    fmt = fmt or recognise(data)
    if fmt not in _READERS:
        return [], [Problem(name, "", "", f"is of no known format: {', '.join(FORMATS)}")]
    return _READERS[fmt](data, name)


def recognise(data: Any) -> str:
    """The format that the data looks like; blank when it looks like none."""
    if isinstance(data, list):
        return recognise(next((each for each in data if isinstance(each, dict)), None))
    if not isinstance(data, dict):
        return ""
    for fmt, looks in _LOOKS:
        if looks(data):
            return fmt
    servers = data.get("servers")
    if servers and isinstance(servers, list | dict):
        return recognise(list(servers.values()) if isinstance(servers, dict) else servers)
    values = list(data.values())
    return mcpm.FORMAT if values and all(isinstance(each, dict) and _is_mcpm(each) for each in values[:5]) else ""


def _is_mcpm(data: dict[str, Any]) -> bool:
    return isinstance(data.get("installations"), dict)


def _is_listed(data: dict[str, Any]) -> bool:
    name = data.get("name")
    is_named = isinstance(name, str) and "/" in name
    return isinstance(data.get("server"), dict) or "server.schema.json" in str(data.get("$schema")) or is_named


def _is_metadata(data: dict[str, Any]) -> bool:
    return isinstance(data.get("servers"), list) and "metadata" not in data and data.get("version") == "v1"


_LOOKS: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
    (mcp_server_manifest.FORMAT, lambda data: "apiVersion" in data and "kind" in data),
    (contextforge.FORMAT, lambda data: "catalog_servers" in data),
    (mcpb.FORMAT, lambda data: "manifest_version" in data or "dxt_version" in data),
    (mcp_metadata.FORMAT, _is_metadata),
    (mcpm.FORMAT, _is_mcpm),
    (docker_server.FORMAT, lambda data: isinstance(data.get("about"), dict) and "meta" in data),
    (server_json.FORMAT, _is_listed),
    (contextforge.FORMAT, lambda data: "auth_type" in data and "url" in data),
)


def load_json(content: bytes) -> Any:
    """Raises UnreadableError."""
    if len(content) > FILE_MAX:
        raise UnreadableError(f"is larger than {FILE_MAX // 2**20} MiB")
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is not JSON: {str(error)[:120]}") from error


def load_yaml(content: bytes) -> list[Any]:
    """The documents of a YAML stream. Raises UnreadableError."""
    if len(content) > YAML_MAX:
        raise UnreadableError(f"is larger than {YAML_MAX // 2**20} MiB")
    try:
        _look_over(content)
        return [document for document in yaml.load_all(content, Loader=_Loader) if document is not None]
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        where = getattr(error, "problem_mark", None)
        place = f" at line {where.line + 1}" if where else ""
        raise UnreadableError(f"is not YAML{place}: {str(getattr(error, 'problem', None) or error)[:120]}") from error


def _look_over(content: bytes) -> None:
    depth = aliases = 0
    for number, event in enumerate(yaml.parse(content, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        elif isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            raise UnreadableError("uses merge keys (<<), which are not taken; write the values out")
        if depth > DEPTH_MAX or aliases > YAML_ALIASES_MAX or number > YAML_EVENTS_MAX:
            raise UnreadableError(
                f"is nested deeper than {DEPTH_MAX} levels, or holds more than {YAML_ALIASES_MAX} aliases "
                f"or {YAML_EVENTS_MAX:,} values"
            )


def _documents(content: bytes, name: str) -> Iterator[Any]:
    plain = name.lower().removesuffix(".gz")
    if plain.endswith((".yaml", ".yml")):
        yield from load_yaml(content)
    elif plain.endswith((".jsonl", ".ndjson")):
        yield from _lines(content)
    elif plain.endswith(".json") or content.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"{", b"["):
        yield load_json(content)
    else:
        yield from load_yaml(content)


def _lines(content: bytes) -> Iterator[Any]:
    lines = content.splitlines()
    if len(lines) > LINES_MAX:
        raise UnreadableError(f"has more than {LINES_MAX:,} lines")
    for line in lines:
        if line.strip():
            yield load_json(line)


def _unzipped(content: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        data = unpacking.decompress(content, FILE_MAX + 1)
    except zlib.error as error:
        raise UnreadableError("is no gzip file") from error
    if len(data) > FILE_MAX or not unpacking.eof:
        raise UnreadableError(f"is larger than {FILE_MAX // 2**20} MiB, or cut off")
    return data
