"""In which ways an organisation called lately: calls that are alike but for their moment, counted, with one for an example.

What decides about a call is the same for all calls of one way, so that replaying a month of them costs as much as it has ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db import connection

from core.ids import lowest_at

WAYS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class CalledWay:
    day: date
    api_key_id: UUID | None
    user_id: UUID | None
    agent: str
    agent_session_id: UUID | None
    server_id: UUID
    server_name: str
    method: str
    tool: str
    allowed: bool
    reason: str
    calls: int
    example: UUID


def ways_since(since: datetime, *, calls_max: int) -> list[CalledWay]:
    """The ways of the newest calls of single servers since a moment, the commonest first."""
    with connection.cursor() as cursor:
        cursor.execute(_WAYS, [lowest_at(since), calls_max, WAYS_MAX])
        return [CalledWay(*row) for row in cursor.fetchall()]


# The bound on ids lets Postgres open the months that are asked for, and no others.
_WAYS = """
SELECT (occurred_at AT TIME ZONE 'UTC')::date AS day, api_key_id, user_id, agent, agent_session_id, server_id, max(server_name),
       method, tool, allowed, reason, count(*) AS calls, (array_agg(call_id))[1]
FROM (
    SELECT occurred_at, api_key_id, user_id, agent, agent_session_id, server_id, server_name, method, tool, allowed, reason,
           call_id
    FROM calls_call WHERE call_id >= %s AND server_id IS NOT NULL ORDER BY call_id DESC LIMIT %s
) newest
GROUP BY day, api_key_id, user_id, agent, agent_session_id, server_id, method, tool, allowed, reason
ORDER BY calls DESC LIMIT %s
"""
