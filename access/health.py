"""As whom health checks ask: with the owner's credential for its own server, and the marketplace's signed word."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings

from access.models import CredentialStatus, UpstreamCredential
from access.services import connections
from catalog.choices import UpstreamAuth
from catalog.health.passes import TOKEN_HEADER, Pass, Statement
from catalog.models import Server
from core import clock, egress
from core.errors import MarketplaceError
from core.signing import Signer
from core.vault import SealBrokenError
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.services import signing, vault

log = logging.getLogger(__name__)


def passes(rows: Sequence[Server]) -> dict[UUID, Pass]:
    """One for each server that an organisation owns; nobody's credential is shown to a server of somebody else."""
    by_owner: defaultdict[UUID, list[Server]] = defaultdict(list)
    for server in rows:
        if server.owner_tenant_id is not None:
            by_owner[server.owner_tenant_id].append(server)
    if not by_owner:
        return {}
    signer = signing.active_keys().signer
    found: dict[UUID, Pass] = {}
    for tenant in Tenant.objects.filter(pk__in=by_owner, suspended_at=None):
        with tenant_scope(tenant):
            found |= _of_owner(tenant, by_owner[tenant.pk], signer)
    return found


def _of_owner(tenant: Tenant, rows: Sequence[Server], signer: Signer) -> dict[UUID, Pass]:
    stored = {
        row.server_id: row
        for row in UpstreamCredential.objects.filter(server_id__in=[server.pk for server in rows], user_id=None)
    }
    found = {}
    for server in rows:
        try:
            found[server.pk] = _pass(tenant, server, stored.get(server.pk), signer)
        except MarketplaceError:
            continue  # its address may not be used, which is what the check itself will say
    return found


def _pass(tenant: Tenant, server: Server, row: UpstreamCredential | None, signer: Signer) -> Pass:
    statement = _statement(tenant, server, signer)
    if row is None:
        return Pass(statement=statement)
    if trouble := _trouble(row):
        return Pass(statement=statement, trouble=trouble)
    try:
        secret = json.loads(vault.unseal(vault.place_of(row, "secret", tenant), bytes(row.secret)))
    except SealBrokenError:
        log.exception("a credential for checks cannot be opened", extra={"server_id": str(server.pk)})
        return Pass(statement=statement, trouble="the stored credential cannot be opened")
    return Pass(row.origin, (secret["name"].lower(), secret["value"]), statement)


def _trouble(row: UpstreamCredential) -> str:
    if row.status == CredentialStatus.ENDED:
        return "the stored credential has ended"
    if row.expires_at is not None and row.expires_at <= clock.now():
        return "the stored credential has expired"
    return ""


def _statement(tenant: Tenant, server: Server, signer: Signer) -> Statement | None:
    if server.upstream_auth == UpstreamAuth.NONE:
        return None
    audience = egress.parse_url(server.url, connections.egress_allow()).url.partition("?")[0]
    header = "authorization" if server.upstream_auth == UpstreamAuth.BEARER else TOKEN_HEADER
    return Statement(signer, settings.PUBLIC_URL, audience, str(tenant.pk), header)
