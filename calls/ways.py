"""In which ways an organisation called lately: calls that are alike but for their moment, counted, with one for an example.

What decides about a call is the same for all calls of one way, so that replaying a month of them costs as much as it has ways.
Where rules hang on the hour, the calls of a server are told apart by parts of the day instead of by days.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db import connection

from core.ids import lowest_at

WAYS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class CalledWay:
    """`since` is the beginning of the day, or of the part of it, in which the calls were made; `first` the earliest of them."""

    since: datetime
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
    grant_id: UUID | None
    approved: bool  # let through because a person had approved this very call
    calls: int
    first: datetime
    example: UUID

    @property
    def day(self) -> date:
        return self.since.date()


def ways_since(
    since: datetime, *, calls_max: int, by_the_hour: Collection[UUID] = (), minutes: int = 15
) -> list[CalledWay]:
    """The ways of the newest calls of single servers since a moment, the commonest first.

    Days are days of UTC. Calls of servers `by_the_hour` are counted by parts of so many minutes, which divide an hour.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAYS, [list(by_the_hour), f"{minutes} minutes", _ORIGIN, lowest_at(since), calls_max, WAYS_MAX])
        return [CalledWay(*row) for row in cursor.fetchall()]


_ORIGIN = "2000-01-01T00:00:00+00:00"


# The bound on ids lets Postgres open the months that are asked for, and no others.
_WAYS = """
SELECT since, api_key_id, user_id, agent, agent_session_id, server_id, max(server_name), method, tool, allowed, reason, grant_id,
       approved, count(*) AS calls, min(occurred_at), (array_agg(call_id))[1]
FROM (
    SELECT CASE WHEN server_id = ANY (%s::uuid[]) THEN date_bin(%s::interval, occurred_at, %s::timestamptz)
                ELSE date_trunc('day', occurred_at, 'UTC') END AS since,
           occurred_at, api_key_id, user_id, agent, agent_session_id, server_id, server_name, method, tool, allowed, reason,
           grant_id, allowed AND approval_id IS NOT NULL AS approved, call_id
    FROM calls_call WHERE call_id >= %s AND server_id IS NOT NULL ORDER BY call_id DESC LIMIT %s
) newest
GROUP BY since, api_key_id, user_id, agent, agent_session_id, server_id, method, tool, allowed, reason, grant_id, approved
ORDER BY calls DESC LIMIT %s
"""
