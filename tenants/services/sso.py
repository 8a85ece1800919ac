"""Who comes back from an organisation's OpenID provider, and whether they may in.

The provider speaks for addresses of the organisation's proven domains and for nobody else. The first time it speaks of an
account that belongs to other organisations too, the person has to be signed in already: otherwise whoever runs one organisation's
provider could enter others in their name. Operators of the platform never enter this way. A second factor that a person set up is
asked for whatever the provider says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.db import IntegrityError, transaction

from audit import services as audit
from core import clock, egress
from core.errors import ConflictError, ForbiddenError, NotFoundError
from tenants import oidc
from tenants.choices import Role
from tenants.models import DirectoryUser, EmailDomain, IdentityProvider, Membership, Tenant, User
from tenants.models.identity import Protocol
from tenants.oidc import Attempt, Claims, Provider, SignInError
from tenants.services import directory, vault

if TYPE_CHECKING:
    from tenants import saml


def allow() -> egress.AllowList:
    return egress.parse_allow_list(settings.EGRESS_ALLOW)


def redirect_uri() -> str:
    return f"{settings.PUBLIC_URL}/accounts/sso/callback/"


def of_organisation(slug: str) -> IdentityProvider:
    """Raises NotFoundError where there is none that is open."""
    rows = IdentityProvider.objects.select_related("owner_tenant")
    found = rows.filter(owner_tenant__slug=slug, owner_tenant__suspended_at=None, enabled=True).first()
    if found is None:
        raise NotFoundError("This organisation has no sign-in of its own.", next_step="Sign in with your password.")
    return found


def of_address(email: str) -> IdentityProvider | None:
    """The provider of the organisation that has proven the address's domain."""
    domain = email.strip().rpartition("@")[2].lower()
    rows = IdentityProvider.objects.select_related("owner_tenant")
    return rows.filter(
        owner_tenant__email_domains__domain=domain,
        owner_tenant__email_domains__proven_at__isnull=False,
        owner_tenant__suspended_at=None,
        enabled=True,
    ).first()


def required_for(user: User) -> IdentityProvider | None:
    """The provider that this person has to sign in at. Operators, and owners with a second factor, have another way: somebody
    must be able to repair a sign-in that broke."""
    found = of_address(user.email)
    if found is None or not found.enforced or user.is_staff:
        return None
    is_owner = Membership.objects.filter(tenant=found.owner_tenant, user=user, role=Role.OWNER).exists()
    return None if is_owner and is_mfa_enabled(user) else found


def described(row: IdentityProvider) -> Provider:
    """With its secret unsealed: for the moment in which it is asked."""
    place = vault.place_of(row, "secret", row.owner_tenant)
    secret = vault.unseal(place, bytes(row.secret)).decode() if row.secret else ""
    return Provider(row.issuer, row.client_id, secret, row.groups_claim)


def described_saml(row: IdentityProvider) -> saml.Provider:
    from tenants import saml  # noqa: PLC0415 - XML is read where an organisation uses it, and nowhere else

    end = "-----END CERTIFICATE-----"
    certificates = tuple(f"{part.strip()}\n{end}\n" for part in row.certificates.split(end) if part.strip())
    return saml.Provider(row.issuer, row.sso_url, certificates, row.groups_claim)


def saml_us() -> saml.Us:
    from tenants import saml  # noqa: PLC0415 - as above

    base = f"{settings.PUBLIC_URL}/accounts/sso/saml"
    return saml.Us(f"{base}/metadata/", f"{base}/answer/")


def way_out(row: IdentityProvider, attempt: Attempt, hint: str) -> str:
    """Where the browser goes to sign in. Raises SignInError."""
    if row.protocol != Protocol.SAML:
        return oidc.authorization_url(described(row), attempt, redirect_uri(), allow(), hint)
    from tenants import saml  # noqa: PLC0415 - as above

    return saml.sign_in_url(described_saml(row), saml_us(), _request_id(attempt), attempt.state, clock.now())


