"""Reading requests of the active organisation: one's own, those to decide, one with its story."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Max, Q, QuerySet

from access.models import AccessRequest, Grant, ProviderReview, RequestEvent, RequestState
from access.models.request import UNDECIDED
from access.requests import routing
from calls.models import Call
from core import clock
from core.errors import NotFoundError
from core.ids import lowest_at
from tenants.choices import Right
from tenants.models import Membership, Tenant, User

UNUSED_AFTER = timedelta(days=30)
_LOOKED_AT = 500


def list_requests() -> QuerySet[AccessRequest]:
    """Every request, the newest first. Never joined with its server, as grants."""
    return AccessRequest.objects.all()


def mine(user: User) -> QuerySet[AccessRequest]:
    return AccessRequest.objects.filter(requester_id=user.pk)


def to_decide(tenant: Tenant, user: User) -> list[AccessRequest]:
    """What waits for a decision that this person may make, the most urgent first."""
    waiting = _waiting_for(user.pk).order_by("due_at")[:_LOOKED_AT]
    return [request for request in waiting if routing.approver_of(tenant, request, user) is not None]


def count_to_decide(user_id: UUID) -> int:
    """For the navigation; as of the last look at who may decide."""
    return _waiting_for(user_id).count()


def _waiting_for(user_id: UUID) -> QuerySet[AccessRequest]:
    return AccessRequest.objects.filter(state=RequestState.OPEN, deciders__contains=[user_id])


def visible(membership: Membership) -> QuerySet[AccessRequest]:
    """Requests that a member may read: all for those who manage access or read the audit log, else one's own."""
    if membership.can(Right.MANAGE_ACCESS) or membership.can(Right.VIEW_AUDIT):
        return list_requests()
    return AccessRequest.objects.filter(
        Q(requester_id=membership.user_id)
        | Q(subject_user=str(membership.user_id))
        | Q(beneficiaries__contains=[membership.user_id])
    )


def get_request(membership: Membership, request_id: UUID) -> AccessRequest:
    """One request for those who may read it, approvers included. Raises NotFoundError for everybody else."""
    found = visible(membership).filter(pk=request_id).first()
    if found is None:
        named = AccessRequest.objects.filter(pk=request_id).first()
        took_part = named is not None and (
            routing.approver_of(membership.tenant, named, membership.user) is not None
            or named.events.filter(actor_id=membership.user_id).exists()
        )
        found = named if took_part else None
    if found is None:
        raise NotFoundError("There is no such request that you may see.")
    return found


def story(request: AccessRequest) -> list[RequestEvent]:
    """What happened to a request, the newest first."""
    return list(request.events.order_by("-created_at", "-id"))


def decision_hours(days: int = 90) -> float | None:
    """How long decisions took in the middle, in hours; None when nothing was decided."""
    since = clock.now() - timedelta(days=days)
    decided = AccessRequest.objects.filter(
        state__in=[RequestState.APPROVED, RequestState.REJECTED], decided_at__gte=since
    ).values_list("created_at", "decided_at")[:1000]
    hours = sorted((end - start) / timedelta(hours=1) for start, end in decided if end)
    return hours[len(hours) // 2] if hours else None


def waiting_for_provider() -> QuerySet[ProviderReview]:
    """What other organisations ask of this one as the owner of restricted servers."""
    return ProviderReview.objects.filter(state="open").order_by("created_at")


def undecided_for(server_id: UUID, user: User) -> AccessRequest | None:
    """The newest request of a person for a server that nobody has decided."""
    return mine(user).filter(server_id=server_id, state__in=UNDECIDED).first()


@dataclass(frozen=True, slots=True)
class Unused:
    """A live right that was given a while ago and is not, or not wholly, used. No `used` tools: not called at all."""

    grant: Grant
    named: tuple[str, ...]
    used: tuple[str, ...]
    last_used_at: datetime | None

    @property
    def spare(self) -> list[str]:
        return sorted(set(self.named) - set(self.used))


def unused_rights() -> list[Unused]:
    """Live rights older than a month that no call of the last month needed, or of which some tools were not called."""
    now = clock.now()
    since = now - UNUSED_AFTER
    live = Grant.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, created_at__lt=since)
    grants = list(live[:_LOOKED_AT])
    rows = (
        Call.objects.filter(grant_id__in=[grant.pk for grant in grants], allowed=True, call_id__gte=lowest_at(since))
        .order_by()
        .values("grant_id", "tool")
        .annotate(number=Count("pk"), last=Max("occurred_at"))
    )
    used: dict[UUID, dict[str, datetime]] = {}
    for row in rows:
        assert row["grant_id"] is not None  # chosen by it
        used.setdefault(row["grant_id"], {})[row["tool"]] = row["last"]
    found = [_unused(grant, used.get(grant.pk, {})) for grant in grants]
    return [each for each in found if each.last_used_at is None or (each.named and each.spare)]


def _unused(grant: Grant, used: dict[str, datetime]) -> Unused:
    named = tuple(grant.tools)
    return Unused(grant, named, tuple(sorted(tool for tool in used if tool)), max(used.values()) if used else None)
