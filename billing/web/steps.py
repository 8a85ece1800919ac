"""What happens to money by itself, for operators who do not want to wait for its next time. Each is a job that looks for what
is due, so that starting it early or twice changes nothing more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from audit import services as audit
from core.jobs import enqueue
from tenants.requests import MarketRequest
from tenants.web.guards import person


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    label: str
    # When it is done without anybody, in words; `celery_app` decides.
    by_itself: str
    start: Callable[[], None]


STEPS = (
    Step("close_months", "Close months that are over", "every 10 minutes", lambda: enqueue("billing.open_periods")),
    Step("issue_invoices", "Invoice closed months", "every 5 minutes", lambda: enqueue("billing.issue_invoices")),
    Step("try_payments", "Try payments that are due", "every 15 minutes", lambda: enqueue("billing.sweep_dunning")),
    Step("release_earnings", "Release earnings", "every hour", lambda: enqueue("billing.release_earnings")),
    Step(
        "build_payouts",
        "Put payouts together",
        "every day at 05:07, from the day of payouts on",
        lambda: enqueue("billing.build_payouts"),
    ),
    Step("send_payouts", "Send approved payouts", "every 5 minutes", lambda: enqueue("billing.send_payouts")),
    Step("poll_payouts", "Ask what became of payouts", "every 15 minutes", lambda: enqueue("billing.poll_payouts")),
    Step("reconcile", "Compare with payment providers", "every day at 06:37", lambda: enqueue("billing.reconcile")),
)


@require_POST
def start(request: MarketRequest) -> HttpResponse:
    step = next((each for each in STEPS if each.name == request.POST.get("step", "")), None)
    if step is None:
        messages.error(request, "Choose what is to be started.")
        return redirect("operations-billing")
    operator = person(request)
    actor = audit.Party("operator", str(operator.pk), operator.email)
    audit.record("billing:step:started", actor=actor, target=audit.Party("step", step.name, step.label))
    step.start()
    messages.success(request, f"“{step.label}” is started. Load the page again in a moment to see what it did.")
    return redirect("operations-billing")


urls: list[URLPattern] = [
    path("steps/", start, name="operations-billing-steps"),
]
