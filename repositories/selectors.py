"""Sources and their readings, as pages show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repositories.adapters import registry
from repositories.choices import OPEN_STATES, AuthType, SyncStatus, Visibility
from repositories.models import Repository, SyncRun
from repositories.services import rules
from tenants.models import Team

_BADGES = {
    SyncStatus.NEVER: ("Never read", "", "clock"),
    SyncStatus.SUCCESS: ("Read", "ok", "check"),
    SyncStatus.FAILED: ("Failed", "bad", "alert"),
    SyncStatus.IN_PROGRESS: ("Being read", "accent", "refresh"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One source in a list."""

    source: Repository
    url: str
    kind: str
    audience: str
    badge: str
    badge_kind: str
    badge_icon: str

    @property
    def is_busy(self) -> bool:
        return self.source.sync_status == SyncStatus.IN_PROGRESS


def line_of(source: Repository, url: str) -> Line:
    badge = ("Turned off", "warn", "minus") if not source.enabled else _BADGES[SyncStatus(source.sync_status)]
    return Line(source, url, registry.labels().get(source.kind, source.kind), audience_of(source), *badge)


def audience_of(source: Repository) -> str:
    """Who finds its entries, in words."""
    if source.staged:
        return "Staged"
    if source.visibility == Visibility.PUBLIC:
        return "Everybody here" if source.owner_tenant_id else "Everybody"
    return Visibility(source.visibility).label


def open_run(source: Repository) -> SyncRun | None:
    return source.runs.filter(state__in=OPEN_STATES).first()


def last_ended(source: Repository) -> SyncRun | None:
    return source.runs.exclude(state__in=OPEN_STATES).first()


def history(source: Repository, count: int) -> list[SyncRun]:
    return list(source.runs.defer("problems", "validators")[:count])


def facts(source: Repository) -> list[dict[str, Any]]:
    """What the source is set to. Of its credential only that there is one, and since when."""
    interval = (
        f"every {rules.interval_of(source).total_seconds() / 3600:g} hours" if source.auto_sync else "only when asked"
    )
    return [
        {"label": "Kind", "value": registry.labels().get(source.kind, source.kind)},
        {"label": "Address", "value": source.url},
        {"label": "Credential", "value": _credential(source)},
        {"label": "Trust level", "value": source.get_trust_level_display()},
        {"label": "Who finds its entries", "value": _teams(source) or audience_of(source)},
        {"label": "Priority", "value": str(source.priority)},
        {"label": "Read", "value": interval if source.enabled else "never: turned off"},
    ]


def _credential(source: Repository) -> str:
    if source.auth_type == AuthType.NONE or source.credentials_at is None:
        return "none"
    return f"{source.get_auth_type_display()}, entered {source.credentials_at:%Y-%m-%d %H:%M} UTC"


def _teams(source: Repository) -> str:
    if source.staged or source.visibility != Visibility.GROUP:
        return ""
    names = Team.objects.filter(pk__in=source.allowed_teams, tenant=source.owner_tenant_id).order_by("name")
    return ", ".join(names.values_list("name", flat=True)) or "no team that is still there"
