"""Signs of fraud: kept with reasons, they hold what is earned until an operator decides. Nothing is refused for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from audit import services as audit
from billing.models import FraudFlag
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from notifications import services as notifications
from tenants.models import Membership, User

_State = FraudFlag.State
_FACTS_MAX = 50


@dataclass(frozen=True, slots=True)
class Found:
    """A sign at what an organisation pays a provider (None: all of them), with what was seen, in words."""

    sign: str
    tenant_id: UUID
    provider_id: UUID | None
    facts: tuple[str, ...]


def keep(signs: Iterable[Found]) -> int:
    """Open a flag for each sign that nobody has decided about; how many were opened. Runs in the platform's scope."""
    return sum(_keep(found) for found in signs)


def _keep(found: Found) -> bool:
    named: dict[str, Any] = {"sign": found.sign, "tenant_id": found.tenant_id, "provider_id": found.provider_id}
    with transaction.atomic():
        flag, made = FraudFlag.objects.select_for_update(of=("self",)).get_or_create(
            **named, defaults={"facts": sorted(found.facts)[:_FACTS_MAX]}
        )
        fresh = set(found.facts) - set(flag.facts)
        if made:
            _tell(flag)
            return True
        if not fresh:
            return False
        flag.facts = sorted({*flag.facts, *fresh})[-_FACTS_MAX:]
        opens = flag.state == _State.CLEARED
        if opens:
            flag.state, flag.found_at = _State.OPEN, clock.now()
            _tell(flag)
        flag.save(update_fields=["facts", "state", "found_at", "updated_at"])
        return opens


def holds(tenant_id: UUID, provider_id: UUID) -> bool:
    """Whether what this organisation paid this provider is not to be released."""
    concerned = Q(provider=None) | Q(provider_id=provider_id)
    return FraudFlag.objects.filter(concerned, tenant_id=tenant_id).exclude(state=_State.CLEARED).exists()


def decide(*, flag_id: UUID, confirmed: bool, reason: str, operator: User) -> FraudFlag:
    """Let what is held go on, or hold it for good. Nobody decides over an organisation of theirs.

    A decision can be corrected by another one. Raises InvalidError without a reason, ConflictError for what is so already.
    """
    reason = " ".join(reason.split())[:300]
    if not reason:
        raise InvalidError("Say why.", code="billing.reason_missing", field="reason")
    state = _State.CONFIRMED if confirmed else _State.CLEARED
    with transaction.atomic():
        rows = FraudFlag.objects.select_for_update(of=("self",)).select_related("tenant", "provider")
        flag = rows.filter(pk=flag_id).first()
        if flag is None:
            raise NotFoundError("There is no such sign.")
        _require_stranger(flag, operator)
        if flag.state == state:
            raise ConflictError(f"It is {flag.get_state_display().lower()} already.", code="billing.fraud_decided")
        flag.state, flag.reason, flag.decided_by, flag.decided_at = state, reason, operator.email, clock.now()
        flag.save(update_fields=["state", "reason", "decided_by", "decided_at", "updated_at"])
        audit.record(
            f"billing:fraud:{state}",
            actor=audit.Party("operator", str(operator.pk), operator.email),
            target=audit.Party("fraud_flag", str(flag.pk), str(flag)),
            data={"sign": flag.sign, "tenant": str(flag.tenant_id), "reason": reason},
        )
    return flag


def _require_stranger(flag: FraudFlag, operator: User) -> None:
    if not operator.is_staff:
        raise ForbiddenError("Operators of the platform decide about this.", code="billing.operators_only")
    concerned = [flag.tenant_id, *([flag.provider.tenant_id] if flag.provider is not None else [])]
    if Membership.objects.filter(user=operator, tenant_id__in=concerned).exists():
        raise ForbiddenError(
            "It concerns an organisation that you are a member of.",
            code="billing.fraud_own",
            next_step="Ask an operator who is not.",
        )


def _tell(flag: FraudFlag) -> None:
    for person in User.objects.filter(is_staff=True, is_active=True):
        notifications.notify(
            kind="billing.fraud_sign",
            title=f"A sign of fraud: {flag.get_sign_display().lower()}",
            body=f"{flag.tenant.name}: what it pays is held until an operator decides.",
            url=f"/operations/billing/fraud/{flag.pk}/",
            recipient_id=person.pk,
        )
