"""Files of sources into entries: the catalog's readers, told what a source knows beside the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from catalog.formats import docker_server, files, mcpb
from catalog.formats.normal import Entry, Problem
from catalog.formats.reading import UnreadableError
from repositories.adapters.registry import Batch

SUFFIXES = (".json", ".yaml", ".yml")
BUNDLES = (".mcpb", ".dxt")
SLICE = 500
ENTRIES_MAX = 200_000

type_found = tuple[list[Entry], list[Problem]]


def read(content: bytes, file: str, *, identifier: str = "", optional: bool = False) -> type_found:
    """The entries of one file. `identifier` is where a bundle can be fetched. An `optional` file is passed over when it is
    something else than a listing, because its name is used for other things too."""
    if content[:4] == b"PK\x03\x04":
        bundle = mcpb.read_archive(content, file, identifier=identifier)
        return [bundle.entry] if bundle.entry else [], list(bundle.problems)
    try:
        if optional and not files.recognise(files.load_json(content)):
            return [], []
        rows = _docker_catalog(content, file)
    except UnreadableError as error:
        return [], [] if optional else [Problem(file, "", "", str(error))]
    return docker_server.read_all(rows, file) if rows is not None else files.read_file(content, file)


def slices(found: type_found, mark: str, begin: int, following: str = "") -> Iterator[Batch]:
    """Entries in batches from a position on. The cursors are `mark:position`; after the last comes `following`."""
    entries, problems = found
    certain = len(entries) <= ENTRIES_MAX
    if not certain:
        problems = [*problems, Problem("", "", "", f"only the first {ENTRIES_MAX} entries are taken")]
        entries = entries[:ENTRIES_MAX]
    begin = begin if begin < len(entries) else 0
    for start in range(begin, max(len(entries), begin + 1), SLICE):
        end = start + SLICE
        cursor = f"{mark}:{end}" if end < len(entries) else following
        yield Batch(
            tuple(entries[start:end]),
            tuple(problems) if start == 0 else (),
            cursor,
            total=len(entries) if not following else None,
            certain=certain,
        )


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _docker_catalog(content: bytes, file: str) -> list[dict[str, object]] | None:
    """The rows of Docker's own catalog file, which holds its servers by name under `registry`; None for any other file."""
    if not file.lower().endswith((".yaml", ".yml")) or b"registry:" not in content:
        return None
    loaded = files.load_yaml(content)
    held = loaded[0].get("registry") if len(loaded) == 1 and isinstance(loaded[0], dict) else None
    if not isinstance(held, dict):
        return None
    return [{"name": str(name), **row} for name, row in held.items() if isinstance(row, dict)]
