"""What an organisation's admins set about signing in: the provider, the domains, what groups give, and tokens for SCIM."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from audit import services as audit
from core import clock, domains
from core.errors import ConflictError, InvalidError, LimitReachedError, MarketplaceError, NotFoundError
from core.jobs import on_commit
from tenants import oidc
from tenants.choices import Right, Role
from tenants.models import (
    DirectoryUser,
    EmailDomain,
    GroupRule,
    IdentityProvider,
    Membership,
    ScimToken,
    Team,
    Tenant,
)
from tenants.models.identity import ASSIGNED_ROLES, BY_RECORD, Protocol
from tenants.services import directory, rights, sso, vault

DOMAINS_MAX, RULES_MAX, TOKENS_MAX = 50, 200, 5
TOKEN_PREFIX, TOKEN_LIFE = "scim_", timedelta(days=365)
_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Draft:
    """What the form gives. A blank `secret` keeps the stored one, and no metadata what was read from some before."""

    issuer: str = ""
    client_id: str = ""
    secret: str = ""
    protocol: str = Protocol.OPENID
    metadata: str = ""
    metadata_url: str = ""
    groups_claim: str = "groups"
    default_role: str = Role.MEMBER
    enabled: bool = True
    joins: bool = True
    enforced: bool = False

    def __repr__(self) -> str:
        return f"Draft({self.issuer!r})"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """`text` is shown once and stored nowhere."""

    row: ScimToken
    text: str

    def __repr__(self) -> str:
        return f"IssuedToken({self.row.name!r})"


def provider_of(tenant: Tenant) -> IdentityProvider | None:
    return IdentityProvider.objects.select_related("owner_tenant").filter(owner_tenant=tenant).first()


def save_provider(*, actor: Membership, draft: Draft) -> IdentityProvider:
    """Keep what was entered. Another provider or client has to be tested before it can be enforced.

    Raises InvalidError that names the field.
    """
    rights.require(actor, Right.MANAGE_SETTINGS)
    if draft.default_role not in dict(ASSIGNED_ROLES):
        raise InvalidError("Choose a role.", code="tenants.sso_role", field="default_role")
    known = _known(actor.tenant, draft)
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        begins = (
            draft.enforced and not IdentityProvider.objects.filter(owner_tenant=actor.tenant, enforced=True).exists()
        )
        row = provider_of(actor.tenant) or IdentityProvider(owner_tenant=actor.tenant)
        if row.protocol != known["protocol"]:
            # Each protocol has names of its own for people; they are recognised by their address once more.
            DirectoryUser.objects.filter(tenant=actor.tenant).update(subject="")
        if any(getattr(row, name) != value for name, value in known.items()):
            row.tested_at, row.secret = None, b""
        if draft.secret:
            row.tested_at, row.secret = None, vault.seal(vault.place_of(row, "secret", actor.tenant), draft.secret)
        for name, value in known.items():
            setattr(row, name, value)
        row.groups_claim, row.default_role = draft.groups_claim.strip() or "groups", draft.default_role
        row.enabled, row.joins = draft.enabled, draft.joins
        row.enforced = draft.enforced
        _check_enforced(row)
        row.save()
        data: dict[str, object] = {
            "issuer": row.issuer,
            "protocol": row.protocol,
            "enabled": row.enabled,
            "enforced": row.enforced,
            "joins": row.joins,
            "secret": "replaced" if draft.secret else "kept",
        }
        _record(actor, "tenants:sso:changed", audit.Party("identity_provider", str(row.pk), row.issuer), data)
        if begins:
            _end_other_sessions(actor)
    return row


def _known(tenant: Tenant, draft: Draft) -> dict[str, str]:
    """Which provider it is, as the columns that say so: when one of them is another, it is another provider."""
    if draft.protocol == Protocol.SAML:
        return _saml(tenant, draft)
    if draft.protocol != Protocol.OPENID:
        raise InvalidError("Choose OpenID Connect or SAML.", code="tenants.sso_protocol", field="protocol")
    issuer, client_id = _issuer(draft.issuer), draft.client_id.strip()
    if not client_id:
        raise InvalidError("Enter the client id.", code="tenants.sso_client", field="client_id")
    return {"protocol": draft.protocol, "issuer": issuer, "client_id": client_id, "sso_url": "", "certificates": ""}


def _saml(tenant: Tenant, draft: Draft) -> dict[str, str]:
    from tenants import saml  # noqa: PLC0415 - XML is read where an organisation uses it, and nowhere else

    data = draft.metadata.strip().encode()
    if draft.metadata_url.strip():
        data = saml.fetch_metadata(draft.metadata_url.strip(), sso.allow())
    if data:
        found = saml.read_metadata(data, sso.allow())
        told = {"issuer": found.entity_id, "sso_url": found.sso_url, "certificates": "".join(found.certificates)}
        return {"protocol": draft.protocol, "client_id": "", **told}
    row = provider_of(tenant)
    if row is None or row.protocol != Protocol.SAML:
        raise InvalidError(
            "Paste the provider's metadata, or enter its address.", code="tenants.saml_metadata", field="metadata"
        )
    return {name: getattr(row, name) for name in ("protocol", "issuer", "client_id", "sso_url", "certificates")}


def _end_other_sessions(actor: Membership) -> None:
    """Whoever got in by another way has to come by this one; not the admin who just decided it."""
    members = Membership.objects.select_related("user").filter(tenant=actor.tenant).exclude(pk=actor.pk)
    people = [member.user_id for member in members if sso.required_for(member.user) is not None]
    on_commit(lambda: directory.end_sessions(people))


def note_test(row: IdentityProvider, *, actor: Membership) -> None:
    """The provider let an admin of the organisation in."""
    rights.require(actor, Right.MANAGE_SETTINGS)
    IdentityProvider.objects.filter(pk=row.pk).update(tested_at=clock.now())
    _record(actor, "tenants:sso:tested", audit.Party("identity_provider", str(row.pk), row.issuer), {})


def add_domain(*, actor: Membership, text: str) -> EmailDomain:
    """Name a domain; it counts once it is proven. Raises InvalidError, ConflictError."""
    rights.require(actor, Right.MANAGE_SETTINGS)
    domain = domains.normalised(text)
    if not domain:
        raise InvalidError("Enter a domain such as example.com.", code="tenants.domain_invalid", field="domain")
    if EmailDomain.objects.filter(tenant=actor.tenant).count() >= DOMAINS_MAX:
        raise LimitReachedError(f"There may be {DOMAINS_MAX} domains.", next_step="Remove one first.")
    row, is_made = EmailDomain.objects.get_or_create(
        tenant=actor.tenant, domain=domain, defaults={"token": domains.new_token()}
    )
    if is_made:
        _record(actor, "tenants:domain:added", audit.Party("domain", str(row.pk), domain), {})
    return row


def check_domain(*, actor: Membership, domain_id: UUID) -> EmailDomain:
    """Look for the TXT record now. Raises ProofMissingError with what was found instead, ConflictError when another has it."""
    rights.require(actor, Right.MANAGE_SETTINGS)
    row = _domain(actor, domain_id)
    now = clock.now()
    if not EmailDomain.objects.filter(pk=row.pk).exclude(checked_at__gt=now - _AGAIN).update(checked_at=now):
        raise LimitReachedError("It was looked for a moment ago.", next_step="Check again in a few seconds.")
    try:
        domains.check_record(row.challenge, settings.DNS_SERVERS)
    except domains.ProofMissingError as error:
        EmailDomain.objects.filter(pk=row.pk).update(detail=error.message[:500])
        raise
    actor_party = audit.Party("user", str(actor.user_id), actor.user.email)
    return prove_domain(row, how=BY_RECORD, actor=actor_party)


def prove_domain(row: EmailDomain, *, how: str, actor: audit.Party) -> EmailDomain:
    """Let the domain count as the organisation's. Raises ConflictError when another organisation has proven it."""
    row.proven_at = row.looked_at = clock.now()
    row.proven_by, row.detail, row.failed_looks = how, "", 0
    try:
        with transaction.atomic():
            row.save(update_fields=["proven_at", "proven_by", "looked_at", "detail", "failed_looks", "updated_at"])
            party = audit.Party("domain", str(row.pk), row.domain)
            directory.record(row.tenant, "tenants:domain:proven", actor, party, {"how": how})
    except IntegrityError as error:
        raise ConflictError(
            "Another organisation has proven this domain.",
            code="tenants.domain_taken",
            next_step="Ask an operator of the platform to look at both.",
        ) from error
    return row


