"""Replaying real calls against a change that nobody has made. Runs inside the organisation's schema.

Both sides are judged by the rules of this moment, once as they are and once changed, so that what differs comes from the change
alone; hours are those of the call. Calls are read by their ways (`calls.ways`) and judged by `access.services.replaying`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from access import proposals, selectors, supposing
from access.filing import apply as filing
from access.filing import plan as planning
from access.foresight import policy_of
from access.formats import files
from access.models.simulation import Simulation, SimulationState
from access.proposals import Ground
from access.services.replaying import Judge, Tally
from calls.ways import WAYS_MAX, ways_since
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from core.errors import InvalidError, MarketplaceError, NotFoundError
from core.jobs import enqueue
from tenants.models import Tenant, User

DAYS = (1, 7, 30, 90)
CALLS_MAX = 500_000
_KEPT = 50
_KEPT_FOR = timedelta(days=30)
_TOLD_EVERY = 2_000


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
    rules = (*before.grants, *after.grants)
    if minutes := supposing.minutes_between(rules):
        hourly = {rule.server_id for rule in rules if rule.conditions is not None and rule.conditions.hours}
        ways = ways_since(since, calls_max=CALLS_MAX, by_the_hour=hourly, minutes=minutes)
    judge = Judge(tenant, before, after)
    tally = Tally()
    for number, way in enumerate(ways):
        tally.count(way, judge.judge(way), judge.caller(way))
        if number and number % _TOLD_EVERY == 0:
            Simulation.objects.filter(pk=row.pk).update(percent=round(100 * number / len(ways)))
    is_cut = tally.calls >= CALLS_MAX or len(ways) >= WAYS_MAX
    return tally.result(row.days) | {"is_cut": is_cut}
