from __future__ import annotations

from uuid import UUID

from access import selectors
from access.approvals import deciding as call_approvals
from access.flows import state as flows
from access.requests import campaigns, upkeep
from access.services import connections, playground, simulations
from catalog.services import telling
from core.jobs import task
from tenants.context import tenant_scope
from tenants.jobs import each_tenant, tenant_task
from tenants.models import Tenant


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


@tenant_task("access.run_simulation", max_retries=1, time_limit=240)
def run_simulation(tenant: Tenant, *, simulation_id: str) -> None:
    """Replay calls against a proposed change. Safe to run twice: what has ended is left alone."""
    simulations.run(tenant, UUID(simulation_id))


@task("access.clear_runs", max_retries=0, time_limit=240)
def clear_runs() -> None:
    """Remove runs of the playground whose time is over."""
    for tenant in each_tenant():
        with tenant_scope(tenant):
            playground.clear_over()


@task("access.keep_requests", max_retries=0, time_limit=240)
def keep_requests() -> None:
    """Escalate and end requests that nobody decides, end reviews, tell of rights that end soon. Safe to run twice."""
    for tenant in each_tenant():
        with tenant_scope(tenant):
            upkeep.expire_due(tenant)
            upkeep.escalate_due(tenant)
            upkeep.refresh_deciders(tenant)
            upkeep.remind_expiring(tenant)
            upkeep.note_expired(tenant)
            campaigns.close_due(tenant)
            call_approvals.keep()
            flows.clear_over()
