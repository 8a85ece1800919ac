"""Verifying audit chains of whole installations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import connection
from django_tenants.utils import schema_context

from audit.chain import Break
from audit.services import verification
from audit.statements import Statement


@dataclass(frozen=True, slots=True)
class Result:
    schema_name: str
    count: int
    broken: Break | None = None


def verify_all(
    only: str | None = None,
    given: Iterable[Statement] = (),
    progress: verification.type_progress | None = None,
) -> Iterator[Result]:
    """Check the chain of every schema that has one; statements that somebody kept are held against their logs."""
    given = list(given)
    for name in [only] if only else schemas_with_audit():
        with schema_context(name):
            count, broken = verification.verify(given, progress)
        yield Result(name, count, broken)


def schemas_with_audit() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname FROM pg_tables WHERE tablename = 'audit_auditevent'"
            " AND (schemaname = 'public' OR schemaname LIKE 't\\_%%') ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall()]
