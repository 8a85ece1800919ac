"""What must follow a change of a source: its entries withdrawn, or moved to those who may see them by the new rule."""

from __future__ import annotations

import logging
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction

from audit.services import SYSTEM
from catalog.services import importing
from core import clock
from core.errors import MarketplaceError
from repositories.adapters import documents, registry
from repositories.choices import OPEN_STATES, TrustLevel
from repositories.models import Repository, SyncRun
from repositories.services import rules, sources, sync
from repositories.services.audience import source_ref
from tenants.services import settings

log = logging.getLogger(__name__)

SETTINGS_SOURCE = "Public marketplace"
RUNS_KEPT, RUNS_KEPT_FOR = 50, timedelta(days=90)


def settle(repository_id: UUID | str) -> None:
    """Make the catalog hold of a source what the source's row says. Safe to repeat."""
    with transaction.atomic():
        row = (
            Repository.objects.select_for_update(of=("self",))
            .select_related("owner_tenant")
            .filter(pk=repository_id)
            .first()
        )
        if row is None:
            return
        # A worker that keeps a batch holds its run's row: wait for it, so that nothing of the old rule comes after this.
        list(SyncRun.objects.select_for_update(of=("self",)).filter(repository=row, state__in=OPEN_STATES))
        if row.enabled:
            importing.take_again(source_ref(row))
        else:
            _withdraw_all(row)
        if row.removed_at is not None:
            row.delete()
            return
        row.server_count = len(importing.names_of(row.pk))
        if row.enabled and row.server_count == 0:
            row.next_sync = rules.may_be_asked_at(row)
        row.save()


def _withdraw_all(row: Repository) -> None:
    importing.withdraw(source_ref(row), importing.names_of(row.pk))
    # What was withdrawn is asked for again as a whole.
    row.validators, row.watermark, row.last_full_sync = {}, None, None


def follow_settings() -> None:
    """Keep the one source that the platform's settings name as they say."""
    url = settings.get_text("public_marketplace_url").strip()
    is_on = settings.get_bool("enable_public_marketplace") and bool(url)
    row = Repository.objects.filter(from_settings=True, removed_at=None).first()
    if row is not None and row.enabled and (not is_on or not _is_same(row, url)):
        _turn(row, is_on=False)
    if not is_on:
        return
    try:
        if row is None:
            row = _add(url)
        elif not _is_same(row, url) or not row.enabled:
            _point(row, url)
    except MarketplaceError as error:
        log.warning("public_marketplace_url cannot be used", extra={"why": error.message})


def prune() -> int:
    """Forget old runs; the newest of each source stay."""
    old = SyncRun.objects.exclude(state__in=OPEN_STATES).filter(created_at__lt=clock.now() - RUNS_KEPT_FOR)
    gone = 0
    for repository_id in set(old.values_list("repository_id", flat=True)):
        kept = SyncRun.objects.filter(repository_id=repository_id).values_list("pk", flat=True)[:RUNS_KEPT]
        gone += old.filter(repository_id=repository_id).exclude(pk__in=list(kept)).delete()[0]
    return gone


def _kind_of(url: str) -> str:
    return "http" if urlsplit(url).path.lower().endswith(documents.SUFFIXES) else "official"


def _is_same(row: Repository, url: str) -> bool:
    return row.kind == _kind_of(url) and row.url == registry.find(row.kind).check_url(url, ())


def _add(url: str) -> Repository:
    draft = sources.Draft(SETTINGS_SOURCE, _kind_of(url), url, trust_level=TrustLevel.COMMUNITY)
    with transaction.atomic():
        row = sources.add(sources.Keeper(SYSTEM), draft)
        row.from_settings = True
        row.save(update_fields=["from_settings", "updated_at"])
    return row


def _turn(row: Repository, *, is_on: bool) -> None:
    with transaction.atomic():
        row.enabled = is_on
        row.save(update_fields=["enabled", "updated_at"])
        sync.cancel(row)
    settle(row.pk)
    row.refresh_from_db()


def _point(row: Repository, url: str) -> None:
    kind = _kind_of(url)
    row.kind, row.url, row.enabled = kind, registry.find(kind).check_url(url, ()), True
    row.validators, row.watermark, row.last_full_sync, row.last_sync, row.next_sync = {}, None, None, None, None
    row.save()


def unsettled() -> list[UUID]:
    """Removed sources whose job was lost."""
    return list(Repository.objects.filter(removed_at__isnull=False).values_list("pk", flat=True))
