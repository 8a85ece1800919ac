from __future__ import annotations

from collections.abc import Iterator

import pytest

from audit.services import Party
from repositories.models import Repository, SyncRun
from repositories.services import sources, sync
from repositories.services.sources import Draft, Keeper
from tenants.context import platform_scope, tenant_scope
from tests.support.registries import FakeRegistry, running_registry, sample_rows

OPERATOR = Keeper(Party("operator", "1", "olga@marketplace.example"))


def keeper_of(tenant) -> Keeper:
    return Keeper(Party("user", "1", f"owner@{tenant.slug}.example"), tenant)


@pytest.fixture
def platform(cast) -> Iterator[None]:
    with platform_scope():
        yield


@pytest.fixture
def official(settings) -> Iterator[FakeRegistry]:
    with running_registry(sample_rows()) as registry:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{registry.port}"]
        yield registry


def add(kind: str, url: str, *, keeper: Keeper = OPERATOR, name: str = "Source", **more) -> Repository:
    """A source that is read only when a test says so."""
    more = {"auto_sync": False, "trust_level": "enterprise" if keeper.tenant else "community", **more}
    with tenant_scope(keeper.tenant) if keeper.tenant else platform_scope():
        return sources.add(keeper, Draft(name=name, kind=kind, url=url, **more))


def read(source: Repository, *, full: bool = False, steps: int = 20) -> SyncRun:
    """Open a run and work on it as the worker does, step by step."""
    with platform_scope():
        source.refresh_from_db()
        run = sync.begin(source, reason="asked", full=full)
        return go_on(run, steps=steps)


def go_on(run: SyncRun, *, steps: int = 20, step_s: float = 60.0) -> SyncRun:
    with platform_scope():
        for _ in range(steps):
            if not sync.work(run.pk, step_s=step_s):
                break
        run.refresh_from_db()
        run.repository.refresh_from_db()
        return run
