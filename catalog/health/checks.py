"""Asking servers: many at once, each within one deadline, touching no database.

A check reads the server as the catalog does when it is registered, so "ready" means that its tools could be listed just now, not
that a port is open.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from catalog import digests, inventory
from catalog.choices import Cause, Health
from catalog.errors import ServerSignInError, ServerTlsError, ServerUnreachableError
from catalog.health import rules
from catalog.health.passes import NOBODY, Pass
from catalog.wire import Noted
from core import clock, egress, http
from core.errors import MarketplaceError, UpstreamTimeoutError

SLOW_MS = 3_000
BOUNDS = inventory.Bounds(seconds=10.0, counts=False)
# Many servers may live behind one host, which is asked as gently as if it were one.
PER_HOST = 4
STARTS_PER_SECOND = 25
_RESOLVERS = 32
_ROOM, _ROOM_PER_TOOL = 1024 * 1024, 32 * 1024

log = logging.getLogger(__name__)

_CAUSES: tuple[tuple[type[MarketplaceError], Cause], ...] = (
    (egress.NameUnresolvedError, Cause.NAME),
    (egress.EgressRefusedError, Cause.ADDRESS),
    (UpstreamTimeoutError, Cause.TIMEOUT),
    (ServerTlsError, Cause.TLS),
    (ServerUnreachableError, Cause.UNREACHABLE),
    (ServerSignInError, Cause.SIGN_IN),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check needs of a server. `definitions` maps the approved tools to their digests; None: nothing to compare with.

    `further` are its other addresses, each of which is asked like the first.
    """

    server_id: UUID
    url: str
    definitions: Mapping[str, str] | None = None
    signs_in: bool = False  # whether it is declared to ask for a credential
    in_quarantine: bool = False  # whether tools of it are closed, and may be back as they were approved
    further: tuple[str, ...] = ()
    goes_as: Pass = NOBODY

    @property
    def urls(self) -> tuple[str, ...]:
        return (self.url, *self.further)

    @property
    def bytes_max(self) -> int:
        """Room for what was approved and some more: a round asks many at once and holds their answers in memory."""
        return min(BOUNDS.bytes, _ROOM + _ROOM_PER_TOOL * len(self.definitions or ()))

    @property
    def host(self) -> str:
        return _host(self.url)


@dataclass(frozen=True, slots=True)
class Finding:
    """`tools` are as the server gave them; kept only when quarantine has something to learn from them."""

    outcome: str
    checked_at: datetime
    cause: str = ""
    detail: str = ""
    took_ms: int | None = None
    protocol: str = ""
    tls_expires_at: datetime | None = None
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def reached(self) -> bool:
        """Whether something answered at the address, rightly or wrongly."""
        return self.cause not in {Cause.UNREACHABLE, Cause.TIMEOUT, Cause.NAME}


@dataclass(frozen=True, slots=True)
class Limits:
    """How a round goes about it. Nothing begins after `seconds`; what was not reached is first in the next round."""

    parallel: int = 100
    seconds: float = 150.0
    starts_per_second: float = STARTS_PER_SECOND
    allow: egress.AllowList | None = None
    tls: ssl.SSLContext | None = None
    bounds: inventory.Bounds = BOUNDS


def ask_all(subjects: Sequence[Subject], limits: Limits) -> dict[UUID, Finding]:
    """Ask servers, in an order and at moments of chance, and wait for all. Those that time did not reach are missing."""
    return asyncio.run(_ask_all(subjects, limits))


async def _ask_all(subjects: Sequence[Subject], limits: Limits) -> dict[UUID, Finding]:
    loop = asyncio.get_running_loop()
    # Names are looked up in threads; a resolver that hangs must not hold up every other name.
    loop.set_default_executor(ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="names"))
    ends_at = loop.time() + limits.seconds
    places = asyncio.Semaphore(limits.parallel)
    hosts: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(PER_HOST))
    spread = min(len(subjects) / limits.starts_per_second, limits.seconds / 2) if limits.starts_per_second else 0.0
    found: dict[UUID, dict[int, Finding]] = {}
    make = http.async_clients(
        inventory.allowed(limits.allow),
        connections=limits.parallel * 2,  # a stream of events takes a second one
        times=inventory.timeout_of(limits.bounds),
        max_reply_bytes=limits.bounds.bytes,
        tls=limits.tls,
    )
    async with make as client:

        async def one(subject: Subject, place: int, url: str) -> None:
            await asyncio.sleep(random.random() * spread)  # noqa: S311 - no secret
            async with hosts[_host(url)], places:
                if loop.time() < ends_at:
                    asker = client()
                    asker.auth = subject.goes_as
                    found.setdefault(subject.server_id, {})[place] = await check(asker, subject, limits.bounds, url)

        await asyncio.gather(
            *(one(subject, place, url) for subject in subjects for place, url in enumerate(subject.urls))
        )
    # Half of a server's addresses say nothing of it; the next round begins with it.
    return {each.server_id: together(found[each.server_id]) for each in subjects if 0 in found.get(each.server_id, ())}


