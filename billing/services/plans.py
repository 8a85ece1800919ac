"""Taking, changing and leaving plans. Going up holds at once, going down and leaving at the end of the month (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from audit import services as audit
from billing.core.charges import PlanCharge, Stretch, of_month
from billing.core.proration import portion
from billing.models import Plan, PlanVersion, Subscription
from billing.selectors import plans as selectors
from core import clock, jobs
from core.errors import ConflictError, ForbiddenError, NotFoundError
from tenants.models import Tenant
from tenants.services import revisions

_LOCK_CLASS = 83


@dataclass(frozen=True, slots=True)
class Step:
    """What taking a plan means: from when it holds, what of this month is charged, and what each month costs after."""

    terms: PlanVersion
    holds_from: datetime
    now_minor: int
    month_ends_at: datetime

    @property
    def is_at_once(self) -> bool:
        return self.holds_from < self.month_ends_at


def foresee(tenant: Tenant, plan: Plan, *, by_operator: bool = False) -> Step:
    """Raises ForbiddenError for a plan that operators agree, ConflictError for the one that holds already."""
    if not plan.self_service and not by_operator:
        raise ForbiddenError(
            f"{plan.name} is agreed with the operators of the platform.",
            code="billing.plan_by_contract",
            next_step="Ask them; they set it for your organisation.",
        )
    moment = clock.now()
    terms = selectors.terms_for(plan, tenant.pk, moment)
    if terms is None:
        raise NotFoundError("This plan has no terms yet.")
    held = selectors.subscription(tenant.pk, moment)
    present = held.plan_version if held is not None else selectors.default_terms(moment)
    month = month_of(moment)
    if held is not None and held.plan_version_id == terms.pk and held.ends_at is None:
        raise ConflictError(f"{plan.name} is your plan already.", code="billing.plan_unchanged")
    if held is not None and present is not None and _is_down(present, terms):
        return Step(terms, month[1], 0, month[1])
    rest = (moment, month[1])
    paid = portion(present.price_minor, month, rest) if held is not None and present is not None else 0
    return Step(terms, moment, max(0, portion(terms.price_minor, month, rest) - paid), month[1])


@transaction.atomic
def subscribe(*, tenant: Tenant, plan: Plan, actor: audit.Party, by_operator: bool = False) -> Subscription:
    """Put an organisation on a plan: up at once, down at the end of the month; what was planned before is dropped.

    Raises ForbiddenError, ConflictError, NotFoundError as `foresee` does.
    """
    lock(tenant)
    step = foresee(tenant, plan, by_operator=by_operator)
    held = selectors.subscription(tenant.pk)
    _drop_planned(tenant)
    if held is not None and held.plan_version_id == step.terms.pk:
        # It was to end, and goes on instead.
        Subscription.objects.filter(pk=held.pk).update(ends_at=None)
        held.ends_at = None
        _record(tenant, actor, "billing:plan:kept", held)
        return held
    if held is not None:
        Subscription.objects.filter(pk=held.pk).update(ends_at=step.holds_from)
    chosen = Subscription.objects.create(
        tenant=tenant,
        plan_version=step.terms,
        starts_at=step.holds_from,
        applied_at=clock.now() if step.is_at_once else None,
        created_by=actor.label[:254],
    )
    _record(tenant, actor, "billing:plan:chosen", chosen)
    if step.is_at_once and step.now_minor:
        jobs.enqueue("billing.invoice_upgrade", subscription_id=str(chosen.pk))
    return chosen


change = subscribe


@transaction.atomic
def cancel(*, tenant: Tenant, actor: audit.Party) -> Subscription:
    """End the subscription with the month. Raises ConflictError when there is none, or when it ends already."""
    lock(tenant)
    held = selectors.subscription(tenant.pk)
    if held is None or (held.ends_at is not None and selectors.upcoming(tenant.pk) is None):
        raise ConflictError("There is no subscription that goes on.", code="billing.plan_none")
    _drop_planned(tenant)
    held.ends_at = month_of(clock.now())[1]
    Subscription.objects.filter(pk=held.pk).update(ends_at=held.ends_at)
    _record(tenant, actor, "billing:plan:cancelled", held)
    return held


def charges(tenant: Tenant, start: datetime, end: datetime) -> list[PlanCharge]:
    """What the invoice of the month `[start, end)` says of plans: changes within it, and the month that follows in advance.

    It depends on what held until `end` alone, so that asking again later gives the same lines.
    """
    stretches = [
        Stretch(
            row.pk,
            row.plan_version_id,
            row.plan_version.plan.name,
            row.plan_version.price_minor,
            row.starts_at,
            row.ends_at,
        )
        for row in selectors.stretches(tenant.pk)
    ]
    return of_month(stretches, (start, end), month_of(end))


def included_credit(tenant: Tenant, start: datetime, end: datetime) -> int:
    """How much of the usage of the month `[start, end)` the plans give (minor units): by the share of it that each held."""
    return sum(
        portion(
            row.plan_version.included_minor, (start, end), (max(row.starts_at, start), min(row.ends_at or end, end))
        )
        for row in selectors.stretches(tenant.pk).filter(starts_at__lt=end)
    )


def apply_due() -> int:
    """Tell gateways of plans that began or ended with time. Safe to run twice. Returns how many."""
    moment, count = clock.now(), 0
    for row in selectors.due_to_apply(moment):
        with transaction.atomic():
            Subscription.objects.filter(pk=row.pk).update(applied_at=moment)
            revisions.touch(row.tenant_id)
        count += 1
    return count


def _is_down(present: PlanVersion, terms: PlanVersion) -> bool:
    """To a smaller plan, or to cheaper terms of the same one."""
    if present.plan_id == terms.plan_id:
        return terms.price_minor < present.price_minor
    return terms.plan.rank < present.plan.rank


def _drop_planned(tenant: Tenant) -> None:
    Subscription.objects.filter(tenant=tenant, starts_at__gt=clock.now()).delete()


def month_of(moment: datetime) -> tuple[datetime, datetime]:
    """The month in UTC that a moment falls in, half-open."""
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, (first + timedelta(days=32)).replace(day=1)


def lock(tenant: Tenant) -> None:
    """Plans of one organisation change one after the other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, str(tenant.pk)])


def _record(tenant: Tenant, actor: audit.Party, action: str, chosen: Subscription) -> None:
    data = {
        "plan": chosen.plan_version.plan.slug,
        "from": chosen.starts_at.isoformat(),
        "until": chosen.ends_at.isoformat() if chosen.ends_at else "",
    }
    audit.record(action, actor=actor, target=audit.Party("organisation", str(tenant.pk), tenant.name), data=data)
    revisions.touch(tenant.pk)
