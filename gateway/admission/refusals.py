"""How a refusal says which limit it was, what is left of it, and when to come back."""

from __future__ import annotations

import time
from typing import Any

from access.limits import RATE_SECONDS, LimitKind, LimitRule, LimitScope, Period, from_units
from gateway.admission.budgets import Budget
from gateway.admission.bulkheads import Slots
from gateway.admission.rates import Bucket
from gateway.mcp.errors import RefusedError


def too_fast(bucket: Bucket, now: float) -> RefusedError:
    wait = bucket.wait_s(now)
    rule = bucket.rule
    refusal = RefusedError("limits.rate", f"“{rule.name}” is used up: {rule.amount} requests per {rule.period}.")
    refusal.limit = _limit(rule, rule.amount, max(0, int(bucket.tokens)), wait, RATE_SECONDS[rule.period])
    return refusal.later(wait)


def used_up(budget: Budget, amount: int) -> RefusedError:
    """A quota or cap that has no room for `amount` more."""
    if budget.rule.period is Period.EVER:
        return _credit_used_up(budget, amount)
    rule, left = budget.rule, max(0, min(budget.room + budget.lease, budget.rule.amount - budget.used))
    wait = max(1.0, budget.window.ends_at.timestamp() - time.time())
    whole = (budget.window.ends_at - budget.window.starts_at).total_seconds()
    if rule.kind is LimitKind.QUOTA:
        refusal = RefusedError("limits.quota", f"“{rule.name}” is used up: {rule.amount} tool calls per {rule.period}.")
        refusal.limit = _limit(rule, rule.amount, left, wait, whole)
        return refusal.later(wait)
    limit, rest, price = (f"{from_units(units).normalize():f}" for units in (rule.amount, left, amount))
    refusal = RefusedError(
        "limits.cap",
        f"“{rule.name}” leaves {rest} {rule.currency} of {limit} for this {rule.period}; the call costs {price}.",
    )
    refusal.limit = {**_limit(rule, limit, rest, wait, whole), "price": price, "currency": rule.currency}
    return refusal.later(wait)


def _credit_used_up(budget: Budget, amount: int) -> RefusedError:
    """Nothing comes back with time: somebody has to buy credit."""
    rule, left = budget.rule, max(0, min(budget.room + budget.lease, budget.rule.amount - budget.used))
    rest, price = (f"{from_units(units).normalize():f}" for units in (left, amount))
    refusal = RefusedError(
        "billing.credit_used_up", f"{rest} {rule.currency} of prepaid credit are left; the call costs {price}."
    )
    refusal.limit = {
        "id": rule.limit_id,
        "name": rule.name,
        "scope": str(rule.scope),
        "kind": str(rule.kind),
        "limit": rest,
        "remaining": rest,
        "price": price,
        "currency": rule.currency,
    }
    return refusal


def all_taken(code: str, name: str, scope: LimitScope, slots: Slots) -> RefusedError:
    """So many at once, and all of them are there. Nobody knows when one leaves, so the table's time is what is told."""
    refusal = RefusedError(code)
    refusal.limit = {
        "id": "",
        "name": name,
        "scope": str(scope),
        "kind": "concurrency",
        "limit": slots.limit,
        "remaining": 0,
        "reset_s": refusal.retry_after_s,
    }
    return refusal


def _limit(rule: LimitRule, limit: Any, remaining: Any, reset_s: float, window_s: float) -> dict[str, Any]:
    return {
        "id": rule.limit_id,
        "name": rule.name,
        "scope": str(rule.scope),
        "kind": str(rule.kind),
        "limit": limit,
        "remaining": remaining,
        "period": str(rule.period),
        "window_s": int(window_s),
        "reset_s": round(reset_s, 3),
    }
