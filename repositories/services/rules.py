"""What settings and kinds allow, in one place: adding, reading and how often."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings as django_settings

from core import clock
from repositories.adapters import registry
from repositories.choices import TrustLevel
from repositories.errors import SourceInvalidError
from repositories.models import Repository
from tenants.models import Tenant
from tenants.services import settings

_AGAIN_FIRST, _AGAIN_LAST = timedelta(minutes=15), timedelta(hours=24)


def roots() -> tuple[Path, ...]:
    """Folders that local sources may be in, as real paths. One that is not there allows nothing."""
    found = (Path(text).expanduser() for text in django_settings.SOURCE_FOLDERS)
    return tuple(path.resolve() for path in found if path.is_absolute() and path.is_dir())


def is_allowed(kind: str) -> bool:
    """Whether the platform's switches let sources of this kind be read."""
    adapter = registry.find(kind)
    return not adapter.switch or settings.get_bool(adapter.switch)


def check_kind(kind: str, owner: Tenant | None) -> registry.Adapter:
    """Raises SourceInvalidError for a kind that this owner may not have."""
    adapter = registry.find(kind)
    if owner is not None and adapter.platform_only:
        raise SourceInvalidError("Only operators of the platform add sources of this kind.", field="kind")
    if not is_allowed(kind):
        raise SourceInvalidError(
            f"Sources of the kind {adapter.label} are turned off.",
            next_step=f"An operator can turn on {adapter.switch}.",
            field="kind",
        )
    return adapter


def check_trust(trust_level: str, owner: Tenant | None) -> None:
    """An operator who adds a source vouches for it. An organisation says that it does, or is allowed not to."""
    if owner is None:
        return
    if trust_level == TrustLevel.VERIFIED:
        raise SourceInvalidError(
            "Verified is for sources that operators of the platform have looked at.",
            next_step="Choose Enterprise if your organisation vouches for the source.",
            field="trust_level",
        )
    if trust_level == TrustLevel.COMMUNITY and not settings.get_bool("allow_untrusted_repositories", owner):
        raise SourceInvalidError(
            "Sources that nobody vouches for may not be added here.",
            next_step="Choose Enterprise if your organisation vouches for it, or turn on allow_untrusted_repositories.",
            field="trust_level",
        )


def interval_of(repository: Repository) -> timedelta:
    """Time between two readings by schedule: what is fresh by `marketplace_cache_ttl` is not asked again."""
    hours = repository.sync_interval_hours or settings.get_int("default_repository_sync_interval")
    fresh = max(settings.get_int("marketplace_cache_ttl"), registry.find(repository.kind).pause_s)
    return max(timedelta(hours=hours), timedelta(seconds=fresh))


def may_be_asked_at(repository: Repository) -> datetime | None:
    """When the source's own rules let it be read again; None when they do already."""
    pause = timedelta(seconds=registry.find(repository.kind).pause_s)
    if not pause or repository.last_sync is None:
        return None
    moment = repository.last_sync + pause
    return moment if moment > clock.now() else None


def pause_after(failures: int, interval: timedelta) -> timedelta:
    """Time until a source that failed is tried again: later and later, never later than its interval."""
    return min(_AGAIN_FIRST * 2 ** min(max(failures, 1) - 1, 10), interval, _AGAIN_LAST)
