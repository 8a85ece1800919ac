"""Clients that somebody registered by hand, for authorization servers that register nobody by themselves.

One per authorization server and organisation; the accounts of its people are connected through it. The secret goes in and comes
out again only towards the token endpoint of the issuer that it was entered for.
"""

from __future__ import annotations

import re
from uuid import UUID

from django.db import transaction

from access.models import OAuthClient
from access.oauth import tokens
from access.oauth.discovery import AuthServer, discover
from access.oauth.tokens import Client
from access.services import connections
from audit import services as audit
from catalog.models import Server
from core.errors import ConflictError, InvalidError, NotFoundError
from tenants.models import Tenant, User

ENTERED = "entered"
_CLIENT_ID = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,498}[\x21-\x7e])?\Z")
_SECRET = re.compile(r"[\x20-\x7e]{0,1000}\Z")


def authority_of(server: Server) -> AuthServer:
    """The authorization server that a server names. Raises DiscoveryError, EgressRefusedError."""
    return discover(server.url, connections.egress_allow())


def enter(
    *, tenant: Tenant, server: Server, issuer: str, client_id: str, client_secret: str, actor: User
) -> OAuthClient:
    """Be known to an authorization server as this client from now on.

    `issuer` is the one that the person was shown: when the server names another meanwhile, ConflictError, and nothing is kept.
    Raises InvalidError with the field, DiscoveryError.
    """
    if not _CLIENT_ID.match(client_id):
        raise InvalidError("A client id is printable text.", code="access.client_id_refused", field="client_id")
    if not _SECRET.match(client_secret):
        raise InvalidError("A client secret is printable text.", code="access.secret_refused", field="client_secret")
    found = authority_of(server)
    if found.issuer != issuer:
        raise ConflictError(
            "The server names another authorization server than a moment ago.",
            code="access.issuer_changed",
            next_step="Look again whether it is the right one.",
        )
    method = tokens.method_for(found.auth_methods) if client_secret else "none"
    with transaction.atomic():
        row = connections.keep_client(
            tenant, issuer=issuer, as_client=Client(client_id, client_secret, method), source=ENTERED
        )
        _audit("access:oauth_client:entered", actor, row)
    return row


def forget(*, registration_id: UUID, actor: User) -> str:
    """Forget a client; its issuer. Connected accounts keep what they need to be renewed. Raises NotFoundError."""
    with transaction.atomic():
        row = OAuthClient.objects.select_for_update().filter(pk=registration_id, source=ENTERED).first()
        if row is None:
            raise NotFoundError("There is no such client in this organisation.")
        _audit("access:oauth_client:forgotten", actor, row)
        row.delete()
    return row.issuer


def _audit(action: str, actor: User, row: OAuthClient) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email),
        target=audit.Party("oauth_client", str(row.pk), row.issuer),
        data={"client_id": row.client_id, "method": row.auth_method},
    )
