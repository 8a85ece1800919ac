"""Importing files and folders: what `manage.py import_catalog` and the operators' page do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from audit import services as audit
from catalog.choices import SourceKind, SourceTrust, Visibility
from catalog.formats import files
from catalog.formats.normal import Problem
from catalog.services import importing
from catalog.services.importing import ImportReport, SourceRef
from core.errors import InvalidError
from tenants.context import platform_scope
from tenants.models import Tenant

SUFFIXES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".gz", ".mcpb", ".dxt")
FILES_MAX = 20_000


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file. `read` entries could be taken; problems name the others, and fields that were left out."""

    name: str
    read: int
    report: ImportReport


def source_named(
    name: str,
    *,
    organisation: Tenant | None = None,
    kind: str = SourceKind.LOCAL,
    trust: str = SourceTrust.COMMUNITY,
    priority: int = 0,
) -> SourceRef:
    """The source that files of this name come from, the same each time. Raises InvalidError for a name that does not fit."""
    name = " ".join(name.split())
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise InvalidError(
            "The source needs a name of 1 to 100 characters.", code="catalog.source_name", field="source_name"
        )
    owner = organisation.pk if organisation else None
    return SourceRef(
        source_id=uuid5(NAMESPACE_URL, f"marketplace:import:{owner or 'platform'}:{name}"),
        name=name,
        kind=kind,
        trust=trust,
        owner_tenant_id=owner,
        visibility=Visibility.ORG if organisation else Visibility.PUBLIC,
        priority=priority,
    )


def find_files(path: Path) -> list[Path]:
    """The file, or every file below the folder that may hold entries, in one order. Links that lead outside are left out."""
    root = path.resolve()
    if root.is_file():
        return [root]
    found = (each for each in sorted(root.rglob("*")) if each.is_file() and each.name.lower().endswith(SUFFIXES))
    kept = [each for each in found if each.resolve().is_relative_to(root)]
    if len(kept) > FILES_MAX:
        raise InvalidError(
            f"The folder holds more than {FILES_MAX:,} files.",
            code="catalog.import_large",
            next_step="Import its folders one by one.",
        )
    return kept


def import_content(
    source: SourceRef,
    content: bytes,
    name: str,
    fmt: str = "",
    on_batch: Callable[[ImportReport], None] | None = None,
) -> FileReport:
    """Take every entry of one file."""
    entries, problems = files.read_file(content, name, fmt)
    report = importing.take(source, entries, on_batch=on_batch)
    report.problems = problems + report.problems
    return FileReport(name, len(entries), report)


def import_path(source: SourceRef, path: Path, fmt: str = "") -> Iterator[FileReport]:
    """Take every file below a path, one after the other. A file that cannot be read is a problem, and the rest goes on."""
    root = path.resolve()
    for file in find_files(path):
        name = file.name if file == root else str(file.relative_to(root))
        yield import_file(source, file, name, fmt)


def import_file(source: SourceRef, file: Path, name: str, fmt: str = "") -> FileReport:
    try:
        if file.stat().st_size > files.FILE_MAX:
            raise OSError(f"is larger than {files.FILE_MAX // 2**20} MiB")
        content = file.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        return FileReport(name, 0, ImportReport(problems=[Problem(name, "", "", reason)]))
    return import_content(source, content, name, fmt)


def record(source: SourceRef, total: ImportReport, actor: audit.Party) -> None:
    """Put an import into the platform's audit log."""
    with platform_scope():
        audit.record(
            "catalog:source:imported",
            actor=actor,
            target=audit.Party("source", str(source.source_id), source.name),
            data={
                "created": total.created,
                "updated": total.updated,
                "unchanged": total.unchanged,
                "servers": total.servers,
                "removed": total.removed,
                "problems": len(total.problems),
            },
        )