def remove_domain(*, actor: Membership, domain_id: UUID) -> EmailDomain:
    """Its people sign in as everybody else from now on."""
    rights.require(actor, Right.MANAGE_SETTINGS)
    with transaction.atomic():
        row = _domain(actor, domain_id)
        _record(actor, "tenants:domain:removed", audit.Party("domain", str(row.pk), row.domain), {})
        row.delete()
    return row


def add_rule(*, actor: Membership, group: str, team_id: UUID | None, role: str) -> GroupRule:
    """Let a group give a team, a role, or both. Raises InvalidError."""
    rights.require(actor, Right.MANAGE_PEOPLE)
    group = group.strip()
    team = Team.objects.filter(tenant=actor.tenant, pk=team_id).first() if team_id else None
    if not 0 < len(group) <= 200:
        raise InvalidError("Enter the group's name or id as the provider sends it.", code="tenants.rule", field="group")
    if (team is None and not role) or (team_id and team is None):
        raise InvalidError("Choose a team, a role, or both.", code="tenants.rule", field="team")
    if role and role not in dict(ASSIGNED_ROLES):
        raise InvalidError("Owners are made by people, not by groups.", code="tenants.rule", field="role")
    if role == Role.ADMIN and actor.role not in {Role.OWNER, Role.ADMIN}:
        raise InvalidError("Only owners and admins give this role.", code="tenants.rule", field="role")
    if GroupRule.objects.filter(tenant=actor.tenant).count() >= RULES_MAX:
        raise LimitReachedError(f"There may be {RULES_MAX} rules.", next_step="Remove one first.")
    try:
        with transaction.atomic():
            row = GroupRule.objects.create(tenant=actor.tenant, group=group, team=team, role=role)
            data: dict[str, object] = {"team": team.slug if team else "", "role": role}
            _record(actor, "tenants:group_rule:added", audit.Party("group_rule", str(row.pk), group), data)
    except IntegrityError as error:
        raise ConflictError("There is such a rule already.", code="tenants.rule_twice", field="group") from error
    return row


