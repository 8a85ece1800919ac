"""Checking a chain: row by row, against the mark of its end, and against every statement that was signed about it.

Streamed, so that a long log costs time and no memory. What is added meanwhile does not disturb: the end that must be reached is
read before the rows.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from django.conf import settings

from audit import chain
from audit.chain import Break, Kind, Link, Point
from audit.models import AuditEvent, AuditHead
from audit.services import checkpoints
from audit.services.events import CONTENT, active_log
from audit.statements import Statement, StatementKind

_CHUNK = 2000
type_progress = Callable[[int], None]


@dataclass
class _Seen:
    """What passes while a chain is read: how many rows, the last one, and the first that is not what was stated of it."""

    stated: dict[int, bytes]
    count: int = 0
    last: Point = field(default=chain.START)
    rewritten: int | None = None

    def take(self, link: Link) -> None:
        self.count += 1
        self.last = Point(link.sequence, link.hash)
        if self.rewritten is None and self.stated.get(link.sequence, link.hash) != link.hash:
            self.rewritten = link.sequence


def verify(given: Iterable[Statement] = (), progress: type_progress | None = None) -> tuple[int, Break | None]:
    """Check the chain of the active schema: how many events it has, and the first break if there is one.

    `given` are statements that somebody kept; `progress` hears how many rows were read, now and then.
    """
    end, problem = _marked_end()
    statements: list[Statement] = [one for one in given if one.log == active_log()]
    for one in checkpoints.known():
        if isinstance(one, str):
            problem = problem or Break(0, one, Kind.FORGED)
        elif one.log == active_log():
            statements.append(one)
    rows = _links(progress)
    first = next(rows, None)
    start = _start(first, statements)
    seen = _Seen({each.point.sequence: each.point.hash for each in statements})
    broken = chain.first_break(settings.AUDIT_KEY, _watched(first, rows, seen), start)
    findings = [broken, _rewritten(seen), _truncated(seen, start, end, statements), _odd(statements), problem]
    found = [each for each in findings if each is not None]
    # What was done to rows says more than what is wrong with a statement.
    return seen.count, min(found, key=lambda each: (each.kind == Kind.FORGED, each.sequence)) if found else None


def _links(progress: type_progress | None) -> Iterator[Link]:
    names = [*CONTENT, "previous_hash", "hash"]
    rows = AuditEvent.objects.order_by("sequence").values(*names).iterator(chunk_size=_CHUNK)
    for count, row in enumerate(rows, start=1):
        previous, own = bytes(row.pop("previous_hash")), bytes(row.pop("hash"))
        yield Link(row["sequence"], row, previous, own)
        if progress is not None and count % _CHUNK == 0:
            progress(count)


def _watched(first: Link | None, rest: Iterator[Link], seen: _Seen) -> Iterator[Link]:
    if first is None:
        return
    seen.take(first)
    yield first
    for link in rest:
        seen.take(link)
        yield link


def _marked_end() -> tuple[Point | None, Break | None]:
    head = AuditHead.objects.first()
    if head is None:
        # A log that was never written to has none; one that has events must.
        missing = Break(0, "the mark of the log's end is missing", Kind.FORGED)
        return None, missing if AuditEvent.objects.exists() else None
    end = Point(head.sequence, bytes(head.hash))
    if not hmac.compare_digest(bytes(head.mark), chain.head_mark(settings.AUDIT_KEY, active_log(), end)):
        return None, Break(end.sequence, "the mark of the log's end was changed", Kind.FORGED)
    return end, None


def _start(first: Link | None, statements: list[Statement]) -> Point:
    """Where the chain begins: with its first row, or after a cut that was signed."""
    cuts = [each.point for each in statements if each.kind == StatementKind.CUT]
    if first is None:
        return max(cuts, key=lambda cut: cut.sequence, default=chain.START)
    fitting = (cut for cut in cuts if cut.sequence == first.sequence - 1 and cut.hash == first.previous_hash)
    return next(fitting, chain.START)


def _rewritten(seen: _Seen) -> Break | None:
    if seen.rewritten is None:
        return None
    why = f"row {seen.rewritten} is not what a signed checkpoint says it was: the log was written anew"
    return Break(seen.rewritten, why, Kind.REWRITTEN)


def _truncated(seen: _Seen, start: Point, end: Point | None, statements: list[Statement]) -> Break | None:
    reached = max(seen.last.sequence, start.sequence)
    told = max((each.point.sequence for each in statements), default=0)
    wanted = max(told, end.sequence if end else 0)
    if reached >= wanted:
        return None
    by = "a signed checkpoint" if told == wanted else "the mark of the log's end"
    return Break(reached + 1, f"rows {reached + 1} to {wanted} are cut off: {by} knows of them", Kind.TRUNCATED)


def _odd(statements: list[Statement]) -> Break | None:
    """Two statements about one row that differ: both are signed, so somebody else has the key."""
    told: dict[int, bytes] = {}
    for each in statements:
        if told.setdefault(each.point.sequence, each.point.hash) != each.point.hash:
            why = f"two signed checkpoints of row {each.point.sequence} disagree: the log was written anew between them"
            return Break(each.point.sequence, why, Kind.REWRITTEN)
    return None
