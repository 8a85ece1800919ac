"""Jobs of payments. Each may run twice; what a lost job leaves is found by the sweeps."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings

from billing.services import connecting, dunning, inbox, payments, prepaid, refunds, topups
from core import jobs
from core.jobs import task
from tenants.context import platform_scope
from tenants.jobs import live_tenant


@task("billing.collect_invoice", max_retries=5)
def collect_invoice(*, invoice_id: str) -> None:
    with platform_scope():
        dunning.dun(UUID(invoice_id))


@task("billing.dun_invoice", max_retries=3)
def dun_invoice(*, invoice_id: str) -> None:
    with platform_scope():
        dunning.dun(UUID(invoice_id))


@task("billing.resolve_attempt", max_retries=3)
def resolve_attempt(*, attempt_id: str) -> None:
    with platform_scope():
        payments.resolve(UUID(attempt_id))


@task("billing.resolve_refund", max_retries=3)
def resolve_refund(*, refund_id: str) -> None:
    with platform_scope():
        refunds.resolve(UUID(refund_id))


@task("billing.resolve_dispute", max_retries=3)
def resolve_dispute(*, dispute_id: str) -> None:
    with platform_scope():
        refunds.resolve_dispute(UUID(dispute_id))


@task("billing.refresh_account", max_retries=3)
def refresh_account(*, account_id: str) -> None:
    with platform_scope():
        connecting.ask(UUID(account_id))


@task("billing.ask_again", max_retries=0)
def ask_again() -> None:
    """What is not final at the provider, and whom it pays: asked about each day, because its news may be lost."""
    with platform_scope():
        if settings.STRIPE_KEY:
            refunds.ask_again()
            connecting.sweep()


@task("billing.handle_webhook", max_retries=0)
def handle_webhook(*, receipt_id: str) -> None:
    with platform_scope():
        inbox.handle(UUID(receipt_id))


@task("billing.sweep_payments", max_retries=0)
def sweep_payments() -> None:
    """Attempts and refunds without an answer, and webhooks that wait."""
    with platform_scope():
        payments.sweep()
        refunds.sweep()
        for receipt_id in inbox.due():
            jobs.enqueue("billing.handle_webhook", receipt_id=str(receipt_id))


@task("billing.sweep_dunning", max_retries=0)
def sweep_dunning() -> None:
    """Open invoices whose next day has come."""
    with platform_scope():
        dunning.sweep()


@task("billing.tell_top_up", max_retries=3)
def tell_top_up(*, attempt_id: str) -> None:
    topups.tell(UUID(attempt_id))


@task("billing.check_credit", max_retries=0)
def check_credit(*, tenant_id: str) -> None:
    """Of one organisation that pays ahead."""
    with platform_scope():
        prepaid.check(live_tenant(tenant_id))


@task("billing.sweep_credit", max_retries=0)
def sweep_credit() -> None:
    """Organisations that pay ahead, and may have little left."""
    with platform_scope():
        prepaid.sweep()
