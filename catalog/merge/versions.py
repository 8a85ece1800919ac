"""Which of several versions is the latest. Pure.

As the registry standard orders them: the publisher's own flag, then semantic versions, then the time of publishing; a semantic
version beats any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_SEMVER = re.compile(
    r"v?(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z"
)
_NEVER = datetime.min.replace(tzinfo=UTC)

Precedence = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """`says_latest` is None when the source does not say."""

    version: str
    says_latest: bool | None = None
    published_at: datetime | None = None
    is_deleted: bool = False


def latest(candidates: Sequence[Candidate]) -> int:
    """The index of the latest version; a deleted one only when all are."""
    return max(range(len(candidates)), key=lambda index: _order(candidates[index]))


def semver(version: str) -> Precedence | None:
    """What to compare semantic versions by (semver.org 2.0.0, section 11), or None for anything else."""
    match = _SEMVER.match(version)
    if match is None:
        return None
    major, minor, patch, before = match.groups()
    parts = tuple(_identifier(part) for part in before.split(".")) if before else ()
    return int(major), int(minor), int(patch), not before, parts


def _identifier(part: str) -> tuple[bool, int, str]:
    """Numbers come before words and are compared as numbers."""
    return (False, int(part), "") if part.isascii() and part.isdecimal() and len(part) < 19 else (True, 0, part)


def _order(candidate: Candidate) -> tuple[bool, bool, bool, Precedence, datetime, str]:
    found = semver(candidate.version)
    return (
        not candidate.is_deleted,
        candidate.says_latest is True,
        found is not None,
        found or (0, 0, 0, False, ()),
        candidate.published_at or _NEVER,
        candidate.version,
    )
