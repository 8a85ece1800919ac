"""Inviting people by email.

The token is in the mail only; its digest finds the invitation. It works once, for the person whose verified address was
invited, until it expires or is withdrawn.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from allauth.account.models import EmailAddress
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.urls import reverse

from audit import services as audit
from core import clock, keys
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from notifications import services as notifications
from tenants.choices import Right, Role
from tenants.context import tenant_scope
from tenants.models import Invitation, Membership, Tenant, User
from tenants.services import memberships, rights, settings

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class SentInvitation:
    """An invitation and its token: the only moment, beside the mail, at which the token exists."""

    invitation: Invitation
    token: str


def invite(*, actor: Membership, email: str, role: str) -> SentInvitation:
    """Invite an address and mail the link.

    Raises ForbiddenError without the right (or for an owner's role without being one), InvalidError for a bad address,
    ConflictError when the person is a member or has an open invitation.
    """
    rights.require(actor, Right.MANAGE_PEOPLE)
    memberships.check_role(role)
    if role not in memberships.assignable_roles(actor):
        raise ForbiddenError(
            "Only an owner can invite an owner.",
            code="tenants.owner_only",
            next_step="Choose another role.",
            field="role",
        )
    email = _address(email)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with transaction.atomic():
        # One invitation at a time per organisation: the check below and the insert see the same rows.
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        _check_not_known(tenant, email)
        invitation = Invitation.objects.create(
            tenant=tenant,
            email=email,
            role=role,
            invited_by=actor.user,
            token_digest=_digest(token),
            expires_at=clock.now() + timedelta(days=settings.get_int("invitation_lifetime_days", tenant)),
        )
        with tenant_scope(tenant):
            _record("tenants:invitation:sent", actor.user, invitation, {"role": role})
            _mail(invitation, actor.user, token)
    return SentInvitation(invitation, token)


def withdraw(*, actor: Membership, invitation_id: UUID) -> Invitation:
    """Take an invitation back; a second time changes nothing. Raises ConflictError when it was accepted."""
    rights.require(actor, Right.MANAGE_PEOPLE)
    with transaction.atomic():
        invitation = Invitation.objects.select_for_update().filter(tenant_id=actor.tenant_id, pk=invitation_id).first()
        if invitation is None:
            raise NotFoundError("There is no such invitation in this organisation.")
        if invitation.accepted_at is not None:
            raise ConflictError(
                f"{invitation.email} has accepted the invitation.",
                code="tenants.invitation_accepted",
                next_step="Remove the member instead.",
            )
        if invitation.withdrawn_at is None:
            _withdraw(invitation)
            with tenant_scope(actor.tenant):
                _record("tenants:invitation:withdrawn", actor.user, invitation, {})
    return invitation


def get_by_token(token: str) -> Invitation:
    """The invitation of a link, in whatever state it is. Raises NotFoundError for a token that was never given out."""
    invitation = (
        Invitation.objects.select_related("tenant", "invited_by")
        .filter(token_digest=_digest(token), tenant__suspended_at=None)
        .first()
    )
    if invitation is None:
        raise NotFoundError(
            "This invitation link is not known.",
            code="tenants.invitation_unknown",
            next_step="Check that the whole link was copied, or ask for another invitation.",
        )
    return invitation


def obstacle(invitation: Invitation, user: User | None) -> str:
    """Why this person cannot accept: accepted, withdrawn, expired, anonymous, foreign, unverified; empty when they can."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.withdrawn_at is not None:
        return "withdrawn"
    if invitation.expires_at <= clock.now():
        return "expired"
    if user is None:
        return "anonymous"
    verified = EmailAddress.objects.filter(user=user, email__iexact=invitation.email).values_list("verified", flat=True)
    if not verified:
        return "foreign"
    return "" if any(verified) else "unverified"


def accept(*, token: str, user: User) -> Membership:
    """Join the organisation that invited one of the person's verified addresses.

    Raises ConflictError when the invitation is used, withdrawn or expired, ForbiddenError for somebody else's.
    """
    with transaction.atomic():
        invitation = Invitation.objects.select_for_update().get(pk=get_by_token(token).pk)
        _refuse(obstacle(invitation, user), invitation)
        invitation.accepted_at = clock.now()
        invitation.save(update_fields=["accepted_at", "updated_at"])
        member = memberships.join(tenant=invitation.tenant, user=user, role=invitation.role)
        with tenant_scope(invitation.tenant):
            _record("tenants:invitation:accepted", user, invitation, {})
            if invitation.invited_by_id:
                notifications.notify(
                    kind="tenants.invitation_accepted",
                    title=f"{user} joined {invitation.tenant.name}",
                    body=f"{user.email} accepted your invitation and is {_article(invitation.role)}.",
                    url=reverse("org:people", args=[invitation.tenant.slug]),
                    recipient_id=invitation.invited_by_id,
                )
    return member


def _refuse(why: str, invitation: Invitation) -> None:
    if why in {"accepted", "withdrawn", "expired"}:
        raise ConflictError(
            f"This invitation was {why}." if why != "expired" else "This invitation has expired.",
            code=f"tenants.invitation_{why}",
            next_step="Ask for another invitation.",
        )
    if why:
        raise ForbiddenError(
            f"This invitation is for {invitation.email}.",
            code="tenants.invitation_foreign",
            next_step="Sign in with that address, and verify it first.",
        )


def _address(text: str) -> str:
    text = text.strip().lower()
    try:
        validate_email(text)
    except ValidationError as error:
        raise InvalidError("Enter an email address.", code="tenants.email_invalid", field="email") from error
    return text


def _check_not_known(tenant: Tenant, email: str) -> None:
    members = Membership.objects.filter(tenant=tenant)
    addresses = EmailAddress.objects.filter(email__iexact=email, verified=True).values("user_id")
    if members.filter(user__email__iexact=email).exists() or members.filter(user_id__in=addresses).exists():
        raise ConflictError(
            f"{email} is a member already.",
            code="tenants.member_already",
            next_step="Change the role in the list of people.",
            field="email",
        )
    waiting = Invitation.objects.filter(tenant=tenant, email__iexact=email, accepted_at=None, withdrawn_at=None).first()
    if waiting is None:
        return
    if waiting.expires_at > clock.now():
        raise ConflictError(
            f"{email} has an open invitation.",
            code="tenants.invitation_open",
            next_step="Withdraw it first to send another.",
            field="email",
        )
    # An expired one makes room for the next.
    _withdraw(waiting)


def _withdraw(invitation: Invitation) -> None:
    invitation.withdrawn_at = clock.now()
    invitation.save(update_fields=["withdrawn_at", "updated_at"])


def _digest(token: str) -> bytes:
    return keys.digest(f"invitation:{token}", django_settings.KEY_PEPPER)


def _mail(invitation: Invitation, inviter: User, token: str) -> None:
    """The link goes to the address only: an entry without a recipient shows up in nobody's inbox."""
    notifications.notify(
        kind="tenants.invitation",
        title=f"{inviter} invites you to {invitation.tenant.name}",
        body=(
            f"{inviter} ({inviter.email}) invites you to join {invitation.tenant.name} on the MCP Marketplace as"
            f" {_article(invitation.role)}.\n\nThe link works once, for {invitation.email}, until"
            f" {invitation.expires_at:%-d %B %Y, %H:%M} UTC. If you did not expect this, ignore it."
        ),
        url=reverse("invitation-accept", args=[token]),
        email=invitation.email,
    )


def _article(role: str) -> str:
    label = Role(role).label.lower()
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def _record(action: str, actor: User, invitation: Invitation, data: dict[str, object]) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email),
        target=audit.Party("invitation", str(invitation.pk), invitation.email),
        data=data,
    )
