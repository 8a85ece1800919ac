"""The page of operators with everything about money that does not pass by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing.models import (
    Dispute,
    EarningRelease,
    JobFailure,
    PaymentAttempt,
    PaymentMethod,
    ProposalAct,
    Refund,
    WebhookReceipt,
)
from billing.selectors import exceptions as reading
from billing.services import failures, invoices, proposals
from billing.tasks import failures as _signals  # noqa: F401 - what listens to Celery
from core import clock
from core.errors import UnavailableError
from core.ids import uuid7
from core.jobs import task
from tenants.context import platform_scope
from tests.support.invoices import draft, usage

LONG_AGO = timedelta(hours=2)


@pytest.fixture
def ground(cast):
    with platform_scope():
        yield cast


@pytest.fixture
def invoice(ground):
    return invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 50_000)]))


@pytest.fixture
def attempt(invoice) -> PaymentAttempt:
    card = PaymentMethod.objects.create(
        tenant=invoice.tenant, external_id=f"pm_{uuid7()}", brand="visa", last4="4242", exp_month=1, exp_year=2040
    )
    return PaymentAttempt.objects.create(
        tenant=invoice.tenant, invoice=invoice, method=card, customer="cus_x", minor=50_000, currency="USD",
        key=f"attempt:{invoice.pk}", external_id=f"pi_{uuid7()}",
    )  # fmt: skip


def rows(key: str) -> list[reading.Row]:
    return next(section.rows for section in reading.sections() if section.key == key)


def of(key: str, words: str) -> list[reading.Row]:
    return [row for row in rows(key) if words in row.what]


def test_an_outcome_that_is_unknown_for_an_hour_is_there_until_it_is_known(ground, invoice, attempt):
    refund = Refund.objects.create(
        tenant=invoice.tenant, attempt=attempt, minor=100, currency="USD", key=str(uuid7()), reason="x", alone_minor=100
    )
    assert not of("unknown", str(invoice))
    for model, row in ((PaymentAttempt, attempt), (Refund, refund)):
        model.objects.filter(pk=row.pk).update(created_at=clock.now() - LONG_AGO)
    assert {row.what for row in of("unknown", str(invoice))} == {f"Payment of {invoice}", f"Refund of {invoice}"}

    PaymentAttempt.objects.filter(pk=attempt.pk).update(state="succeeded")
    assert [row.what for row in of("unknown", str(invoice))] == [f"Refund of {invoice}"]


def test_disputes_come_by_the_day_on_which_evidence_is_due(ground, invoice, attempt):
    now = clock.now()
    for name, due in (("late", now + timedelta(days=9)), ("never", None), ("soon", now + timedelta(days=1))):
        Dispute.objects.create(
            tenant=invoice.tenant, attempt=attempt, external_id=f"dp_{uuid7()}", minor=100, currency="USD", reason=name,
            due_at=due,
        )  # fmt: skip

    mine = [row.detail.rpartition(" ")[2] for row in of("disputes", str(invoice))]
    assert mine == ["soon", "late", "never"]


def test_what_waits_for_a_decision_and_what_is_held_is_named(ground, invoice):
    made = proposals.propose(invoice, ProposalAct.WRITE_OFF, reason="Gone", operator=ground.olga)
    EarningRelease.objects.create(
        invoice=invoice, provider_id=ground.payments.provider_id, part="main", bps=10_000, currency="USD",
        due_at=clock.now() - LONG_AGO, held_for="a dispute that is open",
    )  # fmt: skip

    assert of("decisions", str(made))
    [held] = [row for row in rows("held") if str(invoice) in row.what]
    assert held.detail == "Held for a dispute that is open"


class TestJobs:
    def test_a_failure_is_kept_until_the_same_job_succeeds(self, ground):
        name, arguments = "billing.resolve_attempt", {"attempt_id": str(uuid7())}
        for _ in range(2):
            failures.note(name, arguments, UnavailableError(code="billing.provider_away"))
        [row] = JobFailure.objects.filter(arguments__contains=arguments["attempt_id"])
        assert (row.times, row.error) == (2, "billing.provider_away")
        assert [each for each in rows("failures") if arguments["attempt_id"] in each.detail]

        failures.settle(name, {"attempt_id": "another"})
        assert JobFailure.objects.get(pk=row.pk).ended_at is None
        failures.settle(name, arguments)
        assert JobFailure.objects.get(pk=row.pk).ended_at is not None

    def test_celery_tells_of_the_end_of_a_job_and_jobs_of_others_are_theirs(self, ground):
        end = {"fails": True}

        @task("billing.of_the_tests")
        def job(*, row_id: str) -> None:
            if end["fails"]:
                raise ValueError("never shown")

        @task("access.of_the_tests")
        def other() -> None:
            raise ValueError

        row_id = str(uuid7())
        job.apply(kwargs={"row_id": row_id})
        other.apply()
        [row] = JobFailure.objects.filter(job__endswith=".of_the_tests")
        assert (row.job, row.error) == ("billing.of_the_tests", "ValueError")
        assert row_id in row.arguments

        end["fails"] = False
        job.apply(kwargs={"row_id": row_id})
        assert JobFailure.objects.get(pk=row.pk).ended_at is not None

    def test_events_that_were_given_up_stand_beside_them(self, ground):
        WebhookReceipt.objects.create(
            provider="stripe", event_id=str(uuid7()), kind="charge.of_the_tests", body=b"{}", state="dead"
        )
        assert of("failures", "charge.of_the_tests")


def test_operators_open_the_page_and_nobody_else(cast, invoice, signed_in, settings):
    settings.STAFF_MFA_REQUIRED = False
    proposals.propose(invoice, ProposalAct.VOID, reason="Wrong", operator=cast.olga)
    page = signed_in(cast.olga).get("/operations/billing/exceptions/").content.decode()

    assert str(invoice) in page
    assert "Decisions that wait" in page
    assert signed_in(cast.diana).get("/operations/billing/exceptions/").status_code == 404
