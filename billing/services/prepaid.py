"""Paying ahead: whether credit bounds what calls may cost, and what is done when it runs low."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.urls import reverse

from audit import services as audit
from billing.core.months import month_of
from billing.models import UNDER_WAY, AttemptState, PaymentAttempt, Prepayment
from billing.selectors import credit
from billing.services import methods, topups
from calls.models import Period, PeriodState
from core import clock, jobs
from core.errors import InvalidError, MarketplaceError
from core.money import Money
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant
from tenants.services import revisions

# Gateways count exactly up to 900,000 (`access.limits.MAX_CAP`): before that, they begin to count again.
_COUNTED_MOST = Decimal(300_000)
_ENDED = (AttemptState.DECLINED, AttemptState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an organisation wants, in minor units. `threshold` None: nothing is done; `amount` None: people are told only."""

    is_prepaid: bool
    threshold: int | None = None
    amount: int | None = None
    daily: int | None = None


def change(tenant: Tenant, terms: Terms, *, actor: audit.Party) -> Prepayment:
    """Say how credit is used, from this moment on. Raises InvalidError for terms that mean nothing."""
    _check(terms)
    with transaction.atomic():
        Prepayment.objects.get_or_create(tenant=tenant)
        row = Prepayment.objects.select_for_update().get(tenant=tenant)
        row.is_prepaid, row.threshold_minor = terms.is_prepaid, terms.threshold
        row.amount_minor, row.daily_minor, row.told_at = terms.amount, terms.daily, None
        row.month = month_of(clock.now())
        row.save()
        revisions.touch(tenant.pk)
        data = {"prepaid": str(terms.is_prepaid).lower(), "below": _text(terms.threshold), "buys": _text(terms.amount)}
        target = audit.Party("organisation", str(tenant.pk), tenant.name)
        audit.record("billing:credit:settings", actor=actor, target=target, data={**data, "daily": _text(terms.daily)})
    return row


def _check(terms: Terms) -> None:
    if terms.threshold is not None and not 0 <= terms.threshold <= settings.TOP_UP_MAX:
        most = Money(settings.TOP_UP_MAX, settings.BILLING_CURRENCY)
        raise InvalidError(f"The threshold is at most {most}.", code="billing.top_up_threshold", field="threshold")
    if terms.amount is None and terms.daily is None:
        return
    if terms.threshold is None:
        raise InvalidError(
            "Say below which amount credit is bought.", code="billing.top_up_threshold", field="threshold"
        )
    if terms.amount is None:
        raise InvalidError("Say how much is bought.", code="billing.top_up_amount", field="amount")
    topups.check_amount(terms.amount)
    most = Money(settings.TOP_UP_DAY_MAX, settings.BILLING_CURRENCY)
    if terms.daily is None or not terms.amount <= terms.daily <= most.minor:
        raise InvalidError(
            f"The most of a day is at least one purchase and at most {most}.",
            code="billing.top_up_daily",
            field="daily",
        )


def take_over(tenant: Tenant, period_id: int) -> None:
    """The invoice of a closed month takes its usage over, in the caller's transaction. What gateways count goes on as it was."""
    with platform_scope():
        row = Prepayment.objects.select_for_update().filter(tenant=tenant).first()
    if row is None:
        return
    with tenant_scope(tenant):
        period = Period.objects.filter(pk=period_id, state=PeriodState.CLOSED).first()
    if period is None:
        return
    exact = credit.unbilled(tenant, [period])
    with platform_scope():
        if row.counted + exact > _COUNTED_MOST:
            Prepayment.objects.filter(pk=row.pk).update(counted=0, epoch=F("epoch") + 1)
        else:
            Prepayment.objects.filter(pk=row.pk).update(counted=F("counted") + exact)
        revisions.touch(tenant.pk)


# -- When it runs low


def sweep() -> int:
    """Have each organisation looked at that pays ahead; how many. A job each: one holds up no other."""
    rows = Prepayment.objects.filter(is_prepaid=True, tenant__suspended_at=None).values_list("tenant_id", flat=True)
    for tenant_id in rows:
        jobs.enqueue("billing.check_credit", tenant_id=str(tenant_id))
    return len(rows)


def look_soon(tenant: Tenant) -> None:
    """Have an organisation looked at before its turn."""
    jobs.enqueue("billing.check_credit", tenant_id=str(tenant.pk))


def check(tenant: Tenant) -> PaymentAttempt | None:
    """Tell people, or buy credit, when an organisation that pays ahead has less than it wants to have. Safe to run twice."""
    row = Prepayment.objects.filter(tenant=tenant, is_prepaid=True).first()
    if row is None:
        return None
    now = clock.now()
    if row.month != month_of(now):
        # What the plan includes of the month that has begun counts from now on.
        Prepayment.objects.filter(pk=row.pk).update(month=month_of(now))
        revisions.touch(tenant.pk)
    available = credit.standing(tenant).available
    if row.threshold_minor is None or available.minor >= row.threshold_minor:
        Prepayment.objects.filter(pk=row.pk).exclude(told_at=None).update(told_at=None)
        return None
    return _replenish(tenant, row, available, now)


def _replenish(tenant: Tenant, row: Prepayment, available: Money, now: datetime) -> PaymentAttempt | None:
    if row.amount_minor is None or row.daily_minor is None:
        _tell(tenant, row, f"{available} are left. Buy credit before calls of tools with a price are refused.")
        return None
    today = credit.top_ups(tenant).filter(created_at__gte=now.replace(hour=0, minute=0, second=0, microsecond=0))
    if (
        today.filter(automatic=True, state__in=_ENDED).exists()
        or credit.top_ups(tenant).filter(state__in=UNDER_WAY).exists()
    ):
        return None
    own = today.filter(automatic=True)
    if (own.aggregate(total=Sum("minor"))["total"] or 0) + row.amount_minor > row.daily_minor:
        _tell(
            tenant, row, f"{available} are left, and no more is bought by itself today. Buy credit, or raise the limit."
        )
        return None
    if methods.default_of(tenant.pk) is None:
        _tell(tenant, row, f"{available} are left, and there is no card to buy credit with. Save a card.")
        return None
    # The same for whoever looks at the same moment: two of them buy once.
    once = f"automatic:{now:%Y-%m-%d}:{own.count()}"
    try:
        return topups.buy(tenant, row.amount_minor, once=once, actor=audit.SYSTEM, automatic=True)
    except MarketplaceError:
        # It is asked about until it is known; a card that was removed meanwhile is found by the next look.
        return None


def _tell(tenant: Tenant, row: Prepayment, body: str) -> None:
    """Once, until there is enough again."""
    if Prepayment.objects.filter(pk=row.pk, told_at=None).update(told_at=clock.now()):
        topups.tell_people(tenant, "Credit runs low", body, reverse("org:credit", kwargs={"org": tenant.slug}))


def _text(minor: int | None) -> str:
    return "" if minor is None else str(Money(minor, settings.BILLING_CURRENCY))
