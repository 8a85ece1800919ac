"""A harness that would notice a schema leak: every organisation, and `public`, holds one row with a word of its own.

Whatever reads rows reports what it saw and for whom. A word of somebody else is a leak; a missing own word is a reader that
stood in the wrong place without seeing anybody else's row yet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.ids import uuid7
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant

KIND = "test.canary"


@dataclass
class Report:
    reads: int = 0
    foreign: int = 0
    missing: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clean(self, least: int) -> bool:
        return self.reads >= least and self.foreign == 0 and self.missing == 0


@dataclass(frozen=True)
class Flock:
    tenants: tuple[Tenant, ...]
    words: dict[str, str]  # by short name of the organisation; `public` has one too
    report: Report

    def note(self, tenant: Tenant, seen: Iterable[str]) -> None:
        """Somebody working for this organisation saw these texts."""
        text = " ".join(seen)
        with self.report._lock:
            self.report.reads += 1
            self.report.foreign += any(word in text for slug, word in self.words.items() if slug != tenant.slug)
            self.report.missing += self.words[tenant.slug] not in text


@contextmanager
def flock(tenants: Iterable[Tenant]) -> Iterator[Flock]:
    """Committed canaries in these organisations and in `public`, taken away at the end."""
    tenants = tuple(tenants)
    words = {slug: f"canary{uuid7().hex[-12:]}" for slug in ["public", *(tenant.slug for tenant in tenants)]}
    scopes = [(platform_scope, "public"), *((lambda t=t: tenant_scope(t), t.slug) for t in tenants)]
    try:
        for scope, slug in scopes:
            with scope():
                Notification.objects.create(kind=KIND, title=words[slug])
        yield Flock(tenants, words, Report())
    finally:
        for scope, _ in scopes:
            with scope():
                Notification.objects.filter(kind=KIND).delete()
