"""Adding, changing, releasing and removing sources. Whoever calls has checked the right; `Keeper` says for whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from audit import services as audit
from core import clock
from core.errors import NotFoundError
from core.jobs import enqueue
from repositories.adapters import addresses
from repositories.choices import AuthType, RunReason, TrustLevel, Visibility
from repositories.errors import SourceInvalidError, SourceTakenError
from repositories.models import INTERVAL_HOURS_MAX, Repository, SyncRun
from repositories.services import audience, credentials, rules, sync
from tenants.context import platform_scope, tenant_scope
from tenants.models import Team, Tenant

PRIORITY_MAX = 1000
SOURCES_MAX = 100


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who acts, and whose sources they look after: the platform's when there is no organisation."""

    party: audit.Party
    tenant: Tenant | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What a form or a program gives. `secret` is None to keep the stored credential."""

    name: str
    kind: str
    url: str
    auth_type: str = AuthType.NONE
    secret: Mapping[str, str] | None = field(default=None, repr=False)
    enabled: bool = True
    trust_level: str = TrustLevel.COMMUNITY
    auto_sync: bool = True
    sync_interval_hours: int | None = None
    visibility: str = Visibility.PUBLIC
    allowed_teams: tuple[UUID, ...] = ()
    priority: int = 100
    staged: bool = False


_PLAIN = (
    "name", "enabled", "trust_level", "auto_sync", "sync_interval_hours", "visibility", "priority", "staged",
)  # fmt: skip


def add(keeper: Keeper, draft: Draft) -> Repository:
    """Add a source; its first reading begins by itself. Raises SourceInvalidError, SourceTakenError."""
    row = Repository(owner_tenant=keeper.tenant, kind=draft.kind)
    if list_of(keeper).count() >= SOURCES_MAX:
        raise SourceInvalidError(f"There may be {SOURCES_MAX} sources.", next_step="Remove one first.")
    _fill(row, keeper, draft)
    with _named(row), transaction.atomic():
        row.save(force_insert=True)
        _record(keeper, row, "added", {"kind": row.kind, "url": row.url, "trust_level": row.trust_level})
        if row.enabled and row.auto_sync:
            sync.begin(row, reason=RunReason.SCHEDULED)
    return row


def change(keeper: Keeper, repository_id: UUID, draft: Draft) -> Repository:
    """Change everything but the kind. Raises NotFoundError, SourceInvalidError, SourceTakenError.

    A credential is for the origin that it was entered for: with another address it has to be entered again.
    """
    with transaction.atomic():
        row = _locked(keeper, repository_id)
        if row.from_settings:
            raise SourceInvalidError(
                "This source comes from the platform's settings.", next_step="Change public_marketplace_url there."
            )
        before = {name: getattr(row, name) for name in (*_PLAIN, "url", "auth_type", "kind")}
        seen_before, was_enabled = audience.source_ref(row), row.enabled
        _fill(row, keeper, draft)
        _forget_state(row, before)
        if not was_enabled and row.enabled:
            row.next_sync = None
        with _named(row), transaction.atomic():
            row.save()
        changed: dict[str, object] = {
            name: str(getattr(row, name)) for name, value in before.items() if getattr(row, name) != value
        }
        if draft.secret is not None:
            changed["credentials"] = "replaced" if row.credentials else "forgotten"
        _record(keeper, row, "changed", changed)
        _follow_up(row, moved=audience.source_ref(row) != seen_before, was_enabled=was_enabled)
    return row


def release(keeper: Keeper, repository_id: UUID) -> Repository:
    """Show a staged source's entries to those that it is for. Raises NotFoundError, SourceInvalidError."""
    with transaction.atomic():
        row = _locked(keeper, repository_id)
        if not row.staged:
            raise SourceInvalidError("This source is released already.")
        row.staged, row.released_at = False, clock.now()
        row.save()
        _record(keeper, row, "released", {})
        _follow_up(row, moved=True, was_enabled=row.enabled)
    return row


def verify(repository_id: UUID, operator: audit.Party) -> Repository:
    """Let an organisation's source count as verified: an operator of the platform has looked at it.

    Both sides keep the fact. Raises NotFoundError, and SourceInvalidError for a source that is verified already.
    """
    with platform_scope(), transaction.atomic():
        row = (
            Repository.objects.select_related("owner_tenant")
            .select_for_update(of=("self",))
            .filter(pk=repository_id, removed_at=None)
            .first()
        )
        if row is None:
            raise NotFoundError("There is no such source.")
        if row.trust_level == TrustLevel.VERIFIED:
            raise SourceInvalidError(f"{row.name} is verified already.", next_step="Nothing is left to do.")
        before, row.trust_level = row.trust_level, TrustLevel.VERIFIED
        row.save(update_fields=["trust_level", "updated_at"])
        changed: dict[str, object] = {"trust_level": {"from": before, "to": row.trust_level}}
        keepers = {None, row.owner_tenant}
        for tenant in keepers:
            _record(Keeper(operator, tenant), row, "verified", changed)
        _follow_up(row, moved=True, was_enabled=row.enabled)
    return row


def ask(keeper: Keeper, repository_id: UUID, *, full: bool = False) -> SyncRun:
    """Read a source out of turn. Raises NotFoundError, SourceBusyError, SourceInvalidError."""
    row = find(keeper, repository_id)
    with transaction.atomic():
        run = sync.begin(row, reason=RunReason.ASKED, asked_by=keeper.party.label, full=full)
        _record(keeper, row, "sync_asked", {"full": run.full})
    return run


