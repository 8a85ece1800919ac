"""Sums of usage by day, made again from the log: what is stored is always what a count would give."""

from __future__ import annotations

from django.db import connection

from calls.models import Period
from calls.selectors.usage import CELLS, REACH
from core.ids import lowest_at

_COLUMNS = "day, server_id, server_name, tool, provider_id, price_version_id, api_key_id, calls, quantity"
_KEY = "day, server_id, tool, provider_id, price_version_id, api_key_id"


def refresh(period: Period) -> None:
    """Make the sums of a period again, in one statement. Safe to run twice and at any time; rows that agree are not touched."""
    with connection.cursor() as cursor:
        cursor.execute(_REFRESH, [period.pk, lowest_at(period.starts_at - REACH), period.pk, period.pk])


_REFRESH = f"""
WITH fresh AS MATERIALIZED ({CELLS}),
gone AS (
    DELETE FROM calls_usageday WHERE period_id = %s AND NOT EXISTS (
        SELECT FROM fresh f WHERE ROW({", ".join(f"f.{name.strip()}" for name in _KEY.split(","))})
        IS NOT DISTINCT FROM ROW({", ".join(f"calls_usageday.{name.strip()}" for name in _KEY.split(","))})
    )
)
INSERT INTO calls_usageday (period_id, {_COLUMNS}) SELECT %s, {_COLUMNS} FROM fresh
ON CONFLICT (period_id, {_KEY}) DO UPDATE
SET calls = excluded.calls, quantity = excluded.quantity, server_name = excluded.server_name
WHERE (calls_usageday.calls, calls_usageday.quantity, calls_usageday.server_name)
   IS DISTINCT FROM (excluded.calls, excluded.quantity, excluded.server_name)
"""  # noqa: S608 - columns of our own
