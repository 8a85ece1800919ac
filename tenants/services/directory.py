"""People whom an organisation's directory lets in and puts out: by signing in there, and by SCIM.

A directory speaks of its own organisation alone. It makes accounts for addresses of proven domains; accounts that are there
already stay their owners': no directory renames, deletes or closes one, because it may belong to other organisations as well.
What it takes away is all that the organisation gave: the membership, keys, applications, and every session of the person.
Owners are made by people, and the last one stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.db import IntegrityError, transaction

from audit import services as audit
from core import clock
from core.errors import ConflictError, InvalidError
from core.jobs import on_commit
from tenants.choices import Role
from tenants.context import tenant_scope
from tenants.models import APIKey, DirectoryUser, EmailDomain, GroupRule, Membership, Team, Tenant, User
from tenants.services import consents, revisions, settings

# Of several groups that give roles the one with the most rights counts.
_RANK = {Role.ADMIN: 3, Role.AUDITOR: 2, Role.BILLING: 1, Role.MEMBER: 0}


class ForeignAddressError(InvalidError):
    code = "tenants.directory_foreign_address"
    default_message = "The address is in no domain that the organisation has proven."
    default_next_step = "Prove the domain on the organisation's sign-in page first."


def owns_address(tenant: Tenant, email: str) -> bool:
    domain = email.rpartition("@")[2].lower()
    return EmailDomain.objects.filter(tenant=tenant, domain=domain, proven_at__isnull=False).exists()


def require_address(tenant: Tenant, email: str) -> str:
    """The address in one spelling. Raises ForeignAddressError."""
    address = email.strip().lower()
    if not owns_address(tenant, address):
        raise ForeignAddressError
    return address


def account_for(email: str, name: str) -> tuple[User, bool]:
    """The account with an address, or one without a password; whether it was made. Callers have checked whose address it is.

    An account whose address nobody ever confirmed may be somebody else's trap: its password is taken away.
    """
    user = _account_of(email)
    if user is not None:
        if not EmailAddress.objects.filter(user=user, verified=True).exists():
            _make_safe(user)
        return user, False
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, None, name=name[:150])
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    except IntegrityError as error:
        raise ConflictError("The address is being registered at this moment.", next_step="Try again.") from error
    return user, True


def _account_of(email: str) -> User | None:
    confirmed = EmailAddress.objects.select_related("user").filter(email__iexact=email, verified=True).first()
    return confirmed.user if confirmed is not None else User.objects.filter(email__iexact=email).first()


def _make_safe(user: User) -> None:
    """The address is the organisation's, so whoever it sends is who the account is for."""
    user.set_unusable_password()
    user.save(update_fields=["password", "updated_at"])
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    user_id = user.pk
    on_commit(lambda: end_sessions([user_id]))


def admit(row: DirectoryUser, *, role: str, actor: audit.Party) -> Membership:
    """Make the person a member, if they are none. The same again changes nothing."""
    with transaction.atomic():
        _lock(row.tenant)
        member = Membership.objects.filter(tenant=row.tenant, user=row.user).first()
        if member is None:
            member = Membership.objects.create(tenant=row.tenant, user=row.user, role=role)
            record(row.tenant, "tenants:membership:provisioned", actor, _party(member, row), {"role": role})
            revisions.touch(row.tenant_id)
        if not row.active:
            row.active = True
            row.save(update_fields=["active", "updated_at"])
    return member


def put_out(row: DirectoryUser, *, actor: audit.Party) -> None:
    """End membership, keys, applications and sessions at once. Raises ConflictError for the last owner."""
    with transaction.atomic():
        _lock(row.tenant)
        member = Membership.objects.filter(tenant=row.tenant, user=row.user).first()
        if member is not None:
            _keep_an_owner(member)
            consents.end_for_member(row.tenant, row.user)
            record(row.tenant, "tenants:membership:deprovisioned", actor, _party(member, row), {})
            member.delete()
        keys = APIKey.objects.filter(tenant=row.tenant, created_by=row.user, revoked_at=None)
        gone = list(keys)
        for key in gone:
            record(row.tenant, "tenants:api_key:revoked", actor, audit.Party("api_key", str(key.pk), key.name), {})
        keys.update(revoked_at=clock.now())
        if row.active:
            row.active = False
            row.save(update_fields=["active", "updated_at"])
        revisions.touch(row.tenant_id, ended=[key.pk for key in gone])
        user_id = row.user_id
        on_commit(lambda: end_sessions([user_id]))


