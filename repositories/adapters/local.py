"""A folder or file of this machine, below a folder that the operator's setting allows. Only the platform has such sources.

Links that lead out of the allowed folder are not followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from catalog.formats.files import FILE_MAX
from catalog.formats.normal import Problem
from repositories.adapters import documents
from repositories.adapters.registry import Batch, Reading
from repositories.errors import SourceInvalidError, SourceRefusedError

FILES_MAX = 20_000
DEPTH_MAX = 12
_READ = (*documents.SUFFIXES, *documents.BUNDLES, ".jsonl", ".ndjson", ".jsonl.gz", ".json.gz")


class LocalFolder:
    kind = "local"
    label = "Folder of this machine"
    hint = "The full path of a folder or file below a folder that MARKETPLACE_SOURCE_FOLDERS lists."
    switch = "enable_local_repositories"
    platform_only = True
    incremental = False
    pause_s = 0

    def check_url(self, url: str, roots: tuple[Path, ...]) -> str:
        path = _allowed(url.strip().removeprefix("file://"), roots)
        if path is None:
            raise SourceInvalidError(
                "This path is not there, or not below a folder that may be read.", next_step=self.hint, field="url"
            )
        return str(path)

    def read(self, reading: Reading) -> Iterator[Batch]:
        """Small files share a batch. The cursor is a digest of the list of files, the next file, and a position in it."""
        root = _allowed(reading.url, reading.roots)
        if root is None:
            raise SourceRefusedError("The folder is gone, or no longer one that may be read.", next_step=self.hint)
        files = [root] if root.is_file() else sorted(islice(_walk(root, root, DEPTH_MAX), FILES_MAX + 1))
        digest = documents.digest_of("\n".join(map(str, files)).encode())
        begin, position = _begin(reading.cursor, digest)
        held = Batch(certain=len(files) <= FILES_MAX)
        if not held.certain:
            held = replace(held, problems=(Problem(str(root), "", "", f"only {FILES_MAX} files are read"),))
        for number, path in enumerate(files[:FILES_MAX][begin:], begin):
            for batch in _file(path, root, f"{digest}:{number}", position, f"{digest}:{number + 1}:0"):
                held = _joined(held, batch)
                if len(held.entries) >= documents.SLICE:
                    yield held
                    held = Batch()
            position = 0
        yield replace(held, cursor="")


def _file(path: Path, root: Path, mark: str, begin: int, following: str) -> Iterator[Batch]:
    name = str(path.relative_to(root)) if path != root else path.name
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_MAX + 1)
    except OSError as error:
        problem = Problem(name, "", "", f"cannot be read: {error.strerror}")
        yield Batch(problems=(problem,), cursor=following, certain=False)
        return
    yield from documents.slices(documents.read(content, name), mark, begin, following)


def _joined(one: Batch, other: Batch) -> Batch:
    return replace(
        other,
        entries=(*one.entries, *other.entries),
        problems=(*one.problems, *other.problems),
        certain=one.certain and other.certain,
    )


def _begin(cursor: str, digest: str) -> tuple[int, int]:
    """Number of the file and position in it; the beginning if the folder holds other files than before."""
    known, _, rest = cursor.partition(":")
    number, _, position = rest.partition(":")
    return (int(number), int(position)) if known == digest else (0, 0)


def _allowed(text: str, roots: tuple[Path, ...]) -> Path | None:
    """The real path, if it is there and below one of the roots."""
    if not text.startswith("/") or not text.isprintable():
        return None
    try:
        path = Path(text).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return path if any(path.is_relative_to(root) for root in roots) else None


def _walk(folder: Path, root: Path, depth: int) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            continue
        if path.is_dir():
            if depth > 0 and not path.is_symlink():
                yield from _walk(path, root, depth - 1)
        elif path.is_file() and path.name.lower().endswith(_READ):
            yield path


ADAPTER = LocalFolder()