def together(findings: Mapping[int, Finding]) -> Finding:
    """What the findings at all addresses of a server say of it: one that does not answer degrades it, all of them and it is down.

    Which address it is is told by its number, because addresses are nobody's business but the owner's.
    """
    if len(findings) == 1:
        return findings[0]
    known = {place: each for place, each in findings.items() if each.outcome != Health.UNKNOWN} or findings
    place, worst = max(known.items(), key=lambda item: (rules.order_of(item[1].outcome), -item[0]))
    if worst.outcome == Health.READY:
        return _measured(worst, findings)
    is_partly = worst.outcome == Health.DOWN and any(each.outcome != Health.DOWN for each in known.values())
    words = f"Address {place + 1} of {len(findings)}: {worst.detail}"
    outcome = Health.DEGRADED if is_partly else worst.outcome
    return _measured(replace(worst, outcome=outcome, detail=words), findings)


def _measured(finding: Finding, findings: Mapping[int, Finding]) -> Finding:
    """With the slowest answer, the certificate that ends first, and tools that differ somewhere."""
    each = findings.values()
    return replace(
        finding,
        took_ms=max((one.took_ms for one in each if one.took_ms is not None), default=None),
        tls_expires_at=min((one.tls_expires_at for one in each if one.tls_expires_at is not None), default=None),
        tools=next((one.tools for one in each if one.tools), ()),
    )


async def check(
    client: httpx.AsyncClient, subject: Subject, bounds: inventory.Bounds = BOUNDS, url: str = ""
) -> Finding:
    """Ask one server at one address, and compare what it offers with what was approved. Raises nothing."""
    noted, moment = Noted(), clock.now()
    try:
        fitting = replace(bounds, bytes=min(bounds.bytes, subject.bytes_max))
        look = await inventory.look(client, url or subject.url, bounds=fitting, noted=noted)
    except MarketplaceError as error:
        return _failed(error, subject, moment, noted)
    except Exception:
        log.exception("health check failed", extra={"server_id": str(subject.server_id)})
        return Finding(Health.UNKNOWN, moment, Cause.OURS, "The check itself failed; the failure is logged.")
    tools = look.inventory.tools
    changes = changes_since(subject.definitions, tools) if subject.definitions is not None else ""
    outcome, cause, detail = _judged(changes, look.took_ms, noted.tls_expires_at, moment)
    return Finding(
        outcome,
        moment,
        cause,
        detail,
        round(look.took_ms),
        look.inventory.protocol,
        noted.tls_expires_at,
        tuple(tools) if changes or subject.in_quarantine else (),
    )


def _judged(changes: str, took_ms: float, tls_until: datetime | None, now: datetime) -> tuple[str, str, str]:
    if changes:
        return Health.DEGRADED, Cause.CHANGED, f"Definitions changed since approval: {changes}."
    if rules.certificate_ends_soon(tls_until, now):
        assert tls_until is not None
        days = (tls_until - now).days
        return (
            Health.DEGRADED,
            Cause.CERTIFICATE,
            f"Its certificate ends on {tls_until:%d %b %Y}, in {days} day{'' if days == 1 else 's'}.",
        )
    if took_ms > SLOW_MS:
        return Health.DEGRADED, Cause.SLOW, f"Slow: listing its tools took {took_ms / 1000:.1f} s."
    return Health.READY, "", ""


def _failed(error: MarketplaceError, subject: Subject, moment: datetime, noted: Noted) -> Finding:
    cause = next((each for kind, each in _CAUSES if isinstance(error, kind)), Cause.ANSWER)
    outcome, detail = (Health.DOWN, error.message) if cause != Cause.SIGN_IN else _barred(subject, error.message)
    return Finding(outcome, moment, cause, detail, tls_expires_at=noted.tls_expires_at)


def _barred(subject: Subject, message: str) -> tuple[Health, str]:
    """Of a server that answers and lets nobody in: whether that is a fault, or only not known."""
    if subject.goes_as.secret is not None:
        return Health.DEGRADED, "It refuses the credential that its owner stored for it."
    if not subject.signs_in:
        return Health.DEGRADED, message
    reason = subject.goes_as.trouble or "its owner has stored none for checks"
    return Health.UNKNOWN, f"It answers and asks for a credential; {reason}, so its tools are not known."


def _host(url: str) -> str:
    return urlsplit(url).netloc


def changes_since(approved: Mapping[str, str], tools: Sequence[dict[str, Any]]) -> str:
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
