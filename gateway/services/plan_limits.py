"""A plan's terms as limits of the gateway. They stand beside what an organisation sets itself, which can only be less."""

from __future__ import annotations

from access.limits import MONEY_SCALE, LimitKind, LimitRule, LimitScope, Period
from billing.models import PlanVersion
from core.money import exponent


def plan_limits(terms: PlanVersion) -> tuple[LimitRule, ...]:
    """The limits of origin "plan": their ids begin with it, so that a change of plan goes on counting."""
    name = terms.plan.name
    rules = [
        _rule("plan-rate", f"Requests of the plan {name}", LimitKind.RATE, terms.requests_per_minute, Period.MINUTE),
        _rule(
            "plan-day", f"Calls of the plan {name}", LimitKind.QUOTA, terms.calls_per_day, Period.DAY, terms.calls_hard
        ),
        _rule(
            "plan-month",
            f"Calls of the plan {name}",
            LimitKind.QUOTA,
            terms.calls_per_month,
            Period.MONTH,
            terms.calls_hard,
        ),
        _spend(terms),
    ]
    return tuple(rule for rule in rules if rule is not None)


def _rule(
    limit_id: str, name: str, kind: LimitKind, amount: int | None, period: Period, hard: bool = True
) -> LimitRule | None:
    if amount is None:
        return None
    return LimitRule(limit_id, name, LimitScope.ORGANISATION, kind, amount, period, hard=hard)


def _spend(terms: PlanVersion) -> LimitRule | None:
    if terms.spend_minor is None:
        return None
    units = terms.spend_minor * MONEY_SCALE // 10 ** exponent(terms.currency)
    name = f"Spending of the plan {terms.plan.name}"
    return LimitRule(
        "plan-spend",
        name,
        LimitScope.ORGANISATION,
        LimitKind.CAP,
        units,
        Period.MONTH,
        currency=terms.currency,
    )
