from __future__ import annotations

from core import jobs
from core.jobs import task
from notifications.services import webhooks as queue
from tenants.context import tenant_scope
from tenants.jobs import each_tenant, tenant_task
from tenants.models import Tenant
from tenants.oauth import grants
from tenants.services import domain_proofs, elevations, endings, signing, webhook_delivery


@task("tenants.keep_signing_keys", max_retries=3, time_limit=60)
def keep_signing_keys() -> None:
    """Rotate the signing key once it has signed for a month, and wipe retired ones. Safe to run at any time."""
    signing.keep_fresh()


@task("tenants.clear_oauth_tokens", max_retries=3, time_limit=120)
def clear_oauth_tokens() -> None:
    """Remove codes and refresh tokens that are over, and registrations that nobody used. Safe to run at any time."""
    grants.clear()


@task("tenants.tell_ended_applications", max_retries=0, time_limit=120)
def tell_ended_applications() -> None:
    """Tell people that the time of an application of theirs is over. Safe to run twice: each is told of once."""
    for tenant in each_tenant():
        endings.tell_expired(tenant)


@task("tenants.ask_domains", max_retries=0, time_limit=240)
def ask_domains() -> None:
    """Look once a day whether what proves a mail domain is still published. What one run does not reach is first in the next."""
    domain_proofs.ask_again()


@task("tenants.end_elevations", max_retries=0, time_limit=60)
def end_elevations() -> None:
    """Note the end of operators' views whose time is over. They count no more from that moment on, noted or not."""
    elevations.end_overdue()


@tenant_task("tenants.deliver_webhooks", max_retries=0, time_limit=110)
def deliver_webhooks(tenant: Tenant) -> None:
    """Send what waits for an organisation's webhooks. Safe to run twice: each event is taken by one sender at a time."""
    webhook_delivery.deliver_due(tenant)


@task("tenants.sweep_webhooks", max_retries=0, time_limit=120)
def sweep_webhooks() -> None:
    """Have sent what is due again, or whose job was lost, by a job for each organisation."""
    for tenant in each_tenant():
        with tenant_scope(tenant):
            waits = queue.due().exists()
        if waits:
            jobs.enqueue("tenants.deliver_webhooks", tenant_id=str(tenant.pk))


@task("tenants.prune_webhooks", max_retries=0, time_limit=120)
def prune_webhooks() -> None:
    """Forget deliveries of more than a month ago."""
    for tenant in each_tenant():
        with tenant_scope(tenant):
            queue.prune()
