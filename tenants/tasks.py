from __future__ import annotations

from core.jobs import task
from tenants.oauth import grants
from tenants.services import signing


@task("tenants.keep_signing_keys", max_retries=3, time_limit=60)
def keep_signing_keys() -> None:
    """Rotate the signing key once it has signed for a month, and wipe retired ones. Safe to run at any time."""
    signing.keep_fresh()


@task("tenants.clear_oauth_tokens", max_retries=3, time_limit=120)
def clear_oauth_tokens() -> None:
    """Remove codes and refresh tokens that are over, and registrations that nobody used. Safe to run at any time."""
    grants.clear()
