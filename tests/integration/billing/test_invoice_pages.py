"""Invoices as people see them: from the list to a line, its calls, and the grant of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection

from billing.models import BillingProfile, CreditNote, Invoice, InvoiceState
from billing.services import invoices
from calls import rows
from calls.models import Call
from calls.record import CallRecord, Outcome
from core.ids import lowest_at, uuid7
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership
from tests.support.four_eyes import void
from tests.support.invoices import MONTH, draft, plan, usage

PRICE = UUID("00000000-0000-7000-8000-00000000aaaa")


@pytest.fixture
def bill(cast):
    """An open invoice of 30 calls in October, which are in the log."""
    server = cast.payments
    with tenant_scope(cast.acme):
        ids = [_call(cast, n) for n in range(30)]
        [period] = Call.objects.filter(pk__in=ids).order_by().values_list("period_id", flat=True).distinct()
    line = replace(
        usage(server.provider_id, 60, key="u"),
        server_id=server.pk,
        price_version_id=PRICE,
        quantity=Decimal(30),
        exact=Decimal("0.6"),
    )
    with platform_scope():
        invoice = invoices.open(draft(cast.acme, [line, plan(2_900)], period_id=period))
    return invoice, ids


def _call(cast, n: int, tool: str = "list_invoices") -> UUID:
    at = datetime(2026, 10, 5, 12, n, tzinfo=UTC)
    call_id = UUID(int=lowest_at(at).int + uuid7().int % 2**60)
    record = CallRecord(
        call_id,
        cast.acme.schema_name,
        at,
        agent="=agent",
        method="tools/call",
        server_id=cast.payments.pk,
        server_name="payments",
        tool=tool,
        allowed=True,
        reason="allowed",
        outcome=Outcome.OK,
        http_status=200,
        billable=True,
        quantity=Decimal(1),
        price_version_id=PRICE,
        provider_id=cast.payments.provider_id,
        price=Decimal("0.02"),
        quoted_price=Decimal("0.02"),
        currency="USD",
    )
    with connection.cursor() as cursor:
        cursor.execute(rows.insert_statement(cast.acme.schema_name), rows.encode([record]))
    return call_id


def url(path: str = "") -> str:
    return f"/o/acme/billing/invoices/{path}"


class TestOrganisation:
    def test_the_list_shows_what_is_due(self, cast, bill, signed_in):
        page = signed_in(cast.alice).get(url()).content.decode()

        assert bill[0].number in page
        assert "29.60" in page

    def test_drafts_are_no_invoices(self, cast, signed_in):
        with platform_scope():
            waiting = draft(cast.acme, [plan(1)])

        assert signed_in(cast.alice).get(url(f"{waiting.pk}/")).status_code == 404

    def test_an_invoice_shows_its_lines_by_provider_and_no_share(self, cast, bill, signed_in):
        page = signed_in(cast.alice).get(url(f"{bill[0].pk}/")).content.decode()

        assert "Initech" in page
        assert "Plan and adjustments" in page
        assert "0.42" not in page  # the provider's part of 0.60

    def test_a_line_opens_to_its_calls_whose_sum_is_the_line_s(self, cast, bill, signed_in):
        invoice, ids = bill
        line = invoice.lines.get(position=1)
        browser = signed_in(cast.alice)
        first = browser.get(url(f"{invoice.pk}/lines/{line.pk}/")).content.decode()
        newest = sorted(ids, reverse=True)
        rest = browser.get(url(f"{invoice.pk}/lines/{line.pk}/?before={newest[24]}")).content.decode()

        assert "The sums are equal" in first
        assert [str(one) in first for one in newest] == [True] * 25 + [False] * 5
        assert [str(one) in rest for one in newest] == [False] * 25 + [True] * 5
        assert f"/o/acme/calls/{newest[0]}/" in first

    def test_a_line_whose_calls_do_not_sum_to_it_says_so(self, cast, bill, signed_in):
        invoice, _ = bill
        line = invoice.lines.get(position=1)
        with tenant_scope(cast.acme):
            _call(cast, 31)

        assert "The sums differ" in signed_in(cast.alice).get(url(f"{invoice.pk}/lines/{line.pk}/")).content.decode()

    def test_lines_of_the_plan_have_no_calls(self, cast, bill, signed_in):
        line = bill[0].lines.get(position=2)

        assert signed_in(cast.alice).get(url(f"{bill[0].pk}/lines/{line.pk}/")).status_code == 404

    def test_the_export_has_a_row_for_each_call_and_no_formula(self, cast, bill, signed_in):
        answer = signed_in(cast.alice).get(url(f"{bill[0].pk}/calls.csv"))
        lines = b"".join(answer.streaming_content).decode().splitlines()

        assert len(lines) == 31
        assert ",'=agent," in lines[1]

    def test_the_pdf_is_the_stored_document(self, cast, bill, signed_in):
        browser = signed_in(cast.alice)
        answer = browser.get(url(f"{bill[0].pk}/document.pdf"))

        assert answer.content[:5] == b"%PDF-"
        assert browser.get(url(f"{bill[0].pk}/document.pdf")).content == answer.content

    def test_the_preview_of_an_organisation_that_used_nothing_says_so(self, cast, signed_in):
        assert (
            "Nothing to pay so far" in signed_in(cast.charlie).get("/o/globex/billing/invoices/next/").content.decode()
        )


class TestProfile:
    def test_an_owner_says_who_is_billed(self, cast, signed_in):
        answer = signed_in(cast.alice).post(
            "/o/acme/billing/profile/", {"legal_name": "Acme Ltd", "country": "gb", "emails": "a@acme.example"}
        )

        assert answer.status_code == 302
        stored = BillingProfile.objects.get(tenant=cast.acme)
        assert (stored.legal_name, stored.country, stored.emails) == ("Acme Ltd", "GB", ["a@acme.example"])

    @pytest.mark.parametrize(
        ("field", "value"), [("country", "Germany"), ("emails", "nobody"), ("legal_name", "x" * 201)]
    )
    def test_what_an_invoice_cannot_say_is_refused_beside_its_field(self, cast, signed_in, field, value):
        answer = signed_in(cast.alice).post("/o/acme/billing/profile/", {field: value})

        assert answer.status_code == 422
        assert not BillingProfile.objects.filter(tenant=cast.acme).exists()

    def test_an_auditor_reads_and_changes_nothing(self, cast, signed_in):
        Membership.objects.filter(tenant=cast.acme, user=cast.bob).update(role="auditor")
        browser = signed_in(cast.bob)

        assert browser.get("/o/acme/billing/profile/").status_code == 200
        assert browser.post("/o/acme/billing/profile/", {"legal_name": "Mine"}).status_code == 403


class TestOperators:
    @pytest.fixture
    def olga(self, cast, signed_in):
        from allauth.mfa.models import Authenticator

        Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "test"})
        return signed_in(cast.olga)

    def test_a_doubtful_draft_waits_in_the_cockpit_and_is_opened_there(self, cast, olga):
        with platform_scope():
            invoices.open(draft(cast.acme, [plan(1)], month=MONTH.replace(month=9)))
            waiting = draft(cast.acme, [plan(1_000)])
        page = olga.get("/operations/billing/").content.decode()
        olga.post("/operations/billing/", {"invoice": str(waiting.pk)})

        assert "10 times the mean" in page
        waiting.refresh_from_db()
        assert waiting.state == InvoiceState.OPEN

    def test_a_step_is_started_from_the_cockpit_and_the_log_says_by_whom(self, cast, olga):
        from audit.models import AuditEvent

        said = [
            olga.post("/operations/billing/steps/", {"step": step}, follow=True).content.decode()
            for step in ("issue_invoices", "refund_everybody")
        ]

        assert "“Invoice closed months” is started" in said[0]
        assert "Choose what is to be started" in said[1]
        with platform_scope():
            [event] = AuditEvent.objects.filter(action="billing:step:started", actor_id=str(cast.olga.pk))
        assert event.target_id == "issue_invoices"

    def test_an_operator_sees_shares_and_credits_a_line(self, cast, bill, olga):
        invoice, _ = bill
        address = f"/operations/billing/invoices/{invoice.pk}/"
        line = invoice.lines.get(position=1)

        assert "7000 bps" in olga.get(address).content.decode()
        olga.post(address, {"action": "credit", "reason": "Outage", f"credit-{line.pk}": "20", "key": "one"})
        olga.post(address, {"action": "credit", "reason": "Outage", f"credit-{line.pk}": "20", "key": "one"})
        assert [note.total_minor for note in CreditNote.objects.filter(invoice=invoice)] == [20]

    @pytest.mark.parametrize(
        "data",
        [{}, {"action": "void"}, {"action": "credit", "reason": "x"}, {"action": "nothing"}, {"action": "again"}],
    )
    def test_what_is_incomplete_is_told_and_changes_nothing(self, bill, olga, data):
        assert olga.post(f"/operations/billing/invoices/{bill[0].pk}/", data).status_code == 302
        assert Invoice.objects.get(pk=bill[0].pk).state == InvoiceState.OPEN

    def test_a_draft_is_voided_with_a_reason(self, cast, olga):
        with platform_scope():
            made = draft(cast.acme, [plan(1)], month=MONTH.replace(month=8))
        olga.post(f"/operations/billing/invoices/{made.pk}/", {"action": "void", "reason": "Wrong price"})

        assert Invoice.objects.get(pk=made.pk).state == InvoiceState.VOID


def test_the_platform_s_audit_log_has_what_was_done(cast, bill):
    from audit.models import AuditEvent

    with platform_scope():
        void(bill[0])
        actions = AuditEvent.objects.filter(target_id=str(bill[0].pk)).values_list("action", flat=True)

        assert set(actions) == {"billing:invoice:opened", "billing:invoice:voided"}
