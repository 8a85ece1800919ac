"""Giving, using up and taking back consents: what OAuth clients may do in an organisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.models import Client, Token
from django.conf import settings
from django.db import transaction

from audit import services as audit
from core import addresses, clock
from core.errors import ForbiddenError, InvalidError, NotFoundError
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.models import Consent, Membership, Tenant, User
from tenants.oauth import client_keys
from tenants.oauth.client_keys import Offered
from tenants.services import endings, revisions

# A person is asked again after this time, however often the client stays signed in by refresh tokens.
PERSON_LIFE = timedelta(days=90)
MACHINE_GRANT = Client.GrantType.CLIENT_CREDENTIALS


@dataclass(frozen=True, slots=True)
class MachineClient:
    """A machine client and its secret: the only moment at which the secret exists as text. One with keys has none."""

    consent: Consent
    secret: str = field(repr=False)


def give(*, membership: Membership, client: Client, scopes: Sequence[str], resources: Sequence[str]) -> Consent:
    """A person agrees that a client acts for them in one of their organisations. Raises ForbiddenError."""
    tenant, user = membership.tenant, membership.user
    if tenant.suspended_at is not None:
        raise ForbiddenError("This organisation is suspended.", code="tenants.suspended")
    with transaction.atomic():
        consent = Consent.objects.create(
            kind=Consent.Kind.PERSON,
            tenant=tenant,
            user=user,
            client=client,
            name=client.name[:100],
            scopes=sorted(set(scopes)),
            resources=list(resources),
            expires_at=clock.now() + PERSON_LIFE,
        )
        _audit("tenants:consent:given", user, consent, {"scopes": consent.scopes, "client_id": client.pk})
        revisions.touch(tenant.pk)
    return consent


def make_machine(
    *,
    tenant: Tenant,
    name: str,
    scopes: Sequence[str],
    actor: User,
    agent: str = "",
    server_ids: Sequence[UUID] = (),
    networks: Sequence[str] = (),
    expires_at: datetime | None = None,
    keys: Offered | None = None,
) -> MachineClient:
    """A client for an agent, which gets tokens with its own secret, or with its own keys where given. Raises InvalidError."""
    name = name.strip()
    if not name:
        raise InvalidError("A client needs a name.", code="tenants.client_name_missing", field="name")
    if not scopes or not set(scopes) <= set(Scope.values):
        raise InvalidError("Choose at least one scope.", code="tenants.client_scope_unknown", field="scopes")
    if expires_at is not None and expires_at <= clock.now():
        raise InvalidError("The expiry must be in the future.", code="tenants.client_expiry_past", field="expiry")
    with transaction.atomic():
        client, secret = _machine(name, scopes, keys)
        consent = Consent.objects.create(
            kind=Consent.Kind.MACHINE,
            tenant=tenant,
            user=actor,
            client=client,
            name=name[:100],
            agent=agent.strip()[:100],
            scopes=sorted(set(scopes)),
            server_ids=sorted(set(server_ids)),
            networks=addresses.parse_ranges(networks),
            resources=[settings.PUBLIC_URL],
            expires_at=expires_at,
        )
        proof = client_keys.METHOD if keys else "client_secret"
        data = {"scopes": consent.scopes, "client_id": client.pk, "proof": proof}
        _audit("tenants:machine_client:created", actor, consent, data)
        revisions.touch(tenant.pk)
    return MachineClient(consent, secret)


def revoke(consent_id: UUID, *, actor: User | None, tenant: Tenant | None = None, user: User | None = None) -> Consent:
    """Take a consent back; a second time changes nothing. Raises NotFoundError for one of another organisation or person."""
    with transaction.atomic():
        rows = Consent.objects.select_for_update(of=("self",)).select_related("tenant", "client")
        if tenant is not None:
            rows = rows.filter(tenant=tenant)
        if user is not None:
            rows = rows.filter(user=user, kind=Consent.Kind.PERSON)
        consent = rows.filter(pk=consent_id).first()
        if consent is None:
            raise NotFoundError("There is no such application here.")
        if consent.revoked_at is None:
            _end(consent)
            _audit("tenants:consent:revoked", actor, consent, {"client_id": consent.client_id})
            endings.tell_revoked(consent, actor=actor)
            revisions.touch(consent.tenant_id, ended=[consent.pk])
    return consent


def end_for_member(tenant: Tenant, user: User) -> int:
    """Whoever leaves takes along what was agreed to: joining again does not bring it back. Inside the leaving's transaction."""
    found = Consent.objects.filter(tenant=tenant, user=user, kind=Consent.Kind.PERSON, revoked_at=None)
    for consent in found:
        _end(consent)
    return len(found)


def _machine(name: str, scopes: Sequence[str], keys: Offered | None) -> tuple[Client, str]:
    """The library's row, stored, and the secret; empty with keys."""
    client = Client(name=name[:100], type=Client.Type.CONFIDENTIAL, owner=None, data={"machine": True})
    secret = "" if keys else get_adapter().generate_client_secret()
    if keys:
        client_keys.forbid_secret(client)
    else:
        client.set_secret(secret)
    client.set_grant_types([MACHINE_GRANT])
    client.set_response_types([])
    client.set_scopes(sorted(set(scopes)))
    client.save(force_insert=True)
    if keys:
        client_keys.keep(client, keys)
    return client, secret


def _end(consent: Consent) -> None:
    consent.revoked_at = clock.now()
    consent.save(update_fields=["revoked_at", "updated_at"])
    Token.objects.filter(client_id=consent.client_id, data__consent=str(consent.pk)).delete()
    if consent.kind == Consent.Kind.MACHINE:
        consent.client.set_grant_types([])
        consent.client.save(update_fields=["grant_types"])


def _audit(action: str, actor: User | None, consent: Consent, data: dict[str, object]) -> None:
    with tenant_scope(consent.tenant):
        audit.record(
            action,
            actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
            target=audit.Party("consent", str(consent.pk), consent.name),
            data=data,
        )
