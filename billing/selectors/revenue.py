"""What the marketplace has earned: months as the ledger booked them, and servers, providers and plans as lines were billed.

Both are told by the moment at which a booking counts, so what lines say of a span adds up to what the ledger says of it;
`Breakdown.agrees` reads both and compares. All amounts are minor units of one currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

from django.db import connection
from django.db.models import Sum
from django.db.models.functions import TruncMonth
from psycopg import sql

from billing.core import months, postings
from billing.core.postings import Kind
from billing.models import LedgerPosting


class By(StrEnum):
    """What rows of a breakdown are about."""

    SERVER = "server"
    PROVIDER = "provider"
    PLAN = "plan"


@dataclass(slots=True)
class Month:
    """One month of the ledger. What is given back or lost is positive in a column of its own, and taken off in `result`.

    `result` is what revenue accounts gained less what expense accounts did: the platform's own, before its other costs.
    """

    month: date
    usage: int = 0
    providers: int = 0
    platform: int = 0
    plans: int = 0
    plans_earned: int = 0
    given: int = 0
    credited: int = 0
    refunded: int = 0
    fees: int = 0
    written_off: int = 0
    disputed: int = 0
    result: int = 0

    def add(self, other: Month) -> None:
        for name in AMOUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


AMOUNTS = tuple(each.name for each in fields(Month) if each.name != "month")


@dataclass(frozen=True, slots=True)
class Part:
    """One server, provider or plan in a span. `billed` is before what credit notes took back (`credited`), both net of tax."""

    label: str
    detail: str
    calls: Decimal
    billed: int
    providers: int
    platform: int
    credited: int


@dataclass(slots=True)
class Breakdown:
    by: By
    parts: list[Part] = field(default_factory=list)
    agrees: bool = True

    def total(self, name: str) -> int:
        return sum(getattr(part, name) for part in self.parts)


def by_month(since: date, until: date, currency: str) -> list[Month]:
    """Each month from `since` to `until`, both first days and both included, newest first; empty ones too."""
    start, end = _span(since, until)
    found = {month: Month(month) for month in _months(since, until)}
    rows = LedgerPosting.objects.filter(
        currency=currency, transaction__effective_at__gte=start, transaction__effective_at__lt=end
    )
    keys = ("month", "transaction__kind", "account__family")
    sums = rows.annotate(month=TruncMonth("transaction__effective_at", tzinfo=UTC)).values_list(*keys)
    for moment, kind, family, total in sums.annotate(total=Sum("amount")).order_by():
        _count(found[moment.date()], Kind(kind), family, total)
    return sorted(found.values(), key=lambda each: each.month, reverse=True)


def totals(rows: Iterable[Month]) -> Month:
    whole = Month(date.min)
    for row in rows:
        whole.add(row)
    return whole


_BILLED = frozenset({Kind.INVOICE_OPENED, Kind.INVOICE_VOIDED})
_REVENUE = frozenset({postings.SUBSCRIPTION, postings.PLATFORM_FEE})
_COSTS = frozenset({postings.PROCESSOR_FEE, postings.PAYOUT_FEE, postings.DISPUTE_COST})
_EXPENSES = _COSTS | {postings.PROMO_CREDIT, postings.BAD_DEBT}
_CUSTOMERS = frozenset({postings.AR, postings.CUSTOMER_CREDIT})
# Column, the kinds of bookings and the accounts that it sums, and the sign that makes it positive as people say it.
_COLUMNS: tuple[tuple[str, frozenset[Kind], frozenset[str], int], ...] = (
    ("usage", _BILLED, frozenset({postings.PENDING, postings.PLATFORM_FEE}), -1),
    ("providers", _BILLED, frozenset({postings.PENDING}), -1),
    ("platform", _BILLED, frozenset({postings.PLATFORM_FEE}), -1),
    ("plans", _BILLED, frozenset({postings.DEFERRED_SUBSCRIPTION}), -1),
    ("plans_earned", frozenset({Kind.MONTH_EARNED}), frozenset({postings.SUBSCRIPTION}), -1),
    ("given", frozenset(Kind), frozenset({postings.PROMO_CREDIT}), 1),
    ("credited", frozenset({Kind.CREDIT_NOTE}), _CUSTOMERS, -1),
    ("refunded", frozenset({Kind.REFUND, Kind.REFUND_FAILED}), postings.CASH, -1),
    ("fees", frozenset(Kind), _COSTS, 1),
    ("written_off", frozenset({Kind.WRITE_OFF, Kind.RECOVERY}), frozenset({postings.AR}), -1),
    ("disputed", frozenset({Kind.DISPUTE_LOST}), frozenset({postings.DISPUTED}), -1),
    ("result", frozenset(Kind), _REVENUE | _EXPENSES, -1),
)


def _count(row: Month, kind: Kind, family: str, total: int) -> None:
    for name, kinds, families, sign in _COLUMNS:
        if kind in kinds and family in families:
            setattr(row, name, getattr(row, name) + sign * total)


# -- By what was billed

# Lines as often as they were booked: once when their invoice was opened, and taken back when it was voided.
_LINES = """
    SELECT l.*, CASE t.kind WHEN 'invoice_voided' THEN -1 ELSE 1 END * l.quantity AS moved_quantity,
           CASE t.kind WHEN 'invoice_voided' THEN -1 ELSE 1 END * l.minor AS moved,
           CASE t.kind WHEN 'invoice_voided' THEN -1 ELSE 1 END * l.provider_minor AS moved_provider, 0 AS moved_credit
    FROM billing_ledgertransaction t JOIN billing_invoiceline l ON l.invoice_id = t.invoice_id
    WHERE t.kind IN ('invoice_opened', 'invoice_voided') AND t.effective_at >= %(start)s AND t.effective_at < %(end)s
        AND l.currency = %(currency)s
    UNION ALL
    SELECT l.*, 0, 0, 0, c.minor
    FROM billing_ledgertransaction t JOIN billing_creditnoteline c ON c.note_id::text = t.source_id
        JOIN billing_invoiceline l ON l.id = c.line_id
    WHERE t.kind = 'credit_note' AND t.effective_at >= %(start)s AND t.effective_at < %(end)s AND l.currency = %(currency)s
