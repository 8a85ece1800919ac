"""Closed: a stream lasts no longer than the right to it, and ends when that right cannot be read.

A call is decided once and is soon over. Whoever listens stays for a quarter of an hour, so the right to listen is looked at again
every second: a key that was revoked, a grant that ended, a server that closed, an address range that changed end the stream.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import datetime

from core import clock
from gateway.context import CallContext, Caller
from gateway.entries import KeyEntry
from gateway.feed import Feed
from gateway.stages.authenticate import Authenticator
from gateway.stages.authorise import decision_for
from gateway.stages.resolve import choose
from gateway.store import EntryStore


class Review:
    def __init__(self, store: EntryStore, feed: Feed, authenticator: Authenticator) -> None:
        self._store, self._feed, self._authenticator = store, feed, authenticator

    def keep_looking(self, call: CallContext, method: str) -> None:
        """From here on the watch ends the call when `method` would not be allowed to its caller any more."""
        call.watched.review = functools.partial(self._stands, call, method)

    def _stands(self, call: CallContext, method: str) -> bool:
        assert call.caller is not None
        now = clock.now()
        if not self._feed.is_current():
            return False
        caller = self._present(call.caller, now)
        if caller is None or "invoke" not in caller.key.scopes:
            return False
        if call.scope and not self._authenticator.is_in_place(call, caller.key):
            return False
        return call.server is None or self._may_use(call, caller, method, now)

    def _present(self, caller: Caller, now: datetime) -> Caller | None:
        """The caller as the entries know it at this moment; None when it is none any more."""
        if caller.key.expires_at is not None and caller.key.expires_at <= now:
            return None
        tenant = self._store.find_tenant(caller.key.key_id)
        if tenant is caller.tenant:
            return caller
        key = tenant.keys.get(caller.key.key_id) if tenant is not None else None
        if tenant is None or tenant.suspended or key is None or not _is_same(key, caller.key):
            return None
        key = replace(key, scopes=key.scopes & caller.key.scopes)
        if key.expires_at is not None and key.expires_at <= now:
            return None
        return caller.under(tenant, key)

    def _may_use(self, call: CallContext, caller: Caller, method: str, now: datetime) -> bool:
        assert call.server is not None
        servers = self._store.find_servers(call.slug)
        server = choose(servers, caller) if servers is not None else None
        if server is None or server.server_id != call.server.server_id or not server.callable:
            return False
        if caller.key.server_ids and server.server_id not in caller.key.server_ids:
            return False
        decision = decision_for(caller, server, method, "", now)
        if decision.allowed:
            # Whoever listens uses the session.
            caller.note_use(decision.session_id, now)
        return decision.allowed


def _is_same(key: KeyEntry, earlier: KeyEntry) -> bool:
    return key.secret_digest == earlier.secret_digest and key.client_id == earlier.client_id
