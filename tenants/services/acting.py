"""Tokens with which a person acts through the gateway by themself: in the playground, for minutes, and with no more rights.

As themself a person acts by a consent like any other, for a client of our own that nobody can sign in with. As a key only whoever
made that key acts, because calls with a key are calls on its maker's behalf.
"""

from __future__ import annotations

from uuid import UUID

from allauth.idp.oidc.models import Client
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from core import clock, ids, tokens
from core.errors import ForbiddenError
from tenants.choices import Right, Scope
from tenants.models import APIKey, Consent, Membership
from tenants.oauth import access_tokens
from tenants.services import consents, revisions, signing
from tenants.services.rights import require

CLIENT_ID = "playground"
_CLIENT_NAME = "Playground"
_LIFE_S = 300
# An address that is in no range (RFC 5737): of a person whose own is not known. Ours must not stand in for it.
NOWHERE = "192.0.2.0"


def own_keys(membership: Membership) -> QuerySet[APIKey]:
    """The keys that a person may act as: their own, live, open to calls, not tied to addresses (ours is none of theirs)."""
    return APIKey.objects.filter(
        tenant=membership.tenant,
        created_by=membership.user,
        revoked_at=None,
        scopes__contains=[Scope.INVOKE],
        networks__len=0,
    ).exclude(expires_at__lte=clock.now())


def token_of_key(membership: Membership, key_id: UUID, server: str, address: str) -> str:
    """A token that stands for a key of this person, good for one server. Raises ForbiddenError.

    `address` is where the person is: conditions on addresses are about that, and not about our own.
    """
    require(membership, Right.RUN_TOOLS)
    key = own_keys(membership).filter(pk=key_id).first()
    if key is None:
        raise ForbiddenError(
            "You can only act as a key that you made, that is live, and that is not tied to addresses.",
            code="tenants.key_not_yours",
            next_step="Choose another key, or yourself.",
        )
    now = int(clock.now().timestamp())
    ends = now + _LIFE_S if key.expires_at is None else min(now + _LIFE_S, int(key.expires_at.timestamp()))
    claims = {
        "iss": settings.PUBLIC_URL,
        "sub": str(membership.user_id),
        "tenant": str(key.tenant_id),
        "key": key.key_id,
        "aud": _resource(server),
        "scope": Scope.INVOKE.value,
        "iat": now,
        "exp": max(ends, now + 1),
        "jti": str(ids.uuid7()),
        "address": address or NOWHERE,
    }
    return tokens.sign(claims, signing.active_keys().signer)


def token_of_person(membership: Membership, server: str, address: str) -> str:
    """A token that stands for the person themself, good for one server; `address` as above. Raises ForbiddenError."""
    require(membership, Right.RUN_TOOLS)
    return access_tokens.issue(_consent(membership), [Scope.INVOKE], [_resource(server)], address or NOWHERE)


def _resource(server: str) -> str:
    return f"{settings.PUBLIC_URL}/mcp/{server}"


def _consent(membership: Membership) -> Consent:
    """The person's consent to our own client: made at the first run, used until it ends or they take it back."""
    with transaction.atomic():
        client = _client()
        rows = Consent.objects.select_for_update().filter(
            tenant=membership.tenant, user=membership.user, client=client, revoked_at=None
        )
        consent = rows.filter(expires_at__gt=clock.now()).select_related(None).first()
        if consent is None:
            return consents.give(
                membership=membership, client=client, scopes=[Scope.INVOKE], resources=[settings.PUBLIC_URL]
            )
        assert consent.expires_at is not None
        if consent.expires_at - clock.now() < consents.PERSON_LIFE * 0.9:
            consent.expires_at = clock.now() + consents.PERSON_LIFE
            consent.save(update_fields=["expires_at", "updated_at"])
            revisions.touch(consent.tenant_id)
    return consent


def _client() -> Client:
    """The library's row of the playground: no secret that anybody knows, no way to ask for tokens, no address to return to."""
    client = Client.objects.filter(pk=CLIENT_ID).first()
    if client is None:
        client = Client(pk=CLIENT_ID, name=_CLIENT_NAME, type=Client.Type.CONFIDENTIAL, owner=None, data={"own": True})
        client.set_grant_types([])
        client.set_response_types([])
        client.set_scopes([Scope.INVOKE.value])
        client, _ = Client.objects.get_or_create(
            pk=CLIENT_ID,
            defaults={
                name: getattr(client, name)
                for name in ("name", "type", "owner", "data", "grant_types", "response_types", "scopes", "secret")
            },
        )
    return client
