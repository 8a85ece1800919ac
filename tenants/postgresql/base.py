"""The database backend: django-tenants' search path, plus the viewer that catalog row policies read.

`marketplace.viewer` is a session setting of Postgres. A rolled-back SET is undone by the server, so what was applied is
forgotten at every rollback and on every (re)connect, and applied again before the next statement.
"""

from __future__ import annotations

from typing import Any

from django_tenants.postgresql_backend import base


class DatabaseWrapper(base.DatabaseWrapper):
    viewer = ""
    _viewer_applied: str | None = None
    _applying_viewer = False

    def set_viewer(self, viewer: str) -> None:
        """Whose rows the catalog policies show: a tenant id, 'platform', or '' for the public."""
        self.viewer = viewer

    def close(self) -> None:
        self._viewer_applied = None
        super().close()

    def rollback(self) -> None:
        self._viewer_applied = None
        super().rollback()

    def savepoint_rollback(self, sid: str) -> None:
        try:
            super().savepoint_rollback(sid)
        finally:
            self._viewer_applied = None

    def connect(self) -> None:
        self._viewer_applied = None
        super().connect()

    def _handle_search_path(self, cursor: Any = None) -> None:
        super()._handle_search_path(cursor)
        if self._applying_viewer or self._setting_search_path or self._viewer_applied == self.viewer:
            return
        self._applying_viewer = True
        wanted = self.viewer
        own = self.connection.cursor() if cursor is None else cursor
        try:
            own.execute("SELECT set_config('marketplace.viewer', %s, false)", [wanted])
        except (base.django.db.utils.DatabaseError, base.psycopg.Error):
            # An aborted transaction: the next statement fails as well, and its rollback comes back here.
            self._viewer_applied = None
        else:
            self._viewer_applied = wanted
        finally:
            self._applying_viewer = False
            if cursor is None:
                own.close()
