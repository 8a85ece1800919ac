"""A person's way to an authorization server and back. Runs inside the organisation's schema.

The state that goes along is random, good for ten minutes, for one use, for this person and for the session that it began in;
where to the code may be taken was fixed before the person left.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction

from access.models import ConnectAttempt, UpstreamCredential
from access.oauth import tokens
from access.oauth.discovery import AuthServer, discover
from access.services import connections
from catalog.models import Server
from core import clock
from core.errors import InvalidError
from tenants.models import Tenant, User
from tenants.services import vault

LIFE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the person goes, and what is asked for there."""

    url: str
    issuer: str
    scope: str


class AttemptRefusedError(InvalidError):
    code = "access.connect_refused"
    default_message = "This answer does not belong to an attempt of yours to connect an account."
    default_next_step = "Connect the account again."


def begin(*, tenant: Tenant, server: Server, user: User, session_key: str) -> Departure:
    """Raises DiscoveryError when there is no authorization server that can be trusted with a person."""
    found = discover(server.url, connections.egress_allow())
    redirect_uri = connections.redirect_uri()
    as_client = connections.client_for(tenant, found, redirect_uri=redirect_uri)
    state, verifier = f"{tenant.slug}.{tokens.new_secret()}", tokens.new_secret()
    url = tokens.authorization_url(found, as_client, redirect_uri=redirect_uri, state=state, verifier=verifier)
    attempt = ConnectAttempt(
        state_digest=_digest(state),
        session_digest=_digest(session_key),
        user_id=user.pk,
        server=server,
        facts=found.as_facts(),
        expires_at=clock.now() + LIFE,
    )
    attempt.verifier = vault.seal(vault.place_of(attempt, "verifier", tenant), verifier)
    with transaction.atomic():
        ConnectAttempt.objects.filter(expires_at__lt=clock.now() - LIFE).delete()
        attempt.save(force_insert=True)
    return Departure(url, found.issuer, found.scope)


def finish(*, tenant: Tenant, user: User, session_key: str, answer: Mapping[str, str]) -> UpstreamCredential:
    """Redeem what the authorization server sent along. Raises AttemptRefusedError, TokenError."""
    attempt = _use(user, session_key, answer.get("state", ""))
    found = AuthServer.of_facts(attempt.facts)
    named = answer.get("iss")
    if named != found.issuer if named is not None else found.names_itself:
        raise AttemptRefusedError("The answer comes from another authorization server than the one that was asked.")
    if "error" in answer:
        raise AttemptRefusedError(f"The authorization server refused: {answer['error'][:60]}.")
    code = answer.get("code", "")
    if not 0 < len(code) <= 4096:
        raise AttemptRefusedError
    redirect_uri = connections.redirect_uri()
    as_client = connections.client_for(tenant, found, redirect_uri=redirect_uri)
    verifier = vault.unseal(vault.place_of(attempt, "verifier", tenant), bytes(attempt.verifier)).decode()
    token = tokens.redeem(
        found, as_client, connections.egress_allow(), code=code, redirect_uri=redirect_uri, verifier=verifier
    )
    return connections.keep_account(
        tenant=tenant, server=attempt.server, user=user, found=found, as_client=as_client, token=token
    )


def organisation_of(state: str) -> str:
    """The name of the organisation in whose pages an attempt began; empty for what is no state of ours."""
    slug, dot, _ = state.partition(".")
    return slug if dot and len(slug) <= 40 else ""


def _use(user: User, session_key: str, state: str) -> ConnectAttempt:
    with transaction.atomic():
        attempt = ConnectAttempt.objects.select_for_update().filter(state_digest=_digest(state)).first()
        if attempt is None or attempt.used_at is not None or attempt.expires_at <= clock.now():
            raise AttemptRefusedError
        if attempt.user_id != user.pk or not hmac.compare_digest(bytes(attempt.session_digest), _digest(session_key)):
            raise AttemptRefusedError
        attempt.used_at = clock.now()
        attempt.save(update_fields=["used_at", "updated_at"])
    return attempt


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
