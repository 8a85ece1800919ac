"""Reviews of rights: every live grant is confirmed or let go of by a date, by somebody whom it is not for."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from access.models import Campaign, CampaignItem, Grant, ReviewOutcome
from access.requests import routing
from access.services import grants
from audit import services as audit
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from notifications import services as notifications
from tenants.choices import Right
from tenants.models import Membership, Tenant, User
from tenants.selectors.people import holders
from tenants.services import rights


def open_campaign(
    *, actor: Membership, name: str, due_at: datetime, revoke_unanswered: bool = False, server_id: UUID | None = None
) -> Campaign:
    """Ask for a review of every live grant, or of those on one server. Raises InvalidError when there is none."""
    rights.require(actor, Right.MANAGE_ACCESS)
    if not name.strip():
        raise InvalidError("Name the review.", field="name")
    if due_at <= clock.now():
        raise InvalidError("Choose a day in the future.", field="due_at")
    with transaction.atomic():
        live = Grant.objects.filter(Q(expires_at=None) | Q(expires_at__gt=clock.now()), revoked_at=None)
        wanted = list(live.filter(server_id=server_id) if server_id else live)
        if not wanted:
            raise InvalidError("There is no live access to review.", code="access.nothing_to_review", field="server")
        campaign = Campaign.objects.create(
            name=name.strip()[:100],
            due_at=due_at,
            revoke_unanswered=revoke_unanswered,
            opened_by_id=actor.user_id,
            opened_by_label=actor.user.email,
        )
        CampaignItem.objects.bulk_create(CampaignItem(campaign=campaign, grant=grant) for grant in wanted)
        _record("access:campaign:opened", actor.user, campaign, {"grants": len(wanted)})
        _tell(actor.tenant, campaign, len(wanted))
    return campaign


def decide(*, actor: Membership, item_id: UUID, keep: bool, comment: str = "") -> CampaignItem:
    """Confirm a grant, or let go of it, which revokes it. Nobody confirms what is for themselves."""
    rights.require(actor, Right.MANAGE_ACCESS)
    with transaction.atomic():
        item = CampaignItem.objects.select_for_update().filter(pk=item_id).first()
        if item is None:
            raise NotFoundError("There is no such right in a review of this organisation.")
        campaign, grant = Campaign.objects.get(pk=item.campaign_id), Grant.objects.get(pk=item.grant_id)
        if campaign.closed_at is not None or item.outcome != ReviewOutcome.PENDING:
            raise ConflictError("This is decided, or the review is over.", code="access.review_over")
        if keep and actor.user_id in beneficiaries_of(actor.tenant, grant):
            raise ForbiddenError(
                "Nobody confirms access that is for themselves.",
                code="access.four_eyes",
                next_step="Another person who may manage access has to confirm it.",
            )
        item.outcome = ReviewOutcome.KEPT if keep else ReviewOutcome.REVOKED
        item.decided_by_id, item.decided_by_label = actor.user_id, actor.user.email
        item.decided_at, item.comment = clock.now(), comment.strip()[:500]
        item.save()
        _record(f"access:campaign:{item.outcome}", actor.user, campaign, {"grant": str(grant.pk)})
        if not keep:
            grants.revoke(tenant=actor.tenant, grant_id=grant.pk, actor=actor.user)
    return item


def close_due(tenant: Tenant) -> int:
    """End the reviews whose date has come; what nobody confirmed ends when the review says so. How many reviews."""
    due = Campaign.objects.filter(closed_at=None, due_at__lte=clock.now()).values_list("pk", flat=True)
    return sum(_close(tenant, pk) for pk in list(due))


def beneficiaries_of(tenant: Tenant, grant: Grant) -> set[UUID]:
    return routing.beneficiaries(
        tenant,
        user=grant.subject_user,
        team=grant.subject_team,
        key=grant.subject_key,
    )


def _close(tenant: Tenant, campaign_id: UUID) -> bool:
    with transaction.atomic():
        campaign = Campaign.objects.select_for_update(skip_locked=True).filter(pk=campaign_id, closed_at=None).first()
        if campaign is None:
            return False
        campaign.closed_at = clock.now()
        campaign.save(update_fields=["closed_at", "updated_at"])
        pending = list(campaign.items.filter(outcome=ReviewOutcome.PENDING))
        campaign.items.filter(outcome=ReviewOutcome.PENDING).update(
            outcome=ReviewOutcome.LAPSED, decided_at=campaign.closed_at
        )
        if campaign.revoke_unanswered:
            for item in pending:
                grants.revoke(tenant=tenant, grant_id=item.grant_id, actor=None)
        _record("access:campaign:closed", None, campaign, {"unanswered": len(pending)})
        return True


def _tell(tenant: Tenant, campaign: Campaign, number: int) -> None:
    for person in holders(tenant, Right.MANAGE_ACCESS):
        notifications.notify(
            kind="access.campaign",
            title=f"Please review who has access: {campaign.name}",
            body=f"{number} right{'' if number == 1 else 's'} to confirm or to let go of until"
            f" {campaign.due_at:%-d %B %Y}."
            + (" What nobody confirms by then is revoked." if campaign.revoke_unanswered else ""),
            url=reverse("org:review", args=[tenant.slug, campaign.pk]),
            recipient_id=person.pk,
            email=person.email,
        )


def _record(action: str, actor: User | None, campaign: Campaign, data: dict[str, object]) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        target=audit.Party("campaign", str(campaign.pk), campaign.name),
        data=data,
    )
