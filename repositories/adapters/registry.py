"""The kinds of sources and the one shape of their adapters. Another package adds a kind by registering an adapter.

An adapter turns a source into batches of entries. It keeps nothing between calls: what it must remember to go on after a
batch is the batch's `cursor`, a text that only the adapter reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from catalog.formats.normal import Entry, Problem
from repositories.errors import SourceInvalidError

if TYPE_CHECKING:
    from repositories.adapters.fetching import Fetcher

KIND_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Some entries of a source, in its order. An empty `cursor` says that nothing follows.

    `validators` are kept once the whole run has succeeded. `unchanged` says that the source is as it was at the last
    success. `certain` is False when something could not be read, so that missing names prove nothing.
    """

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    cursor: str = ""
    total: int | None = None
    validators: Mapping[str, dict[str, str]] = field(default_factory=dict)
    unchanged: bool = False
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What an adapter is given. `since` asks for changes only, where the kind can; `roots` are folders that may be read."""

    url: str
    fetcher: Fetcher
    cursor: str = ""
    since: datetime | None = None
    validators: Mapping[str, dict[str, str]] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()


class Adapter(Protocol):
    """One kind of source.

    `kind` is stored (at most `KIND_LENGTH` characters), `label` and `hint` are shown. `switch` is the flag that allows the
    kind, or blank. `platform_only` kinds are not for organisations. `incremental` kinds understand `Reading.since`.
    `pause_s` is the least time between two readings that the source's rules ask for.
    """

    kind: str
    label: str
    hint: str
    switch: str
    platform_only: bool
    incremental: bool
    pause_s: int

    def check_url(self, url: str, roots: tuple[Path, ...]) -> str:
        """The address as it is stored. Raises SourceInvalidError, saying what an address of this kind looks like."""

    def read(self, reading: Reading) -> Iterator[Batch]:
        """Batches from the cursor on. Raises SourceError and its kinds; an entry that cannot be read is a Problem."""


_adapters: dict[str, Adapter] = {}


def register(adapter: Adapter) -> None:
    """Add a kind. A kind is registered once; the same adapter again changes nothing."""
    known = _adapters.setdefault(adapter.kind, adapter)
    if known is not adapter or not 0 < len(adapter.kind) <= KIND_LENGTH:
        raise ValueError(f"the kind {adapter.kind!r} is taken or has no usable name")


def find(kind: str) -> Adapter:
    """Raises SourceInvalidError for a kind that nobody registered."""
    adapter = _adapters.get(kind)
    if adapter is None:
        known = ", ".join(sorted(_adapters))
        raise SourceInvalidError(
            f"There is no kind of source named {kind!r}.", next_step=f"Choose one of: {known}.", field="kind"
        )
    return adapter


def adapters(*, of_platform: bool) -> list[Adapter]:
    """The kinds that the platform, or an organisation, may add, in the order of their registration."""
    return [adapter for adapter in _adapters.values() if of_platform or not adapter.platform_only]


def labels() -> dict[str, str]:
    return {kind: adapter.label for kind, adapter in _adapters.items()}
