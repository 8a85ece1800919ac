"""Runs of the playground: begun, followed, cancelled, kept and shared. Runs inside the organisation's schema."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from access.models.playground import INTERRUPTED_AFTER, PlaygroundRun, RunShows, RunState
from catalog.models import Server
from core import clock
from core.errors import InvalidError, LimitReachedError, NotFoundError
from tenants.models import APIKey, Tenant, User
from tenants.services import vault

RUNNING_MAX = 3
# Of a run that nobody kept.
KEPT_FOR = timedelta(days=1)
KEEP_DAYS = (7, 30, 90)
_CLEARED_AT_ONCE = 500


def begin(
    *, tenant: Tenant, user: User, server: Server, tool: str, key: APIKey | None, arguments: dict[str, Any]
) -> PlaygroundRun:
    """Note that a person runs a tool. Raises LimitReachedError when several runs of theirs are under way."""
    under_way = PlaygroundRun.objects.filter(
        user_id=user.pk, state=RunState.RUNNING, created_at__gt=clock.now() - INTERRUPTED_AFTER
    )
    if under_way.count() >= RUNNING_MAX:
        raise LimitReachedError(
            f"{RUNNING_MAX} of your runs are still under way.",
            code="access.runs_under_way",
            next_step="Wait for one to end, or cancel it.",
        )
    run = PlaygroundRun(
        user_id=user.pk,
        user_label=user.email,
        key_id=key.pk if key else None,
        as_label=key.name if key else user.email,
        server_id=server.pk,
        server_slug=server.slug,
        tool=tool,
        expires_at=clock.now() + KEPT_FOR,
    )
    run.content = _seal(tenant, run, {"arguments": arguments})
    run.save(force_insert=True)
    return run


def content_of(tenant: Tenant, run: PlaygroundRun) -> dict[str, Any]:
    """What was sent and what came back, as far as it has."""
    found = json.loads(vault.unseal(vault.place_of(run, "content", tenant), bytes(run.content)))
    assert isinstance(found, dict)
    return found


def note_progress(run_id: UUID, words: str, percent: int | None) -> None:
    PlaygroundRun.objects.filter(pk=run_id, state=RunState.RUNNING).update(
        progress=words[:300].replace("\x00", ""), progress_percent=percent
    )


def is_cancelled(run_id: UUID) -> bool:
    """Also when the run is gone: nobody waits for it any more."""
    return PlaygroundRun.objects.filter(pk=run_id, cancel_requested=False).first() is None


def finish(
    tenant: Tenant, run_id: UUID, *, state: str, outcome: str, call_id: UUID | None, exchange: dict[str, Any]
) -> None:
    """Keep what came of a run; nothing when it was removed meanwhile."""
    run = PlaygroundRun.objects.filter(pk=run_id, state=RunState.RUNNING).first()
    if run is None:
        return
    content = {**content_of(tenant, run), "exchange": exchange}
    PlaygroundRun.objects.filter(pk=run_id).update(
        state=state,
        outcome=outcome,
        call_id=call_id,
        content=_seal(tenant, run, content),
        finished_at=clock.now(),
        updated_at=clock.now(),
    )


def find(run_id: UUID, user: User) -> PlaygroundRun:
    """A run that this person may see: their own, or one that was shared. Raises NotFoundError."""
    run = _visible(user).filter(pk=run_id).first()
    if run is None:
        raise NotFoundError(
            "There is no such run, or it is not shared, or its time is over.", next_step="Run the tool again."
        )
    return run


def own(run_id: UUID, user: User) -> PlaygroundRun:
    """A run of this person. Raises NotFoundError."""
    run = _visible(user).filter(pk=run_id, user_id=user.pk).first()
    if run is None:
        raise NotFoundError("There is no such run of yours.", next_step="Run the tool again.")
    return run


def recent(user: User, limit: int = 12) -> list[PlaygroundRun]:
    """The person's own, the newest first."""
    return list(_visible(user).filter(user_id=user.pk)[:limit])


def shared(user: User, limit: int = 12) -> list[PlaygroundRun]:
    """What colleagues shared, the newest first."""
    return list(_visible(user).filter(shared=True).exclude(user_id=user.pk)[:limit])


def cancel(run: PlaygroundRun) -> None:
    """Ask for the end of a run; one that is over stays as it is."""
    PlaygroundRun.objects.filter(pk=run.pk, state=RunState.RUNNING).update(cancel_requested=True)


def keep(run: PlaygroundRun, *, name: str, days: int, shared: bool, shows: str, shows_result: bool) -> PlaygroundRun:
    """Give a run a name and a time, and say what colleagues see of it. Raises InvalidError."""
    name = name.strip().replace("\x00", "")
    if not name:
        raise InvalidError("Give the run a name.", code="access.run_name_missing", field="name")
    if days not in KEEP_DAYS or shows not in RunShows.values:
        raise InvalidError("Choose how long to keep it and what is shown.", code="access.run_choice_unknown")
    if run.state == RunState.RUNNING:
        raise InvalidError("The run has not ended yet.", code="access.run_under_way", next_step="Wait for its end.")
    run.name, run.shared, run.shows, run.shows_result = name[:100], shared, shows, shows_result
    run.expires_at = clock.now() + timedelta(days=days)
    run.save(update_fields=["name", "shared", "shows", "shows_result", "expires_at", "updated_at"])
    return run


def remove(run: PlaygroundRun) -> None:
    run.delete()


def clear_over() -> int:
    """Remove what nobody may see any more; how many."""
    over = PlaygroundRun.objects.filter(expires_at__lte=clock.now()).values_list("pk", flat=True)[:_CLEARED_AT_ONCE]
    count, _ = PlaygroundRun.objects.filter(pk__in=list(over)).delete()
    return count


def _visible(user: User) -> QuerySet[PlaygroundRun]:
    return PlaygroundRun.objects.filter(Q(user_id=user.pk) | Q(shared=True), expires_at__gt=clock.now())


def _seal(tenant: Tenant, run: PlaygroundRun, content: dict[str, Any]) -> bytes:
    return vault.seal(vault.place_of(run, "content", tenant), json.dumps(content))
