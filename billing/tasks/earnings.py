"""Jobs of the ledger and of what providers earn. Each looks for what is due, so that a missed run is made up for by the next."""

from __future__ import annotations

from billing.services import earnings, ledger, payouts, plan_revenue, unbilled
from core.jobs import task


@task("billing.release_earnings", time_limit=240)
def release_earnings() -> None:
    """Plan the releases of what was paid, and release what has been held back long enough."""
    earnings.plan_due()
    earnings.release_due()


@task("billing.earn_plans", time_limit=240)
def earn_plans() -> None:
    """Book as revenue what was billed ahead for time that is over."""
    plan_revenue.earn_due()


@task("billing.count_unbilled", time_limit=240)
def count_unbilled() -> None:
    """Count what providers have earned that is not billed yet."""
    unbilled.count()


@task("billing.build_payouts", time_limit=240)
def build_payouts() -> None:
    """Put the payouts of the month together."""
    payouts.build()


@task("billing.send_payouts", time_limit=240)
def send_payouts() -> None:
    """Send what is approved, and ask again about what nobody saw the outcome of."""
    payouts.send_approved()


@task("billing.poll_payouts", time_limit=240)
def poll_payouts() -> None:
    """Ask the rails what became of payouts."""
    payouts.poll_sent()


@task("billing.snapshot_ledger", time_limit=240)
def snapshot_ledger() -> None:
    """Sum up the ledger, so that balances stay cheap to read."""
    ledger.snapshot()