"""
_SUMS = """
    coalesce(sum(moved_quantity) FILTER (WHERE kind IN ('usage', 'late')), 0), coalesce(sum(moved), 0)::bigint,
    coalesce(sum(moved_provider), 0)::bigint, coalesce(sum(moved_credit), 0)::bigint
"""
_OF_CALLS = "kind NOT IN ('subscription', 'proration', 'credit', 'tax')"
_STATEMENTS: Mapping[By, str] = {
    By.SERVER: """
        SELECT coalesce(nullif(max(server_name), ''), 'Adjustments'), coalesce(max(provider_name), ''), {sums}
        FROM ({lines}) AS moved WHERE {of_calls} GROUP BY server_id ORDER BY 4 DESC, 1
    """,
    By.PROVIDER: """
        SELECT coalesce(max(p.name), 'Adjustments'), '', {sums}
        FROM ({lines}) AS moved LEFT JOIN catalog_provider p ON p.id = moved.provider_id
        WHERE {of_calls} GROUP BY moved.provider_id ORDER BY 4 DESC, 1
    """,
    By.PLAN: """
        SELECT coalesce(max(p.name), 'Other plans'), '', {sums}
        FROM ({lines}) AS moved LEFT JOIN billing_planversion v ON v.id = moved.plan_version_id
            LEFT JOIN billing_plan p ON p.id = v.plan_id
        WHERE moved.kind IN ('subscription', 'proration') GROUP BY v.plan_id ORDER BY 4 DESC, 1
    """,
}


def by_part(by: By, since: date, until: date, currency: str) -> Breakdown:
    """What was billed from `since` to `until`, both first days of months and both included, the largest first."""
    start, end = _span(since, until)
    with connection.cursor() as cursor:
        statement = sql.SQL(_STATEMENTS[by]).format(
            lines=sql.SQL(_LINES), sums=sql.SQL(_SUMS), of_calls=sql.SQL(_OF_CALLS)
        )
        cursor.execute(statement, {"start": start, "end": end, "currency": currency})
        rows = cursor.fetchall()
    found = Breakdown(by, [_part(by, *row) for row in rows])
    booked = totals(by_month(since, until, currency))
    if by is By.PLAN:
        found.agrees = found.total("billed") == booked.plans
    else:
        billed = (found.total("billed"), found.total("providers"), found.total("platform"))
        found.agrees = billed == (booked.usage, booked.providers, booked.platform)
    return found


def _part(by: By, label: str, detail: str, calls: Decimal, billed: int, providers: int, credited: int) -> Part:
    return Part(label, detail, calls, billed, providers, billed - providers, credited)


def _span(since: date, until: date) -> tuple[datetime, datetime]:
    return months.bounds(since)[0], months.bounds(until)[1]


def _months(since: date, until: date) -> Iterator[date]:
    month = since
    while month <= until:
        yield month
        month = months.following(month)
