"""The Celery application: `celery -A celery_app worker` and `celery -A celery_app beat`."""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.beat import PersistentScheduler
from celery.schedules import crontab
from celery.signals import heartbeat_sent, worker_ready
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

app = Celery("marketplace")
# Jobs are enqueued from the threads of the web process too, where the current application is this default.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "make-call-partitions": {"task": "calls.make_partitions", "schedule": crontab(minute=17, hour="*/6")},
    "check-server-health": {"task": "catalog.check_health", "schedule": float(settings.HEALTH_INTERVAL_S)},
    "prune-server-health": {"task": "catalog.prune_health", "schedule": crontab(minute=53, hour="*/6")},
    "count-server-calls": {"task": "catalog.count_calls", "schedule": crontab(minute="*/15")},
    "refresh-search-words": {"task": "catalog.refresh_words", "schedule": crontab(minute="*/10")},
    "ask-proofs-again": {"task": "catalog.ask_proofs", "schedule": crontab(minute="*/20")},
    "renew-credentials": {"task": "access.renew_credentials", "schedule": 60.0},
    "apply-plans": {"task": "billing.apply_plans", "schedule": 60.0},
    "clear-playground-runs": {"task": "access.clear_runs", "schedule": crontab(minute=11)},
    "keep-access-requests": {"task": "access.keep_requests", "schedule": 300.0},
    "sweep-sources": {"task": "repositories.sweep", "schedule": 60.0},
    "prune-sync-runs": {"task": "repositories.prune", "schedule": crontab(minute=53, hour=3)},
    "release-earnings": {"task": "billing.release_earnings", "schedule": crontab(minute=19)},
    "earn-plans": {"task": "billing.earn_plans", "schedule": crontab(minute=41)},
    "count-unbilled": {"task": "billing.count_unbilled", "schedule": crontab(minute="13,43")},
    "build-payouts": {"task": "billing.build_payouts", "schedule": crontab(minute=7, hour=5)},
    "send-payouts": {"task": "billing.send_payouts", "schedule": crontab(minute="*/5")},
    "poll-payouts": {"task": "billing.poll_payouts", "schedule": crontab(minute="*/15")},
    "snapshot-ledger": {"task": "billing.snapshot_ledger", "schedule": crontab(minute=31, hour="*/6")},
    "issue-invoices": {"task": "billing.issue_invoices", "schedule": 300.0},
    "mail-invoices": {"task": "billing.mail_invoices", "schedule": 300.0},
    "send-waiting-mails": {"task": "notifications.send_waiting", "schedule": 60.0},
    "clear-oauth-tokens": {"task": "tenants.clear_oauth_tokens", "schedule": crontab(minute=37, hour=3)},
    "tell-ended-applications": {"task": "tenants.tell_ended_applications", "schedule": crontab(minute=7)},
    "ask-domains-again": {"task": "tenants.ask_domains", "schedule": crontab(minute="10-59/20")},
    "end-elevations": {"task": "tenants.end_elevations", "schedule": 60.0},
    "sweep-webhooks": {"task": "tenants.sweep_webhooks", "schedule": 60.0},
    "prune-webhooks": {"task": "tenants.prune_webhooks", "schedule": crontab(minute=43, hour=3)},
    "keep-signing-keys": {"task": "tenants.keep_signing_keys", "schedule": crontab(minute=29, hour=4)},
    "open-periods": {"task": "billing.open_periods", "schedule": crontab(minute="*/10")},
    "rate-days": {"task": "billing.rate_days", "schedule": crontab(minute=3)},
    "sweep-retention": {"task": "calls.sweep_retention", "schedule": crontab(minute=23, hour=2)},
    "make-audit-checkpoints": {"task": "audit.make_checkpoints", "schedule": 60.0},
    "thin-out-audit-checkpoints": {"task": "audit.thin_out_checkpoints", "schedule": crontab(minute=47, hour=3)},
    "sweep-credit": {"task": "billing.sweep_credit", "schedule": 120.0},
    "sweep-payments": {"task": "billing.sweep_payments", "schedule": 60.0},
    "reconcile-providers": {"task": "billing.reconcile", "schedule": crontab(minute=37, hour=6)},
    "ask-providers-again": {"task": "billing.ask_again", "schedule": crontab(minute=11, hour=6)},
    "look-for-fraud": {"task": "billing.look_for_fraud", "schedule": crontab(minute=13, hour=3)},
    "sweep-dunning": {"task": "billing.sweep_dunning", "schedule": 900.0},
    "verify-audit-chains": {"task": "audit.verify_chains", "schedule": crontab(minute=41, hour=3)},
}


@worker_ready.connect
def make_up_leeway(**_arguments: object) -> None:
    """What must exist ahead of time is looked after at each start, not only when its hour has come."""
    app.send_task("calls.make_partitions")


@heartbeat_sent.connect
def show_life(**_arguments: object) -> None:
    """Every two seconds, from the loop that takes jobs: whoever supervises this process sees that it is not hung."""
    from django.conf import settings  # noqa: PLC0415 - not before Celery has set Django up

    if settings.HEARTBEAT_FILE:
        Path(settings.HEARTBEAT_FILE).touch()


class Scheduler(PersistentScheduler):
    """Beat, showing life each time it looks for jobs whose time has come."""

    def tick(self, *arguments: Any, **options: Any) -> Any:
        show_life()
        return super().tick(*arguments, **options)