def claims_of_answer(row: IdentityProvider, attempt: Attempt, answer: str) -> Claims:
    """Who it is, by what a SAML provider sent. Raises SignInError, saying what was wrong."""
    if row.protocol != Protocol.SAML:
        raise SignInError("Another kind of provider answered.")
    from tenants import saml  # noqa: PLC0415 - as above

    return saml.claims_of(described_saml(row), saml_us(), _request_id(attempt), answer, clock.now())


def _request_id(attempt: Attempt) -> str:
    """XML wants names that begin with a letter or a line."""
    return f"_{attempt.nonce}"


def enter(provider: IdentityProvider, claims: Claims, *, present: User | None) -> User:
    """The account of whoever signed in, as a member of the organisation. `present` is who is signed in in this browser.

    Raises ForbiddenError, saying what to do, for whom the provider cannot speak or who may not in.
    """
    tenant = provider.owner_tenant
    actor = audit.Party("directory", str(provider.pk), provider.issuer)
    with transaction.atomic():
        row = (
            DirectoryUser.objects.select_related("tenant", "user").filter(tenant=tenant, subject=claims.subject).first()
        )
        row = row or _met(tenant, claims, present)
        _check_account(row)
        if not Membership.objects.filter(tenant=tenant, user=row.user).exists():
            if not provider.joins:
                raise ForbiddenError(
                    f"You are no member of {tenant.name}.",
                    code="tenants.sso_no_member",
                    next_step="Ask an owner or admin of the organisation for an invitation.",
                )
            directory.admit(row, role=provider.default_role, actor=actor)
        if claims.groups is not None:
            directory.apply_groups(row, claims.groups, actor=actor)
        directory.record(
            tenant, "tenants:sso:signed_in", actor, audit.Party("user", str(row.user_id), row.user.email), {}
        )
    return row.user


def _met(tenant: Tenant, claims: Claims, present: User | None) -> DirectoryUser:
    """The first time that the provider speaks of somebody: the account with their address, or one that is made."""
    if not claims.email or claims.email_verified is False:
        raise ForbiddenError(
            "Your organisation's sign-in gives no confirmed mail address.",
            code="tenants.sso_no_address",
            next_step="Ask whoever looks after it to send the claim email.",
        )
    if not directory.owns_address(tenant, claims.email):
        raise ForbiddenError(
            f"{claims.email} is in no domain that {tenant.name} has proven.",
            code="tenants.sso_foreign_address",
            next_step="Sign in with your password, or ask an admin of the organisation to add the domain.",
        )
    user, is_made = directory.account_for(claims.email, claims.name)
    if not is_made and present != user:
        _refuse_shared(tenant, user)
    row = DirectoryUser.objects.select_related("tenant", "user").filter(tenant=tenant, user=user).first()
    row = row or DirectoryUser(tenant=tenant, user=user, user_name=claims.email)
    if row.subject and row.subject != claims.subject:
        raise ForbiddenError(
            "This account belongs to another person of your organisation's directory.",
            code="tenants.sso_other_subject",
            next_step="Ask an admin of the organisation to remove the old one.",
        )
    row.subject = claims.subject
    row.given_name, row.family_name = row.given_name or claims.given_name, row.family_name or claims.family_name
    row.display_name = row.display_name or claims.name
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise ConflictError("The same person is signing in elsewhere.", next_step="Try again.") from error
    return row


def _check_account(row: DirectoryUser) -> None:
    if row.user.is_staff:
        raise ForbiddenError(
            "Operators of the platform sign in with their own password and second factor.",
            code="tenants.sso_operator",
            next_step="Sign in with your password.",
        )
    if not row.active or not row.user.is_active:
        raise ForbiddenError(
            "Your account in this organisation is closed.",
            code="tenants.sso_closed",
            next_step="Ask an admin of the organisation.",
        )


def _refuse_shared(tenant: Tenant, user: User) -> None:
    if Membership.objects.filter(user=user).exclude(tenant=tenant).exists():
        raise ForbiddenError(
            "Your account belongs to other organisations too.",
            code="tenants.sso_shared_account",
            next_step=f"Sign in with your password once, then open the sign-in of {tenant.name} again to connect it.",
        )


def has_domain(tenant: Tenant) -> bool:
    return EmailDomain.objects.filter(tenant=tenant, proven_at__isnull=False).exists()
