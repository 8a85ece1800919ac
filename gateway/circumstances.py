"""What of a request, beside its credential, a decision may depend on: the session that it names, and where it comes from.

Most requests name no session, and most organisations have no grant that looks at addresses. Then the caller is the key's, and
everything it keeps is good for all its requests. A request of which something counts gets a caller of its own, which keeps its
own decisions; so nothing is shared between circumstances.

Uses of sessions are kept here and told to the control plane every few seconds, not with each call.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from access.types import DEFAULT_SESSION_HEADER

USUAL_HEADER = DEFAULT_SESSION_HEADER.lower().encode()
NAME_MAX = 253
_SESSIONS_MAX = 50_000
_TELL_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Circumstances:
    sessions: tuple[tuple[bytes, str], ...] = ()  # by header: the name that the request gives its session
    address: str = ""  # empty where no grant looks at it

    def session_in(self, header: str) -> str:
        """The session that the request names in this header."""
        wanted = header.lower().encode()
        return next((name for given, name in self.sessions if given == wanted), "")


def named(headers: Mapping[bytes, bytes], session_headers: Iterable[bytes]) -> tuple[tuple[bytes, str], ...]:
    """The sessions that a request names. What is too long to be a name is kept as long as it takes to be none."""
    return tuple(
        (header, headers[header].strip().decode("latin-1")[: NAME_MAX + 1])
        for header in sorted(session_headers)
        if header in headers and headers[header].strip()
    )


class SessionUses:
    """When sessions were last used, as far as this process knows."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()
        self._last: OrderedDict[UUID, datetime] = OrderedDict()
        self._untold: dict[UUID, dict[UUID, datetime]] = {}  # by organisation

    def note(self, tenant_id: UUID, session_id: UUID, moment: datetime) -> None:
        self.learn(session_id, moment)
        self._untold.setdefault(tenant_id, {})[session_id] = moment

    def learn(self, session_id: UUID, moment: datetime) -> None:
        """Of a use somewhere else. Later moments win."""
        known = self._last.get(session_id)
        if known is None or known < moment:
            self._last[session_id] = moment
        self._last.move_to_end(session_id)
        if len(self._last) > _SESSIONS_MAX:
            # Whoever is forgotten is asked about in the database again.
            self._last.popitem(last=False)

    def last(self, session_id: UUID) -> datetime | None:
        return self._last.get(session_id)

    def due(self, *, everything: bool = False) -> dict[UUID, dict[UUID, datetime]]:
        """What is to be told at this moment; it counts as told."""
        if not everything and time.monotonic() - self._told_at < _TELL_EVERY_S:
            return {}
        self._told_at = time.monotonic()
        due, self._untold = self._untold, {}
        return due