def end_sessions(user_ids: Collection[UUID]) -> None:
    """Whoever was signed in has to sign in again."""
    for session in UserSession.objects.filter(user_id__in=list(user_ids)):
        session.end()


def apply_groups(row: DirectoryUser, groups: Iterable[str], *, actor: audit.Party) -> None:
    """Give the teams and the role that the organisation's rules give for these groups, and take those of other rules.

    Without `group_based_permissions`, or without rules, nothing changes. Owners keep their role.
    """
    rules = list(GroupRule.objects.select_related("team").filter(tenant=row.tenant))
    if not rules or not settings.get_bool("group_based_permissions", row.tenant):
        return
    names = set(groups)
    with transaction.atomic():
        _lock(row.tenant)
        member = Membership.objects.filter(tenant=row.tenant, user=row.user).first()
        if member is None:
            return
        meant = {rule.team for rule in rules if rule.team is not None and rule.group in names}
        ruled = {rule.team for rule in rules if rule.team is not None}
        change_teams(member, row, add=meant, remove=ruled - meant, actor=actor)
        _give_role(member, row, [rule.role for rule in rules if rule.role and rule.group in names], rules, actor)


def change_teams(
    member: Membership, row: DirectoryUser, *, add: Iterable[Team], remove: Iterable[Team], actor: audit.Party
) -> None:
    """Put a member into teams and take them out of others; what is so already is left alone."""
    present = set(member.teams.values_list("pk", flat=True))
    joins = [team for team in add if team.pk not in present]
    leaves = [team for team in remove if team.pk in present]
    if not joins and not leaves:
        return
    member.teams.add(*joins)
    member.teams.remove(*leaves)
    data: dict[str, object] = {
        "member": row.user.email,
        "joined": sorted(team.slug for team in joins),
        "left": sorted(team.slug for team in leaves),
    }
    record(row.tenant, "tenants:membership:teams_changed", actor, _party(member, row), data)
    revisions.touch(row.tenant_id)


def _give_role(
    member: Membership, row: DirectoryUser, given: list[str], rules: list[GroupRule], actor: audit.Party
) -> None:
    if member.role == Role.OWNER or not any(rule.role for rule in rules):
        return
    wanted = max(given, key=lambda role: _RANK.get(Role(role), 0), default=str(Role.MEMBER))
    if wanted != member.role:
        before, member.role = member.role, wanted
        member.save(update_fields=["role", "updated_at"])
        data: dict[str, object] = {"from": before, "to": wanted}
        record(row.tenant, "tenants:membership:changed", actor, _party(member, row), data)
        revisions.touch(row.tenant_id)


def record(tenant: Tenant, action: str, actor: audit.Party, target: audit.Party, data: dict[str, object]) -> None:
    with tenant_scope(tenant):
        audit.record(action, actor=actor, target=target, data=data)


def _party(member: Membership, row: DirectoryUser) -> audit.Party:
    return audit.Party("membership", str(member.pk), row.user.email)


def _keep_an_owner(member: Membership) -> None:
    if member.role != Role.OWNER:
        return
    others = Membership.objects.filter(tenant_id=member.tenant_id, role=Role.OWNER, user__is_active=True)
    if not others.exclude(pk=member.pk).exists():
        raise ConflictError(
            "The person is the only owner of the organisation.",
            code="tenants.last_owner",
            next_step="Make somebody else an owner first.",
        )


def _lock(tenant: Tenant) -> None:
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
