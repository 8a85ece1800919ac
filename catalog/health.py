"""Whether listed servers answer, and still offer what was approved.

A check reads the server as the catalog does when it is registered, so "ready" means that its tools could be listed just now, not
that a port is open. The network is used outside any transaction, by a few threads that touch no database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from catalog import digests, inventory
from catalog.choices import DriftFinder, Health, Status
from catalog.models import Server
from catalog.services import drifts, servers
from catalog.types import Inventory
from core import clock
from core.errors import MarketplaceError
from tenants.context import platform_scope

SLOW_MS = 3_000
CHECK_SECONDS_MAX = 10.0
# No new check begins after this, so that a run ends before its time limit; the rest are first in the next run.
RUN_MS_MAX = 150_000
PARALLEL = 8

log = logging.getLogger(__name__)

Reader = Callable[[str], Inventory]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check needs of a server. `definitions` maps the approved tools to their digests."""

    server_id: UUID
    url: str
    definitions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    health: str
    detail: str = ""
    tools: tuple[dict[str, Any], ...] = ()  # as the server gave them; empty when it did not answer


def check_listed(read: Reader | None = None) -> dict[str, int]:
    """Check listed servers, the longest unchecked first, and store what was found; how many there were of each state."""
    counts = dict.fromkeys(Health.values, 0)
    began_at, stop_ms = clock.now(), clock.monotonic_ms() + RUN_MS_MAX
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="health") as pool:
        while clock.monotonic_ms() < stop_ms and (subjects := _unchecked_since(began_at)):
            findings = list(pool.map(lambda each: check(each, read), subjects))
            with platform_scope():
                for subject, finding in zip(subjects, findings, strict=True):
                    servers.record_health(
                        server=Server(pk=subject.server_id), health=finding.health, detail=finding.detail
                    )
                    counts[finding.health] += 1
                    drifts.compare(
                        server_id=subject.server_id,
                        tools={tool["name"]: tool for tool in finding.tools},
                        found_by=DriftFinder.HEALTH,
                    )
    return counts


def check(subject: Subject, read: Reader | None = None) -> Finding:
    """Ask one server, and compare what it offers with what was approved."""
    started = clock.monotonic_ms()
    try:
        found = (read or _read)(subject.url)
    except MarketplaceError as error:
        return Finding(Health.DOWN, error.message)
    except Exception:
        log.exception("health check failed", extra={"server_id": str(subject.server_id)})
        return Finding(Health.UNKNOWN, "The check itself failed; the failure is logged.")
    took_ms = clock.monotonic_ms() - started
    tools = tuple(found.tools)
    changes = changes_since(subject.definitions, found.tools)
    if changes:
        return Finding(Health.DEGRADED, f"Definitions changed since approval: {changes}.", tools)
    if took_ms > SLOW_MS:
        return Finding(Health.DEGRADED, f"Slow: listing its tools took {took_ms / 1000:.1f} s.", tools)
    return Finding(Health.READY, tools=tools)


def changes_since(approved: dict[str, str], tools: list[dict[str, Any]]) -> str:
    """How the tools differ from the approved ones, in words; empty when they are the same."""
    offered = {tool["name"]: digests.of_tool(tool) for tool in tools}
    groups = (
        ("changed", [name for name, digest in approved.items() if name in offered and offered[name] != digest]),
        ("added", [name for name in offered if name not in approved]),
        ("removed", [name for name in approved if name not in offered]),
    )
    return "; ".join(f"{word} {_names(names)}" for word, names in groups if names)


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _read(url: str) -> Inventory:
    return inventory.read(url, bounds=inventory.Bounds(seconds=CHECK_SECONDS_MAX))


def _unchecked_since(moment: datetime) -> list[Subject]:
    with platform_scope():
        rows = (
            Server.objects.filter(status__in=(Status.APPROVED, Status.DEPRECATED), current_version__isnull=False)
            .filter(Q(health_checked_at=None) | Q(health_checked_at__lt=moment))
            .order_by(F("health_checked_at").asc(nulls_first=True))
            .prefetch_related("current_version__tools")[: PARALLEL * 2]
        )
        return [
            Subject(row.pk, row.url, {tool.name: tool.definition_digest for tool in row.current_version.tools.all()})
            for row in rows
            if row.current_version
        ]
