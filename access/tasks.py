from __future__ import annotations

from uuid import UUID

from access import selectors
from access.services import connections, playground
from catalog.services import telling
from core.jobs import task
from tenants.context import tenant_scope
from tenants.jobs import each_tenant


@task("access.tell_quarantine", time_limit=240)
def tell_quarantine(*, server_id: str, tools: str) -> None:
    """Tell every organisation whose agents may use the server that tools of it were closed."""
    for tenant in each_tenant():
        with tenant_scope(tenant):
            uses = selectors.live_grants_on(UUID(server_id)).exists()
        if uses:
            telling.tell_user(tenant, server_id, tools)


@task("access.renew_credentials", max_retries=0, time_limit=240)
def renew_credentials() -> None:
    """Renew tokens before they expire. Safe to run twice: a credential is locked while its token is asked for."""
    for tenant in each_tenant():
        with tenant_scope(tenant):
            for credential_id in connections.due():
                connections.renew(tenant, credential_id)


@task("access.clear_runs", max_retries=0, time_limit=240)
def clear_runs() -> None:
    """Remove runs of the playground whose time is over."""
    for tenant in each_tenant():
        with tenant_scope(tenant):
            playground.clear_over()
