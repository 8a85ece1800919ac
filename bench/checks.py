"""What must be true of a run besides its numbers."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from psycopg import sql

from bench.harness import BenchError


@dataclass(frozen=True)
class Rows:
    """The call log after the run, next to what the load generators were answered."""

    recorded: int
    recorded_ok: int
    billed: int
    answers: int
    in_flight: int  # calls that can have been under way at the ends of the measurements, one per connection

    @property
    def problem(self) -> str:
        """Why the log and the answers disagree; empty when they agree.

        When a measurement ends, calls in flight are recorded and their answers are not counted any more.
        """
        if self.recorded_ok < self.answers:
            return f"{self.answers - self.recorded_ok} answered calls have no row"
        if self.recorded > self.answers + self.in_flight:
            return f"{self.recorded - self.answers} more rows than answers, {self.in_flight} can have been in flight"
        if self.billed != self.recorded_ok:
            return f"{self.recorded_ok} calls succeeded and {self.billed} are billed"
        return ""


def count(database_url: str, schema: str, *, answers: int, in_flight: int) -> Rows:
    """Count the calls of tools that the run left."""
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE outcome = 'ok'), count(*) FILTER (WHERE billable AND price > 0)"
        " FROM {} WHERE method = 'tools/call'"
    ).format(sql.Identifier(schema, "calls_call"))
    with psycopg.connect(database_url) as connection:
        found = connection.execute(query).fetchone()
    assert found is not None
    recorded, recorded_ok, billed = found
    return Rows(recorded, recorded_ok, billed, answers, in_flight)


def token(text: str, body: bytes, tool: str) -> None:
    """Raises BenchError unless `text` is the marketplace's signed statement about a call of `tool` with this body."""
    parts = text.split(".")
    if len(parts) != 3 or not parts[2]:
        raise BenchError(f"The server got no token of the marketplace, so the full path was not measured: {text!r}")
    claims = _json(parts[1])
    digest = urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    if (claims.get("tool"), claims.get("rqh")) != (tool, digest):
        raise BenchError(f"The token is about another call: {claims}")


def _json(part: str) -> dict[str, Any]:
    decoded: dict[str, Any] = orjson.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded
