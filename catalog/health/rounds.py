"""One round of checks: whom to ask, what was found, and what follows from it.

The network is used outside any transaction. What was found is stored when all have answered, because only then it shows whether
the servers failed or our own network did.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q, QuerySet

from catalog.cards import HEALTH_FRESH
from catalog.choices import AuthMode, Cause, DriftFinder, Health, Status
from catalog.health import checks, incidents, passes, rules
from catalog.health.checks import Finding, Limits, Subject
from catalog.health.models import HealthCheck, HealthDay, HealthRun
from catalog.models import Server, Tool, ToolDrift
from catalog.services import drifts, servers
from core import clock
from tenants.context import platform_scope

# More are asked in the next round, those that waited longest first.
SERVERS_MAX = 5_000
# A round that is still open after this was killed: jobs end before.
ABANDONED_AFTER = timedelta(minutes=5)
KEEP_DAYS = 400
KEEP_RUNS = timedelta(days=7)
_BATCH = 200
_PRUNED_AT_ONCE = 50_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """A server as it stood when the round began. `shown` is unknown when what is stored is not fresh."""

    subject: Subject
    stored: str
    shown: str
    recent: tuple[tuple[str, str], ...] = ()  # outcome and moment (ISO) of the last checks, the latest last


def run(limits: Limits | None = None) -> HealthRun | None:
    """Check every server that is due; None when another round is under way."""
    with platform_scope():
        this = _begin()
        if this is None:
            return None
        known = _due()
    found = checks.ask_all([each.subject for each in known], limits or Limits())
    with platform_scope():
        doubted = _is_doubtful(known, found)
        pairs = [(each, found[each.subject.server_id]) for each in known if each.subject.server_id in found]
        if doubted:
            log.error(
                "nearly no server answered; the fault is taken for ours", extra={"counts": {"checked": len(pairs)}}
            )
            pairs = [(each, _doubted(finding)) for each, finding in pairs]
        for part in _batches(pairs):
            _store(part)
        incidents.close_unchecked(watched())
        incidents.tell_waiting()
        return _end(this, len(known), Counter(finding.outcome for _, finding in pairs), doubted=doubted)


def watched() -> QuerySet[Server]:
    """Servers that are checked: those that gateways would forward to, and of imported ones those that the operator wants checked
    and that can be asked without a credential."""
    wanted = Q(status__in=(Status.APPROVED, Status.DEPRECATED), current_version__isnull=False)
    if settings.HEALTH_CHECK_IMPORTED:
        wanted |= Q(status=Status.LISTED, auth_mode=AuthMode.NONE)
    return Server.objects.filter(wanted).exclude(url="")


def prune() -> int:
    """Forget checks, days and rounds that are older than is kept; how many checks went. Batches keep locks short."""
    now, gone = clock.now(), 0
    with platform_scope():
        HealthDay.objects.filter(day__lt=(now - timedelta(days=KEEP_DAYS)).date()).delete()
        HealthRun.objects.filter(began_at__lt=now - KEEP_RUNS, ended_at__isnull=False).delete()
        limit = now - timedelta(days=settings.HEALTH_KEEP_DAYS)
        while True:
            old = HealthCheck.objects.filter(checked_at__lt=limit).order_by().values("pk")[:_PRUNED_AT_ONCE]
            count, _ = HealthCheck.objects.filter(pk__in=old).delete()
            gone += count
            if count < _PRUNED_AT_ONCE:
                return gone


def _begin() -> HealthRun | None:
    now = clock.now()
    HealthRun.objects.filter(ended_at=None, began_at__lt=now - ABANDONED_AFTER).update(ended_at=now)
    try:
        with transaction.atomic():
            return HealthRun.objects.create(began_at=now)
    except IntegrityError:
        return None


def _end(this: HealthRun, due: int, counts: Counter[str], *, doubted: bool) -> HealthRun:
    this.due, this.doubted, this.ended_at = due, doubted, clock.now()
    for state in Health.values:
        setattr(this, state, counts[state])
    this.save()
    return this


def _due() -> list[Known]:
    rows = list(watched().order_by(F("health_checked_at").asc(nulls_first=True)).defer("description")[:SERVERS_MAX])
    ids = [row.pk for row in rows]
    going_as = passes.of_servers(rows)
    approved = _approved({row.current_version_id: row.pk for row in rows if row.current_version_id})
    closed = set(
        ToolDrift.objects.filter(server_id__in=ids, closed_at=None).values_list("server_id", flat=True).distinct()
    )
    fresh = clock.now() - HEALTH_FRESH
    recent: defaultdict[UUID, list[tuple[str, str]]] = defaultdict(list)
    checked = HealthCheck.objects.filter(server_id__in=ids, checked_at__gte=fresh).exclude(outcome=Health.UNKNOWN)
    for server_id, outcome, moment in checked.order_by("checked_at").values_list("server_id", "outcome", "checked_at"):
        recent[server_id].append((outcome, moment.isoformat()))
    return [
        Known(
            Subject(
                row.pk,
                row.url,
                approved.get(row.pk),
                signs_in=row.auth_mode != AuthMode.NONE,
                in_quarantine=row.pk in closed,
                further=tuple(row.further_urls),
                goes_as=going_as.get(row.pk, passes.NOBODY),
            ),
            row.health,
            row.health if row.health_checked_at and row.health_checked_at >= fresh else Health.UNKNOWN,
            tuple(recent[row.pk][1 - rules.WINDOW :]),
        )
        for row in rows
    ]


def _approved(versions: dict[UUID, UUID]) -> dict[UUID, dict[str, str]]:
    """By server, the digests of its approved tools. A version that only a source told of was never read: nothing to compare."""
    found: dict[UUID, dict[str, str]] = {}
    read = Server.objects.filter(current_version_id__in=versions).exclude(current_version__protocol="")
    for server_id in read.values_list("pk", flat=True):
        found[server_id] = {}
    tools = Tool.objects.filter(version_id__in=list(versions)).order_by()
    for version_id, name, digest in tools.values_list("version_id", "name", "definition_digest"):
        if versions[version_id] in found:
            found[versions[version_id]][name] = digest
    return found


def _is_doubtful(known: Sequence[Known], found: dict[UUID, Finding]) -> bool:
    hosts: dict[str, bool] = {}
    before: dict[str, bool] = {}
    for each in known:
        finding = found.get(each.subject.server_id)
        if finding is not None and finding.outcome != Health.UNKNOWN:
            host = each.subject.host
            hosts[host] = hosts.get(host, False) or finding.reached
            before[host] = before.get(host, False) or each.shown != Health.DOWN
    return rules.is_doubtful(hosts, before)


def _doubted(finding: Finding) -> Finding:
    if finding.reached or finding.outcome != Health.DOWN:
        return finding
    words = "Nearly no server could be reached at that moment, so this says nothing about this one."
    return replace(finding, outcome=Health.UNKNOWN, cause=Cause.OURS, detail=words)


def _batches(pairs: Iterable[tuple[Known, Finding]]) -> Iterable[Sequence[tuple[Known, Finding]]]:
    everything = list(pairs)
    return (everything[start : start + _BATCH] for start in range(0, len(everything), _BATCH))


def _store(pairs: Sequence[tuple[Known, Finding]]) -> None:
    states = {known.subject.server_id: _state(known, finding) for known, finding in pairs}
    with transaction.atomic():
        HealthCheck.objects.bulk_create(_row(known.subject.server_id, finding) for known, finding in pairs)
        _count_days(pairs)
        _show(pairs, states)
        for known, finding in pairs:
            incidents.follow(known.subject.server_id, states[known.subject.server_id], finding, known.recent)
        _tell_gateways(pairs, states)
    for known, finding in pairs:
        if finding.tools:
            tools = {tool["name"]: tool for tool in finding.tools}
            drifts.compare(server_id=known.subject.server_id, tools=tools, found_by=DriftFinder.HEALTH)


def _is_barred(finding: Finding) -> bool:
    """Whether the server answered, but not to somebody without a credential: not known, and why is worth showing."""
    return finding.outcome == Health.UNKNOWN and finding.cause == Cause.SIGN_IN


def _state(known: Known, finding: Finding) -> str:
    if _is_barred(finding):
        return Health.UNKNOWN
    return rules.damped(known.shown, [*(outcome for outcome, _ in known.recent), finding.outcome])


def _row(server_id: UUID, finding: Finding) -> HealthCheck:
    return HealthCheck(
        server_id=server_id,
        checked_at=finding.checked_at,
        outcome=finding.outcome,
        cause=finding.cause,
        took_ms=finding.took_ms,
        protocol=finding.protocol,
    )


def _count_days(pairs: Sequence[tuple[Known, Finding]]) -> None:
    counted = [(known, finding) for known, finding in pairs if finding.outcome != Health.UNKNOWN]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO public.catalog_healthday AS d (server_id, day, ready, degraded, down)"
            " SELECT server_id, day, (outcome = 'ready')::int, (outcome = 'degraded')::int, (outcome = 'down')::int"
            " FROM unnest(%s::uuid[], %s::date[], %s::text[]) AS each (server_id, day, outcome)"
            " ON CONFLICT (server_id, day) DO UPDATE SET ready = d.ready + excluded.ready,"
            " degraded = d.degraded + excluded.degraded, down = d.down + excluded.down",
            [
                [known.subject.server_id for known, _ in counted],
                [finding.checked_at.date() for _, finding in counted],
                [str(finding.outcome) for _, finding in counted],
            ],
        )


def _show(pairs: Sequence[tuple[Known, Finding]], states: dict[UUID, str]) -> None:
    """What cards and facets read. A check that failed by itself leaves what is shown to grow old."""
    shown = [
        (known.subject.server_id, finding)
        for known, finding in pairs
        if finding.outcome != Health.UNKNOWN or _is_barred(finding)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE public.catalog_server AS s SET health = each.state, health_detail = each.detail,"
            " health_checked_at = each.moment, health_latency_ms = each.took, tls_expires_at = each.tls,"
            " health_since = CASE WHEN s.health = each.state THEN coalesce(s.health_since, each.moment)"
            " ELSE each.moment END"
            " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::int[], %s::timestamptz[])"
            " AS each (id, state, detail, moment, took, tls) WHERE s.id = each.id",
            [
                [server_id for server_id, _ in shown],
                [str(states[server_id]) for server_id, _ in shown],
                [_said(finding, states[server_id])[:300] for server_id, finding in shown],
                [finding.checked_at for _, finding in shown],
                [finding.took_ms for _, finding in shown],
                [finding.tls_expires_at for _, finding in shown],
            ],
        )


def _said(finding: Finding, state: str) -> str:
    """The words beside the shown state. When the last check found otherwise, that is said too."""
    if finding.outcome == state:
        return finding.detail
    words = f"The last check found it {Health(finding.outcome).label.lower()}"
    return f"{words}: {finding.detail}" if finding.detail else f"{words}; the next ones decide."


def _tell_gateways(pairs: Sequence[tuple[Known, Finding]], states: dict[UUID, str]) -> None:
    """That a server went down, or came back, is part of what gateways know of it."""
    changed = [
        known.subject.server_id
        for known, finding in pairs
        if finding.outcome != Health.UNKNOWN
        and (known.stored == Health.DOWN) != (states[known.subject.server_id] == Health.DOWN)
    ]
    for server in Server.objects.filter(pk__in=changed):
        servers.touch(server)
