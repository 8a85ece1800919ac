"""Month partitions of the call log, made ahead of need.

The bounds are UUIDs: the millisecond of a month's first moment in the top 48 bits, so that the primary key alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection, transaction
from psycopg import sql

from core import clock
from core.ids import lowest_at

MONTHS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Month:
    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    def next(self) -> Month:
        return Month(self.year + 1, 1) if self.month == 12 else Month(self.year, self.month + 1)

    @property
    def number(self) -> int:
        """Such as 202611: the id of its period."""
        return self.year * 100 + self.month

    @property
    def starts_at(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def bounds(self) -> tuple[UUID, UUID]:
        return lowest_at(self.starts_at), lowest_at(self.next().starts_at)

    @property
    def table(self) -> str:
        return f"calls_call_{self.year:04d}_{self.month:02d}"


def wanted(moment: datetime | None = None, ahead: int = MONTHS_AHEAD) -> list[Month]:
    """This month and the months ahead that must exist."""
    months = [Month.of(moment or clock.now())]
    for _ in range(ahead):
        months.append(months[-1].next())
    return months


def missing(schema: str, moment: datetime | None = None) -> list[Month]:
    names = {month.table: month for month in wanted(moment)}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND relname = ANY(%s)",
            [schema, list(names)],
        )
        present = {row[0] for row in cursor.fetchall()}
    return [month for name, month in names.items() if name not in present]


def ensure(schema: str, moment: datetime | None = None) -> list[Month]:
    """Make the partitions that are missing in a schema, and return them. Safe to run at any time, by several at once."""
    made = missing(schema, moment)
    for month in made:
        with transaction.atomic(), connection.cursor() as cursor:
            low, high = month.bounds
            table, parent = sql.Identifier(schema, month.table), sql.Identifier(schema, "calls_call")
            cursor.execute("SELECT pg_advisory_xact_lock(79, hashtext(%s))", [schema])
            cursor.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                    table, parent, sql.Literal(str(low)), sql.Literal(str(high))
                )
            )
            # Statement triggers are not inherited, unlike the row trigger against UPDATE and DELETE.
            cursor.execute(
                sql.SQL(
                    "CREATE OR REPLACE TRIGGER {} BEFORE TRUNCATE ON {}"
                    " FOR EACH STATEMENT EXECUTE FUNCTION public.marketplace_refuse_change()"
                ).format(sql.Identifier(f"{month.table}_no_truncate"), table)
            )
    return made
