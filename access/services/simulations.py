"""Replaying real calls against a change that nobody has made. Runs inside the organisation's schema.

Both sides are judged by the rules of this moment, once as they are and once changed, so that what differs comes from the change
alone. Calls are read by their ways (`calls.ways`). Their arguments and addresses are not kept: conditions on those are judged as
for a call of which they are not known, on both sides alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from access import proposals, selectors
from access.filing import apply as filing
from access.filing import plan as planning
from access.foresight import decided, policy_of
from access.formats import files
from access.models.simulation import Simulation, SimulationState
from access.proposals import Ground
from access.types import Decision, Principal, Reason, Request, SessionRule
from calls.ways import CalledWay, ways_since
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from core.errors import InvalidError, MarketplaceError, NotFoundError
from core.jobs import enqueue
from tenants.models import APIKey, Tenant, User

DAYS = (1, 7, 30, 90)
CALLS_MAX = 500_000
_ROWS_MAX = 100
_SAMPLES_MAX = 60
_KEPT = 50
_KEPT_FOR = timedelta(days=30)
_TOLD_EVERY = 2_000
_OF_SESSIONS = frozenset({Reason.SESSION_NOT_FOUND, Reason.SESSION_REVOKED, Reason.SESSION_EXPIRED})


def begin(*, tenant: Tenant, viewer: Viewer, actor: User | None, title: str, change: Any, days: int) -> Simulation:
    """Ask for a simulation; a job does it. Raises InvalidError, and NotFoundError for a server or a grant that is not there."""
    if days not in DAYS:
        raise InvalidError(f"Choose {', '.join(map(str, DAYS))} days.", field="days")
    row = Simulation(
        user_id=actor.pk if actor else None,
        user_label=actor.email if actor else "API",
        title=title.strip().replace("\x00", "")[:200] or "A change",
        change=_checked(tenant, viewer, change),
        days=days,
    )
    with transaction.atomic():
        row.save(force_insert=True)
        _forget()
        enqueue("access.run_simulation", tenant_id=str(tenant.pk), simulation_id=str(row.pk))
    return row


def _checked(tenant: Tenant, viewer: Viewer, change: Any) -> dict[str, Any]:
    wanted = proposals.check(change)
    if wanted["kind"] == "revoke" and not selectors.live_grants().filter(pk=wanted["grant"]).exists():
        raise NotFoundError("There is no such live grant in this organisation.", field="grant")
    if (server_id := proposals.server_of(wanted)) is not None:
        server = visible_to(viewer).filter(pk=server_id).first()
        if server is None:
            raise NotFoundError("There is no such server that you may see.", field="server")
        if {"mode", "default_decision"} & wanted.keys() and server.owner_tenant_id != tenant.pk:
            raise InvalidError(
                "What holds without a grant is decided for each organisation by itself, not by the server's owner.",
                next_step="Propose a grant instead.",
                field="server",
            )
    return wanted


def find(simulation_id: UUID) -> Simulation:
    """Raises NotFoundError."""
    row = Simulation.objects.filter(pk=simulation_id).first()
    if row is None:
        raise NotFoundError("There is no such simulation here.", next_step="Begin another.")
    return row


def recent(limit: int = 10) -> list[Simulation]:
    return list(Simulation.objects.all()[:limit])


def run(tenant: Tenant, simulation_id: UUID) -> None:
    """Do it, once; a second time changes nothing. What cannot be proposed is said in the row."""
    taken = Simulation.objects.filter(pk=simulation_id).exclude(
        state__in=[SimulationState.DONE, SimulationState.FAILED]
    )
    if not taken.update(state=SimulationState.RUNNING, percent=0):
        return
    row = Simulation.objects.get(pk=simulation_id)
    try:
        result = _replay(tenant, row)
    except MarketplaceError as error:
        _end(row, SimulationState.FAILED, problem=f"{error.message} {error.next_step}"[:500])
    else:
        _end(row, SimulationState.DONE, result=result)


def _end(row: Simulation, state: str, **fields: Any) -> None:
    Simulation.objects.filter(pk=row.pk).update(
        state=state, percent=100, finished_at=clock.now(), updated_at=clock.now(), **fields
    )


def _forget() -> None:
    """Old results and all but the newest go when another one comes."""
    Simulation.objects.filter(created_at__lt=clock.now() - _KEPT_FOR).delete()
    over = list(Simulation.objects.values_list("pk", flat=True)[_KEPT:])
    Simulation.objects.filter(pk__in=over).delete()


# --------------------------------------------------------------------------------------------------------------- the ground


def ground_of(tenant: Tenant, servers: Iterable[Server]) -> Ground:
    return Ground(
        policies={server.pk: policy_of(server, tenant) for server in servers},
        grants=tuple(selectors.compile_rules()),
        sessions=tuple(selectors.compile_sessions()),
    )


def changed_ground(
    tenant: Tenant, ground: Ground, change: dict[str, Any], servers: Callable[[], Iterable[Server]]
) -> Ground:
    """The ground after the change. Raises InvalidError for what could not be done."""
    if change["kind"] != proposals.FILES:
        return proposals.apply(ground, change)
    found = files.read_files([("proposed.yaml", change["text"].encode())])
    plan = planning.make(tenant, found, prune=change["prune"])
    with transaction.atomic():
        # Done in earnest and taken back: what files mean is not told a second time.
        filing.apply(tenant=tenant, found=found, digest=plan.digest, actor=None, prune=change["prune"])
        after = ground_of(tenant, servers())
        transaction.set_rollback(True)
    return after


# --------------------------------------------------------------------------------------------------------------- the replay


@dataclass(slots=True)
class _Tally:
    calls: int = 0
    gone: int = 0
    gains: int = 0
    losses: int = 0
    tools: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    callers: dict[str, Counter[str]] = field(default_factory=dict)
    days: dict[str, Counter[str]] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)


def _replay(tenant: Tenant, row: Simulation) -> dict[str, Any]:
    since = clock.now() - timedelta(days=row.days)
    ways = ways_since(since, calls_max=CALLS_MAX)
    touched = {way.server_id for way in ways} | {proposals.server_of(row.change) or tenant.pk}

    def servers() -> list[Server]:
        # Whatever team a server is for: those who may ask see all calls. Postgres holds the organisation's border.
        rows = visible_to(Viewer(tenant_id=tenant.pk, platform=True)).filter(pk__in=touched)
        return list(rows.prefetch_related("current_version__tools"))

    before = ground_of(tenant, servers())
    after = changed_ground(tenant, before, row.change, servers)
    judge = _Judge(tenant, before, after)
    tally = _Tally()
    for number, way in enumerate(ways):
        _count(tally, way, judge)
        if number and number % _TOLD_EVERY == 0:
            Simulation.objects.filter(pk=row.pk).update(percent=round(100 * number / len(ways)))
    return _result(tally, row)


class _Judge:
    """Decisions of both sides, each asked for once."""

    def __init__(self, tenant: Tenant, before: Ground, after: Ground) -> None:
        self._keys = {key.pk: key for key in APIKey.objects.filter(tenant=tenant)}
        self._grounds = [(ground, _by_server(ground.grants), _by_server(ground.sessions)) for ground in (before, after)]
        self._sessions = {rule.session_id: rule for rule in (*before.sessions, *after.sessions)}
        self._known: dict[tuple[Any, ...], tuple[Decision, Decision] | None] = {}

    def judge(self, way: CalledWay) -> tuple[Decision, Decision] | None:
        """Before and after; None when the caller or the server is gone, so that nothing can change for it."""
        key = (way.api_key_id, way.user_id, way.agent, way.server_id, way.method, way.tool, self._session(way))
        if key not in self._known:
            self._known[key] = self._decide(way)
        return self._known[key]

    def caller(self, way: CalledWay) -> str:
        key = self._keys.get(way.api_key_id) if way.api_key_id else None
        return (key.name if key else way.agent or "an application")[:100]

    def _decide(self, way: CalledWay) -> tuple[Decision, Decision] | None:
        key = self._keys.get(way.api_key_id) if way.api_key_id else None
        if key is not None and key.state != "active":
            return None
        principal = Principal(
            key_id=str(way.api_key_id or ""),
            user_id=str(way.user_id or ""),
            agent=way.agent,
            team_ids=frozenset({str(key.team_id)}) if key and key.team_id else frozenset(),
        )
        found = []
        for ground, grants, sessions in self._grounds:
            policy = ground.policies.get(way.server_id)
            if policy is None:
                return None
            session = self._session(way)
            asked = Request(
                way.method,
                way.tool,
                session=session.name if session else "",
                environment=key.environment if key else "",
            )
            known = [session] if session else sessions.get(way.server_id, ())
            found.append(decided(policy, grants.get(way.server_id, ()), known, principal, asked))
        return found[0], found[1]

    def _session(self, way: CalledWay) -> SessionRule | None:
        """The session of the call as it was then: that it has ended since says nothing of the change."""
        rule = self._sessions.get(way.agent_session_id) if way.agent_session_id else None
        if rule is None or way.reason in _OF_SESSIONS:
            return rule
        return replace(rule, issued_at=None, last_used_at=None, expires_at=None, revoked_at=None)


def _by_server(rules: Iterable[Any]) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for rule in rules:
        found.setdefault(rule.server_id, []).append(rule)
    return found


def _count(tally: _Tally, way: CalledWay, judge: _Judge) -> None:
    tally.calls += way.calls
    found = judge.judge(way)
    if found is None:
        tally.gone += way.calls
        return
    before, after = found
    if before.allowed == after.allowed:
        return
    word = "gains" if after.allowed else "losses"
    tally.gains += way.calls if after.allowed else 0
    tally.losses += 0 if after.allowed else way.calls
    caller = judge.caller(way)
    for count in (
        tally.tools.setdefault((way.server_name, way.tool or way.method), Counter()),
        tally.callers.setdefault(caller, Counter()),
        tally.days.setdefault(str(way.day), Counter()),
    ):
        count[word] += way.calls
    if len(tally.samples) < _SAMPLES_MAX:
        tally.samples.append(
            {
                "call_id": str(way.example),
                "server": way.server_name,
                "tool": way.tool or way.method,
                "caller": caller,
                "agent": way.agent,
                "calls": way.calls,
                "recorded": way.reason,
                "before": str(before.reason),
                "after": str(after.reason),
                "gains": after.allowed,
            }
        )


def _result(tally: _Tally, row: Simulation) -> dict[str, Any]:
    def top(table: dict[Any, Counter[str]], names: tuple[str, ...]) -> list[dict[str, Any]]:
        found = sorted(table.items(), key=lambda item: -item[1].total())[:_ROWS_MAX]
        return [
            dict(zip(names, key if isinstance(key, tuple) else (key,), strict=True))
            | {"gains": count["gains"], "losses": count["losses"]}
            for key, count in found
        ]

    first = clock.now().date() - timedelta(days=row.days)
    days = [str(first + timedelta(days=number)) for number in range(row.days + 1)]
    return {
        "calls": tally.calls,
        "is_cut": tally.calls >= CALLS_MAX,
        "gone": tally.gone,
        "gains": tally.gains,
        "losses": tally.losses,
        "tools": top(tally.tools, ("server", "tool")),
        "callers": top(tally.callers, ("caller",)),
        "days": [
            [day, tally.days.get(day, Counter())["gains"], tally.days.get(day, Counter())["losses"]] for day in days
        ],
        "samples": tally.samples,
    }
