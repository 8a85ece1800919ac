"""The organisation's rules on who decides which requests."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from access.models import ApprovalRule
from access.requests.routing import check_stages
from access.types import SideEffect, Trust
from audit import services as audit
from catalog.models import Server
from core.errors import InvalidError, NotFoundError
from tenants.choices import Right
from tenants.models import Membership
from tenants.services import rights

RULES_MAX = 100
HOURS_MAX = 24 * 30


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule as a form says it. `stages` are lists of groups, in their order."""

    name: str
    stages: list[list[str]]
    server: Server | None = None
    min_trust: str = "low"
    side_effect: str = ""
    target_h: int = 24
    escalate_h: int = 24


def add(*, actor: Membership, wanted: Wanted) -> ApprovalRule:
    """A rule after those that are there: the first that fits a request decides its route. Requests that wait keep theirs."""
    rights.require(actor, Right.MANAGE_ACCESS)
    if not wanted.name.strip():
        raise InvalidError("Name the rule.", field="name")
    if wanted.min_trust not in {trust.word for trust in Trust}:
        raise InvalidError("Trust is low, medium or high.", field="min_trust")
    if wanted.side_effect and wanted.side_effect not in set(SideEffect):
        raise InvalidError("Choose read, write or destructive, or leave it open.", field="side_effect")
    for field in ("target_h", "escalate_h"):
        if not 1 <= getattr(wanted, field) <= HOURS_MAX:
            raise InvalidError(f"Use 1 to {HOURS_MAX} hours.", field=field)
    stages = check_stages(actor.tenant, wanted.stages)
    with transaction.atomic():
        if ApprovalRule.objects.count() >= RULES_MAX:
            raise InvalidError(f"There are {RULES_MAX} rules; remove one first.", field="name")
        last = ApprovalRule.objects.aggregate(last=Max("position"))["last"]
        rule = ApprovalRule.objects.create(
            name=wanted.name.strip()[:100],
            position=0 if last is None else last + 1,
            server=wanted.server,
            min_trust=wanted.min_trust,
            side_effect=wanted.side_effect,
            stages=stages,
            target_h=wanted.target_h,
            escalate_h=wanted.escalate_h,
        )
        _record("access:approval_rule:added", actor, rule)
    return rule


def remove(*, actor: Membership, rule_id: UUID) -> None:
    rights.require(actor, Right.MANAGE_ACCESS)
    with transaction.atomic():
        rule = ApprovalRule.objects.filter(pk=rule_id).first()
        if rule is None:
            raise NotFoundError("There is no such rule in this organisation.")
        _record("access:approval_rule:removed", actor, rule)
        rule.delete()


def _record(action: str, actor: Membership, rule: ApprovalRule) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.user_id), actor.user.email),
        target=audit.Party("approval_rule", str(rule.pk), rule.name),
        data={"steps": [stage["label"] for stage in rule.stages], "trust": rule.min_trust},
    )