def stop(keeper: Keeper, repository_id: UUID) -> bool:
    """End the open reading. What was kept stays."""
    row = find(keeper, repository_id)
    with transaction.atomic():
        is_stopped = sync.cancel(row)
        if is_stopped:
            _record(keeper, row, "sync_stopped", {})
    return is_stopped


def remove(keeper: Keeper, repository_id: UUID) -> Repository:
    """Remove a source with everything that only it listed. It is gone from pages at once."""
    with transaction.atomic():
        row = _locked(keeper, repository_id)
        if row.from_settings:
            raise SourceInvalidError(
                "This source comes from the platform's settings.", next_step="Turn enable_public_marketplace off there."
            )
        row.removed_at, row.enabled = clock.now(), False
        row.credentials, row.credentials_at, row.auth_type = b"", None, AuthType.NONE
        row.save()
        sync.cancel(row)
        _record(keeper, row, "removed", {"kind": row.kind, "url": row.url})
        enqueue("repositories.settle", repository_id=str(row.pk))
    return row


def find(keeper: Keeper, repository_id: UUID) -> Repository:
    """Raises NotFoundError for what is not this keeper's."""
    row = list_of(keeper).filter(pk=repository_id).first()
    if row is None:
        raise NotFoundError("There is no such source here.")
    return row


def list_of(keeper: Keeper) -> QuerySet[Repository]:
    rows = Repository.objects.select_related("owner_tenant").filter(removed_at=None)
    return rows.filter(owner_tenant=keeper.tenant)


def _locked(keeper: Keeper, repository_id: UUID) -> Repository:
    row = list_of(keeper).select_for_update(of=("self",)).filter(pk=repository_id).first()
    if row is None:
        raise NotFoundError("There is no such source here.")
    return row


def _fill(row: Repository, keeper: Keeper, draft: Draft) -> None:
    """Check a draft and write it into the row. Raises SourceInvalidError that names the field."""
    adapter = rules.check_kind(draft.kind, keeper.tenant)
    if draft.kind != row.kind:
        raise SourceInvalidError("The kind of a source cannot change.", next_step="Add another source.", field="kind")
    name = " ".join(draft.name.split())
    if not name or len(name) > 100 or not name.isprintable():
        raise SourceInvalidError("A source needs a name of at most 100 characters.", field="name")
    url = adapter.check_url(draft.url, rules.roots())
    if draft.trust_level != row.trust_level or row._state.adding:
        rules.check_trust(draft.trust_level, keeper.tenant)
    teams = _teams(keeper, draft)
    _check_numbers(draft)
    is_moved = bool(row.credentials) and _origin(url) != _origin(row.url)
    for field_name in _PLAIN:
        setattr(row, field_name, getattr(draft, field_name))
    row.name, row.url, row.allowed_teams = name, url, teams
    _keep_secret(row, draft, is_moved=is_moved)


def _keep_secret(row: Repository, draft: Draft, *, is_moved: bool) -> None:
    if draft.secret is not None or draft.auth_type == AuthType.NONE:
        values = credentials.check(draft.auth_type, draft.secret or {})
        credentials.keep(row, draft.auth_type, values)
    elif draft.auth_type != row.auth_type or is_moved or not row.credentials:
        raise SourceInvalidError(
            "The stored credential is for another address or of another kind.",
            next_step="Enter the credential again.",
            field="auth_type",
        )


def _check_numbers(draft: Draft) -> None:
    hours = draft.sync_interval_hours
    if hours is not None and not 1 <= hours <= INTERVAL_HOURS_MAX:
        raise SourceInvalidError(f"The interval is 1 to {INTERVAL_HOURS_MAX} hours.", field="sync_interval_hours")
    if not 0 <= draft.priority <= PRIORITY_MAX:
        raise SourceInvalidError(f"The priority is 0 to {PRIORITY_MAX}.", field="priority")


def _teams(keeper: Keeper, draft: Draft) -> list[UUID]:
    if draft.visibility != Visibility.GROUP:
        return []
    if keeper.tenant is None:
        raise SourceInvalidError("The platform has no teams.", next_step="Choose who else sees it.", field="visibility")
    teams = sorted(Team.objects.filter(tenant=keeper.tenant, pk__in=draft.allowed_teams).values_list("pk", flat=True))
    if not teams:
        raise SourceInvalidError("Choose at least one team.", field="allowed_teams")
    return teams


def _forget_state(row: Repository, before: Mapping[str, object]) -> None:
    """What was remembered of another address says nothing of this one."""
    if row.url != before["url"]:
        row.validators, row.watermark, row.last_full_sync, row.next_sync, row.last_sync = {}, None, None, None, None
        row.sync_error = ""


def _follow_up(row: Repository, *, moved: bool, was_enabled: bool) -> None:
    if not row.enabled:
        sync.cancel(row)
    if moved or row.enabled != was_enabled:
        # A batch in flight was begun for the audience before; the job below waits for it and moves everything.
        enqueue("repositories.settle", repository_id=str(row.pk))


def _origin(url: str) -> str:
    return addresses.origin(url) if "://" in url else url


@contextmanager
def _named(row: Repository) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if "repository_name_unique_in_owner" not in str(error):
            raise
        raise SourceTakenError(f"There is a source named {row.name!r}.", field="name") from error


def _record(keeper: Keeper, row: Repository, verb: str, data: dict[str, object]) -> None:
    with tenant_scope(keeper.tenant) if keeper.tenant else platform_scope():
        audit.record(
            f"repositories:source:{verb}",
            actor=keeper.party,
            target=audit.Party("source", str(row.pk), row.name),
            data=data,
        )
