"""Approving and rejecting single calls, and what time does to them. Runs inside the organisation's schema."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from access.approvals import telling
from access.models import ApprovalState, CallApproval
from access.models.approval import OPEN
from audit import services as audit
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tenants.choices import Right
from tenants.models import Membership
from tenants.services import vault
from tenants.services.rights import require

_BATCH = 500


def visible(member: Membership) -> QuerySet[CallApproval]:
    """Those who manage access see every call that waits or waited; others those of their own keys."""
    rows = CallApproval.objects.all()
    return rows if member.can(Right.MANAGE_ACCESS) else rows.filter(barred__contains=[member.user_id])


def waiting_for(member: Membership) -> QuerySet[CallApproval]:
    """What this person may decide at this moment."""
    if not member.can(Right.MANAGE_ACCESS):
        return CallApproval.objects.none()
    rows = CallApproval.objects.filter(state=ApprovalState.WAITING, expires_at__gt=clock.now())
    return rows.exclude(barred__contains=[member.user_id])


def get(member: Membership, approval_id: UUID) -> CallApproval:
    """Raises NotFoundError."""
    row = visible(member).filter(pk=approval_id).first()
    if row is None:
        raise NotFoundError("There is no such call in this organisation.")
    return row


def may_decide(member: Membership, row: CallApproval) -> bool:
    return row.stands == ApprovalState.WAITING and waiting_for(member).filter(pk=row.pk).exists()


def arguments_of(member: Membership, row: CallApproval) -> bytes | None:
    """The canonical JSON of the arguments; None once they are erased."""
    if not row.arguments:
        return None
    return vault.unseal(vault.place_of(row, "arguments", member.tenant), bytes(row.arguments))


def approve(*, member: Membership, approval_id: UUID, binding: str, comment: str = "") -> CallApproval:
    """Let the call pass once. `binding` is that of what the person saw. Raises ConflictError, ForbiddenError, NotFoundError."""
    return _decide(member, approval_id, binding, ApprovalState.APPROVED, comment)


def reject(*, member: Membership, approval_id: UUID, binding: str, comment: str) -> CallApproval:
    """Refuse the call; equal calls are refused until its time is over. Raises InvalidError without a reason."""
    if not comment.strip():
        raise InvalidError("Say why, so that the agent's people know.", field="comment")
    return _decide(member, approval_id, binding, ApprovalState.REJECTED, comment)


def _decide(member: Membership, approval_id: UUID, binding: str, state: ApprovalState, comment: str) -> CallApproval:
    require(member, Right.MANAGE_ACCESS)
    now = clock.now()
    with transaction.atomic():
        row = CallApproval.objects.select_for_update().filter(pk=approval_id).first()
        if row is None:
            raise NotFoundError("There is no such call in this organisation.")
        if member.user_id in row.barred:
            raise ForbiddenError(
                "Nobody decides about a call of their own key.", next_step="Ask a colleague who manages access."
            )
        if row.stands != ApprovalState.WAITING:
            raise ConflictError(
                f"This call is {row.stands}.", next_step="The agent asks again when it sends the call again."
            )
        if row.binding != binding:
            raise ConflictError("This is another call than the one that you saw.", next_step="Look at it again.")
        row.state, row.decided_at, row.comment = state, now, comment.strip()[:1000]
        row.decided_by_id, row.decided_by_label = member.user_id, member.user.email[:254]
        # From the decision on the caller has as long again: to use it, or to be told that it was refused.
        row.expires_at = now + timedelta(seconds=settings.APPROVAL_LIFETIME_S)
        row.save()
        audit.record(
            f"access:call:{state}",
            actor=audit.Party("user", str(member.user_id), member.user.email),
            target=audit.Party("server", str(row.server_id), row.server_name),
            data={
                "approval": str(row.pk),
                "tool": row.tool,
                "arguments_digest": row.arguments_digest,
                "key": row.key_label,
            },
        )
        telling.emit(member.tenant, row, str(state))
    return row


def keep() -> None:
    """End what nobody decided or used in time, and erase arguments whose time is over. Safe to run twice."""
    now = clock.now()
    over = CallApproval.objects.filter(state__in=OPEN, expires_at__lte=now).values_list("pk", flat=True)[:_BATCH]
    CallApproval.objects.filter(pk__in=list(over), state__in=OPEN, expires_at__lte=now).update(
        state=ApprovalState.EXPIRED, updated_at=now
    )
    horizon = now - timedelta(hours=settings.APPROVAL_ARGUMENTS_KEPT_H)
    done = CallApproval.objects.filter(~Q(state__in=OPEN), ~Q(arguments=b""), updated_at__lte=horizon)
    CallApproval.objects.filter(pk__in=list(done.values_list("pk", flat=True)[:_BATCH])).update(arguments=b"")
