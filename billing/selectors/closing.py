"""The close of months over all organisations, for operators: periods are kept in each one's schema and asked for in one go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

from django.db import connection
from django.db.models import Count, Sum
from psycopg import sql

from billing.core.months import from_number
from billing.models import Invoice, InvoiceState
from calls.models import PeriodState
from core.money import Money
from tenants.jobs import each_tenant

MONTHS_SHOWN = 6
_SCHEMAS_AT_ONCE = 500


@dataclass(slots=True)
class MonthClose:
    """A month: how many organisations stand where, and what its invoices come to."""

    month: date
    periods: Counter[str] = field(default_factory=Counter)
    invoices: Counter[str] = field(default_factory=Counter)
    billed: list[Money] = field(default_factory=list)

    @property
    def rows(self) -> list[tuple[str, int]]:
        return [(state.label, self.periods[state.value]) for state in PeriodState]

    @property
    def invoice_rows(self) -> list[tuple[str, int]]:
        return [(state.label, self.invoices[state.value]) for state in InvoiceState if self.invoices[state.value]]


def months() -> list[MonthClose]:
    """The newest months, newest first."""
    found: dict[date, MonthClose] = {}
    for number, state, count in _periods():
        month = from_number(number)
        found.setdefault(month, MonthClose(month)).periods[state] += count
    newest = sorted(found.values(), key=lambda each: each.month, reverse=True)[:MONTHS_SHOWN]
    by_month = {each.month: each for each in newest}
    rows = Invoice.objects.filter(month__in=by_month).order_by().values_list("month", "state", "currency")
    for month, state, currency, count, total in rows.annotate(count=Count("pk"), billed=Sum("total_minor")):
        by_month[month].invoices[state] += count
        if state not in (InvoiceState.DRAFT, InvoiceState.VOID):
            _add(by_month[month].billed, Money(total, currency))
    return newest


def _add(sums: list[Money], amount: Money) -> None:
    for place, known in enumerate(sums):
        if known.currency == amount.currency:
            sums[place] = known + amount
            return
    sums.append(amount)


def _periods() -> list[tuple[int, str, int]]:
    names = [tenant.schema_name for tenant in each_tenant()]
    found: list[tuple[int, str, int]] = []
    for first in range(0, len(names), _SCHEMAS_AT_ONCE):
        each = [
            sql.SQL("SELECT id, state FROM {}.calls_period").format(sql.Identifier(name))
            for name in names[first : first + _SCHEMAS_AT_ONCE]
        ]
        query = sql.SQL("SELECT id, state, count(*) FROM ({}) AS p GROUP BY 1, 2").format(
            sql.SQL(" UNION ALL ").join(each)
        )
        with connection.cursor() as cursor:
            cursor.execute(query)
            found += cursor.fetchall()
    return found
