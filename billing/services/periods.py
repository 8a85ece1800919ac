"""The turn of months: each step of one organisation is a short transaction of its own, and any may be repeated.

A step that was interrupted is found again by its state, so a missed hour heals with the next.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from billing.models import JobRun
from calls.models import Period, PeriodState
from calls.services import periods, usage_days
from core import failpoints
from tenants.models import Tenant

CLOSED = "billing.close_periods"


def grace() -> timedelta:
    """How long after its end a month still takes calls that were under way or waited on a disk."""
    return timedelta(hours=settings.BILLING_CLOSE_GRACE_HOURS)


def turn(tenant: Tenant) -> None:
    """Open months ahead and close those that are over. Inside the organisation's scope."""
    periods.open_ahead()
    periods.start_closing()
    for period in periods.due(grace()):
        close(tenant, period)


def close(tenant: Tenant, period: Period) -> None:
    """Seal a period, once. Rating and the invoice come after, because the writers of calls wait while it lasts."""
    with transaction.atomic():
        periods.close(period.pk)
        JobRun.objects.get_or_create(job=CLOSED, tenant=tenant, period_id=period.pk, key="")
        if failpoints.armed:
            failpoints.reach("before_close_commit")
    if failpoints.armed:
        failpoints.reach("after_close")
    usage_days.refresh(period)


def rate_days() -> None:
    """Make the sums by day of periods that still change, and of those that wait for their invoice."""
    for period in Period.objects.exclude(state=PeriodState.INVOICED).order_by("id"):
        usage_days.refresh(period)
