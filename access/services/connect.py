"""Connecting an agent: a key and what it may call, in one transaction. Runs inside the organisation's schema."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from access.services import grants
from access.types import SideEffect, SubjectKind
from catalog.models import Server
from core.errors import InvalidError
from tenants.models import Tenant, User
from tenants.services import api_keys
from tenants.services.api_keys import IssuedKey


def connect(
    *,
    tenant: Tenant,
    name: str,
    scopes: Sequence[str],
    servers: Sequence[Server],
    actor: User | None,
    agent: str = "",
    expires_at: datetime | None = None,
    only_these_servers: bool = True,
    max_trust: str = "low",
    side_effects: Sequence[str] = (SideEffect.READ,),
) -> IssuedKey:
    """Issue a key and grant it the servers, which the caller has checked to be visible to the organisation.

    With `only_these_servers` the key is refused elsewhere even if a grant of its agent or creator would allow it. The grants
    end with the key. Raises InvalidError for a limit to no server, which would be none at all, and what issuing a key and giving
    a grant raise; then neither exists.
    """
    if only_these_servers and not servers:
        raise InvalidError(
            "Choose the servers that the key is limited to, or let it use what is granted later.",
            code="access.key_limit_empty",
            field="only_these",
        )
    with transaction.atomic():
        issued = api_keys.issue(
            tenant=tenant,
            name=name,
            scopes=scopes,
            actor=actor,
            agent=agent,
            expires_at=expires_at,
            server_ids=[server.pk for server in servers] if only_these_servers else (),
        )
        for server in servers:
            grants.give(
                tenant=tenant,
                server=server,
                subject=grants.Subject(SubjectKind.KEY, str(issued.key.pk), issued.key.name),
                actor=actor,
                max_trust=max_trust,
                side_effects=side_effects,
                expires_at=expires_at,
            )
    return issued
