"""Runs under way in this process: each in a thread of its own, because it waits for a server and not for us.

A run outlives the page that began it. What becomes of it is kept in its row; a process that ends takes its runs along, and
their rows read as interrupted after a while.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connections

from access.models import PlaygroundRun, RunState
from access.services import playground
from core.errors import UnavailableError
from marketplace.playground import exchange, masks
from marketplace.playground.exchange import Exchange, Prepared
from tenants.context import tenant_scope
from tenants.models import Tenant

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
_LEEWAY_S: Final = 10.0
_places = threading.BoundedSemaphore(AT_ONCE)


def require_place() -> None:
    """Raises UnavailableError when as many runs are under way here as one process carries. Whoever has a place must start."""
    if not _places.acquire(blocking=False):
        raise UnavailableError("Many tools are being run at this moment.", code="access.runs_full")


def give_back() -> None:
    _places.release()


def start(tenant: Tenant, run: PlaygroundRun, prepared: Prepared, wait_s: float) -> None:
    """Send the request of a run, and wait a moment for its end: most are over by then. The caller has a place."""
    thread = threading.Thread(target=_work, args=(tenant, run.pk, prepared), daemon=True, name=f"playground-{run.pk}")
    try:
        thread.start()
    except RuntimeError:
        give_back()
        raise
    thread.join(wait_s)


def _work(tenant: Tenant, run_id: UUID, prepared: Prepared) -> None:
    try:
        found = exchange.perform(
            prepared,
            total_s=settings.GATEWAY_TOTAL_S + _LEEWAY_S,
            on_progress=lambda words, percent: _note(tenant, run_id, words, percent),
            is_cancelled=lambda: _is_cancelled(tenant, run_id),
        )
        _finish(tenant, run_id, prepared, found)
    except Exception:
        log.exception("playground run failed", extra={"request_id": str(run_id)})
    finally:
        give_back()
        # The thread's connection is nobody else's.
        connections.close_all()


def _note(tenant: Tenant, run_id: UUID, words: str, percent: int | None) -> None:
    with tenant_scope(tenant):
        playground.note_progress(run_id, masks.hide(words), percent)


def _is_cancelled(tenant: Tenant, run_id: UUID) -> bool:
    with tenant_scope(tenant):
        return playground.is_cancelled(run_id)


def _finish(tenant: Tenant, run_id: UUID, prepared: Prepared, found: Exchange) -> None:
    kept: dict[str, Any] = {
        "request": exchange.sent(prepared),
        "status": found.status,
        "headers": masks.headers(found.headers),
        "body": found.body,
        "messages": found.messages,
        "first_byte_ms": found.first_byte_ms,
        "total_ms": found.total_ms,
        "truncated": found.truncated,
        "failure": found.failure,
    }
    with tenant_scope(tenant):
        playground.finish(
            tenant,
            run_id,
            state=RunState.CANCELLED if found.cancelled else RunState.DONE,
            outcome=outcome_of(found),
            call_id=_call_id(found),
            exchange=kept,
        )


def outcome_of(found: Exchange) -> str:
    """ok | tool_error | refused | no_answer"""
    answer = found.answer
    if not isinstance(answer, dict):
        return "refused" if found.status >= 400 else "no_answer"
    if "error" in answer:
        return "refused"
    result = answer.get("result")
    return "tool_error" if isinstance(result, dict) and result.get("isError") is True else "ok"


def _call_id(found: Exchange) -> UUID | None:
    with contextlib.suppress(ValueError):
        return UUID(found.header("x-marketplace-call-id"))
    return None
