"""What happens to money by itself, for operators who do not want to wait for its next time. Each is a job that looks for what
is due, so that starting it early or twice changes nothing more."""

from __future__ import annotations

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
    job: str
    label: str
    # When it is done without anybody, in words; `celery_app` decides.
    by_itself: str


STEPS = (
    Step("billing.open_periods", "Close months that are over", "every 10 minutes"),
    Step("billing.issue_invoices", "Invoice closed months", "every 5 minutes"),
    Step("billing.sweep_dunning", "Try payments that are due", "every 15 minutes"),
    Step("billing.release_earnings", "Release earnings", "every hour"),
    Step("billing.build_payouts", "Put payouts together", "every day at 05:07, from the day of payouts on"),
    Step("billing.send_payouts", "Send approved payouts", "every 5 minutes"),
    Step("billing.poll_payouts", "Ask what became of payouts", "every 15 minutes"),
    Step("billing.reconcile", "Compare with payment providers", "every day at 06:37"),
)


@require_POST
def start(request: MarketRequest) -> HttpResponse:
    step = next((each for each in STEPS if each.job == request.POST.get("job", "")), None)
    if step is None:
        messages.error(request, "Choose what is to be started.")
        return redirect("operations-billing")
    operator = person(request)
    actor = audit.Party("operator", str(operator.pk), operator.email)
    audit.record("billing:step:started", actor=actor, target=audit.Party("job", step.job, step.label))
    enqueue(step.job)
    messages.success(request, f"“{step.label}” is started. Load the page again in a moment to see what it did.")
    return redirect("operations-billing")


urls: list[URLPattern] = [
    path("steps/", start, name="operations-billing-steps"),
]
