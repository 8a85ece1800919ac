from __future__ import annotations

from core.jobs import task
from tenants.jobs import each_tenant
from tenants.oauth import grants
from tenants.services import endings, signing


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
