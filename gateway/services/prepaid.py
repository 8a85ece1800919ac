"""Prepaid credit as a limit of the gateway: a cap on what calls cost in all, as much as the credit covers.

It counts on when credit is bought or a month is invoiced (`billing.selectors.credit`), so that no moment lets more pass.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from django.conf import settings

from access.limits import MAX_CAP, MONEY_SCALE, LimitKind, LimitRule, LimitScope, Period
from billing.selectors import credit
from tenants.models import Tenant

_PREFIX = "prepaid-"


def prepaid_limits(tenant: Tenant) -> tuple[LimitRule, ...]:
    """The limit of an organisation that pays ahead; nothing for one that is invoiced."""
    terms = credit.prepayment(tenant.pk)
    if not terms.is_prepaid:
        return ()
    units = _units(credit.allowance(tenant), ROUND_FLOOR)
    return (
        LimitRule(
            f"{_PREFIX}{terms.epoch}",
            "Prepaid credit",
            LimitScope.ORGANISATION,
            LimitKind.CAP,
            min(units, MAX_CAP * MONEY_SCALE),
            Period.EVER,
            currency=settings.BILLING_CURRENCY,
        ),
    )


def is_prepaid(rule: LimitRule) -> bool:
    return rule.period is Period.EVER and rule.limit_id.startswith(_PREFIX)


def spent(tenant: Tenant) -> int:
    """What calls have cost since the count began, in units of money."""
    return _units(credit.counted_and_unbilled(tenant), ROUND_CEILING)


def _units(amount: Decimal, rounding: str) -> int:
    return int((amount * MONEY_SCALE).to_integral_value(rounding))