def remove_rule(*, actor: Membership, rule_id: UUID) -> None:
    rights.require(actor, Right.MANAGE_PEOPLE)
    with transaction.atomic():
        row = GroupRule.objects.filter(tenant=actor.tenant, pk=rule_id).first()
        if row is None:
            raise NotFoundError("There is no such rule here.")
        _record(actor, "tenants:group_rule:removed", audit.Party("group_rule", str(row.pk), row.group), {})
        row.delete()


def issue_token(*, actor: Membership, name: str) -> IssuedToken:
    """A token for the organisation's directory, good for a year. Raises InvalidError, LimitReachedError."""
    rights.require(actor, Right.MANAGE_PEOPLE)
    rights.require(actor, Right.MANAGE_SETTINGS)
    name = " ".join(name.split())
    if not 0 < len(name) <= 100:
        raise InvalidError("Give it a name of at most 100 characters.", code="tenants.scim_name", field="name")
    if live_tokens(actor.tenant).count() >= TOKENS_MAX:
        raise LimitReachedError(f"There may be {TOKENS_MAX} tokens.", next_step="Revoke one first.")
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        row = ScimToken.objects.create(
            tenant=actor.tenant,
            name=name,
            digest=_digest(text),
            created_by=actor.user.email,
            expires_at=clock.now() + TOKEN_LIFE,
        )
        _record(actor, "tenants:scim_token:issued", audit.Party("scim_token", str(row.pk), name), {})
    return IssuedToken(row, text)


def revoke_token(*, actor: Membership, token_id: UUID) -> None:
    rights.require(actor, Right.MANAGE_PEOPLE)
    with transaction.atomic():
        row = ScimToken.objects.select_for_update().filter(tenant=actor.tenant, pk=token_id, revoked_at=None).first()
        if row is None:
            raise NotFoundError("There is no such token here.")
        row.revoked_at = clock.now()
        row.save(update_fields=["revoked_at", "updated_at"])
        _record(actor, "tenants:scim_token:revoked", audit.Party("scim_token", str(row.pk), row.name), {})


def live_tokens(tenant: Tenant):  # type: ignore[no-untyped-def]  # a query set
    return ScimToken.objects.filter(tenant=tenant, revoked_at=None, expires_at__gt=clock.now())


def token_of(slug: str, text: str) -> ScimToken | None:
    """The live token behind a text, if it is the named organisation's."""
    if not text.startswith(TOKEN_PREFIX) or len(text) > 100:
        return None
    rows = ScimToken.objects.select_related("tenant").filter(digest=_digest(text), revoked_at=None)
    row = rows.filter(tenant__slug=slug, tenant__suspended_at=None, expires_at__gt=clock.now()).first()
    if row is not None and (row.last_used_at is None or clock.now() - row.last_used_at > timedelta(minutes=1)):
        ScimToken.objects.filter(pk=row.pk).update(last_used_at=clock.now())
    return row


def _digest(text: str) -> bytes:
    """The text is random and long, so a plain hash keeps it."""
    return hashlib.sha256(text.encode()).digest()


def _issuer(text: str) -> str:
    try:
        return oidc.check_issuer(text, sso.allow())
    except MarketplaceError as error:
        raise InvalidError(
            error.message, code="tenants.sso_issuer", next_step=error.next_step, field="issuer"
        ) from error


def _check_enforced(row: IdentityProvider) -> None:
    if not row.enforced:
        return
    if not row.enabled or row.tested_at is None:
        raise InvalidError(
            "Sign-in can be enforced once a test of exactly these settings has worked.",
            code="tenants.sso_untested",
            next_step="Save without enforcing, test the sign-in, then enforce it.",
            field="enforced",
        )
    if not sso.has_domain(row.owner_tenant):
        raise InvalidError(
            "Sign-in is enforced for proven domains, and there is none.",
            code="tenants.sso_no_domain",
            next_step="Add a domain and prove it first.",
            field="enforced",
        )


def _domain(actor: Membership, domain_id: UUID) -> EmailDomain:
    row = EmailDomain.objects.select_related("tenant").filter(tenant=actor.tenant, pk=domain_id).first()
    if row is None:
        raise NotFoundError("There is no such domain here.")
    return row


def _record(actor: Membership, action: str, target: audit.Party, data: dict[str, object]) -> None:
    directory.record(actor.tenant, action, audit.Party("user", str(actor.user_id), actor.user.email), target, data)
