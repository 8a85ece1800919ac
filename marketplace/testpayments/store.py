"""What a fake provider knows: one sqlite file, so that a provider that was killed comes back with everything it had answered."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Body = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS thing (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS thing_of_kind ON thing (kind, seq);
CREATE TABLE IF NOT EXISTS answer (key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS switch (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, method TEXT, path TEXT, left INTEGER, value REAL);
CREATE TABLE IF NOT EXISTS request (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, attempts INTEGER NOT NULL, next_at REAL NOT NULL,
    done INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), ahead INTEGER NOT NULL);
INSERT OR IGNORE INTO clock VALUES (1, 0);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer kept for its idempotency key, with what was asked."""

    request: str
    status: int
    body: Body


@dataclass(frozen=True, slots=True)
class Delivery:
    seq: int
    event: str
    attempts: int


class Store:
    """Used from one thread; each request is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self, *keep: type[Exception]) -> Iterator[None]:
        """Commit at the end, and also when an error of a kind in `keep` ends it: a declined card leaves its traces."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except keep:
            self._db.execute("COMMIT")
            raise
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def now(self) -> int:
        """Seconds since 1970 by the fake's clock, which a test may put ahead."""
        return int(time.time()) + int(self._db.execute("SELECT ahead FROM clock").fetchone()[0])

    def advance(self, seconds: int) -> None:
        self._db.execute("UPDATE clock SET ahead = ahead + ?", (seconds,))

    def put(self, kind: str, body: Body) -> Body:
        """Insert or replace the object with the id that it carries."""
        self._db.execute(
            "INSERT INTO thing (id, kind, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (body["id"], kind, json.dumps(body)),
        )
        return body

    def get(self, kind: str | None, identifier: str) -> Body | None:
        row = self._db.execute(
            "SELECT body FROM thing WHERE id = ? AND (? IS NULL OR kind = ?)", (identifier, kind, kind)
        ).fetchone()
        return json.loads(row[0]) if row else None

    def newest(self, kind: str) -> Iterator[Body]:
        for (text,) in self._db.execute("SELECT body FROM thing WHERE kind = ? ORDER BY seq DESC", (kind,)).fetchall():
            yield json.loads(text)

    def kept(self, key: str) -> Kept | None:
        row = self._db.execute("SELECT request, status, body FROM answer WHERE key = ?", (key,)).fetchone()
        return Kept(row[0], row[1], json.loads(row[2])) if row else None

    def keep(self, key: str, kept: Kept) -> None:
        self._db.execute(
            "INSERT INTO answer VALUES (?, ?, ?, ?)", (key, kept.request, kept.status, json.dumps(kept.body))
        )

    def record(self, request: Body) -> None:
        self._db.execute("INSERT INTO request (body) VALUES (?)", (json.dumps(request),))

    def recorded(self) -> list[Body]:
        return [json.loads(text) for (text,) in self._db.execute("SELECT body FROM request ORDER BY seq")]

    def set_switch(self, name: str, method: str, path: str, times: int, value: float) -> None:
        self._db.execute(
            "INSERT INTO switch (name, method, path, left, value) VALUES (?, ?, ?, ?, ?)",
            (name, method, path, times, value),
        )

    def take_switch(self, name: str, method: str, path: str) -> float | None:
        """Use a switch up once; its value, None when it is not set for this request."""
        row = self._db.execute(
            "SELECT seq, value FROM switch WHERE name = ? AND left > 0 AND method IN ('', ?) AND ? LIKE path || '%' ORDER BY seq",
            (name, method, path),
        ).fetchone()
        if row is None:
            return None
        self._db.execute("UPDATE switch SET left = left - 1 WHERE seq = ?", (row[0],))
        return float(row[1])

    def queue(self, event: str) -> None:
        self._db.execute("INSERT INTO delivery (event, attempts, next_at, done) VALUES (?, 0, 0, 0)", (event,))

    def due(self, moment: float) -> list[Delivery]:
        rows = self._db.execute(
            "SELECT seq, event, attempts FROM delivery WHERE done = 0 AND next_at <= ? ORDER BY seq LIMIT 20", (moment,)
        )
        return [Delivery(*row) for row in rows.fetchall()]

    def undelivered(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM delivery WHERE done = 0").fetchone()[0])

    def delivered(self, delivery: Delivery, *, done: bool, next_at: float) -> None:
        self._db.execute(
            "UPDATE delivery SET attempts = attempts + 1, done = ?, next_at = ? WHERE seq = ?",
            (int(done), next_at, delivery.seq),
        )
