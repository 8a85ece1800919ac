"""Teams of an organisation and who is in them."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from audit import services as audit
from core.errors import ConflictError, InvalidError, NotFoundError
from tenants.choices import Right
from tenants.context import tenant_scope
from tenants.models import Membership, Team
from tenants.services import onboarding, revisions, rights


def create(*, actor: Membership, name: str) -> Team:
    """Make a team; its technical name is made of its name. Raises ConflictError when that is taken."""
    rights.require(actor, Right.MANAGE_PEOPLE)
    name = name.strip()
    slug = onboarding.suggest_slug(name)
    if not slug or len(name) > 100:
        raise InvalidError(
            "A team needs a name of at most 100 characters, with a letter or digit from a to z in it.",
            code="tenants.team_name_invalid",
            field="name",
        )
    try:
        with transaction.atomic():
            team = Team.objects.create(tenant=actor.tenant, name=name, slug=slug)
            _record("tenants:team:created", actor, team, {"slug": slug})
    except IntegrityError as error:
        if "slug" not in str(error):
            raise
        raise ConflictError(
            f"There is a team {slug!r} already.",
            code="tenants.team_taken",
            next_step="Choose another name.",
            field="name",
        ) from error
    return team


def add(*, actor: Membership, team_id: UUID, membership_id: UUID) -> Team:
    """Put a member into a team; a second time changes nothing."""
    return _change(actor, team_id, membership_id, joins=True)


def take_out(*, actor: Membership, team_id: UUID, membership_id: UUID) -> Team:
    """Take a member out of a team; a second time changes nothing."""
    return _change(actor, team_id, membership_id, joins=False)


def _change(actor: Membership, team_id: UUID, membership_id: UUID, *, joins: bool) -> Team:
    rights.require(actor, Right.MANAGE_PEOPLE)
    with transaction.atomic():
        team = Team.objects.filter(tenant_id=actor.tenant_id, pk=team_id).first()
        member = Membership.objects.select_related("user").filter(tenant_id=actor.tenant_id, pk=membership_id).first()
        if team is None or member is None:
            raise NotFoundError("There is no such team or member in this organisation.")
        if member.teams.filter(pk=team.pk).exists() == joins:
            return team
        if joins:
            member.teams.add(team)
        else:
            member.teams.remove(team)
        action = "tenants:team:member_added" if joins else "tenants:team:member_removed"
        _record(action, actor, team, {"member": member.user.email})
        revisions.touch(actor.tenant_id)
    return team


def _record(action: str, actor: Membership, team: Team, data: dict[str, object]) -> None:
    with tenant_scope(actor.tenant):
        audit.record(
            action,
            actor=audit.Party("user", str(actor.user_id), actor.user.email),
            target=audit.Party("team", str(team.pk), team.name),
            data=data,
        )
