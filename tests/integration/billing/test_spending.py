"""What pages, files and the API say of a month is what its invoice will say, and nobody else sees it."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.models import PriceVersion
from billing.selectors.spending import find_period, spending
from billing.services import rating
from calls.models import Period
from calls.services import periods
from core import clock
from tenants.choices import Role, Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership
from tenants.services import api_keys
from tests.support.calls import add_call


@pytest.fixture
def month(cast: Any) -> Any:
    """A fortnight into a month of acme's: calls with two keys, one of a team, paid and free."""
    with platform_scope():
        price = PriceVersion.objects.get(server=cast.payments, tool="", tenant=None)
    with tenant_scope(cast.acme):
        periods.open_ahead()
        this = Period.objects.earliest("id")
        issued = [
            api_keys.issue(tenant=cast.acme, name=name, scopes=[Scope.INVOKE], actor=cast.alice).key
            for name in ("robot", "clerk")
        ]
        server = cast.payments
        for day, key, count in [(0, 0, 2), (3, 0, 3), (3, 1, 5)]:
            for _ in range(count):
                add_call(
                    cast.acme,
                    at=this.starts_at + timedelta(days=day),
                    server_id=server.pk,
                    server_name=server.slug,
                    provider_id=server.provider_id,
                    price_version_id=price.pk,
                    billable=True,
                    quantity=Decimal(1),
                    price=price.rate,
                    tool="refund",
                    api_key_id=issued[key].pk,
                )
        add_call(cast.acme, at=this.starts_at, server_id=server.pk, server_name=server.slug, tool="ping")
    with clock.frozen(this.starts_at + timedelta(days=15)):
        yield this


def test_every_breakdown_sums_to_the_total_which_is_the_invoice_s(cast, month):
    with tenant_scope(cast.acme):
        found = spending(cast.acme, month, "USD")
        assert [shown.line for shown in found.lines] == rating.rate(cast.acme, month)
    assert (found.total.minor, found.paid_calls, found.free_calls) == (20, 10, 1)
    for parts in (found.by_server, found.by_key, found.by_team):
        assert sum(part.amount for part in parts) == Decimal("0.20")
        assert sum(part.calls for part in parts) == 11
    assert sum(amount for _, amount in found.by_day) == Decimal("0.20")
    assert {part.label: (part.calls, part.amount) for part in found.by_key if part.key} == {
        "robot": (5, Decimal("0.10")),
        "clerk": (5, Decimal("0.10")),
    }
    assert [amount for _, amount in found.by_day][:4] == [Decimal("0.04"), 0, 0, Decimal("0.16")]


def test_the_forecast_is_the_pace_so_far_and_unknown_on_the_first_day_and_afterwards(cast, month):
    length = month.ends_at - month.starts_at
    with tenant_scope(cast.acme):
        with clock.frozen(month.starts_at + length / 2):
            forecast = spending(cast.acme, month, "USD").forecast
            assert forecast is not None
            assert forecast.minor == 40
        for moment in (month.starts_at + timedelta(hours=5), month.ends_at):
            with clock.frozen(moment):
                assert spending(cast.acme, month, "USD").forecast is None


def test_months_to_come_are_not_shown(cast, month):
    with tenant_scope(cast.acme):
        assert find_period(None) == month
        assert find_period(Period.objects.latest("id").pk) is None


def test_the_page_says_what_was_spent_on_what(cast, month, signed_in):
    page = signed_in(cast.alice).get("/o/acme/billing/spend/").content.decode()
    for text in ("refund", "robot", "clerk", "0.20", "0.02 USD per call", "No team"):
        assert text in page


def test_the_file_has_the_lines_and_no_cell_that_a_spreadsheet_would_run(cast, month, signed_in):
    with tenant_scope(cast.acme):
        add_call(
            cast.acme, at=month.starts_at, server_id=cast.payments.pk, server_name="=cmd", tool="+x", billable=True,
            quantity=Decimal(1), price_version_id=PriceVersion.objects.get(server=cast.payments, tool="", tenant=None).pk,
        )  # fmt: skip
    answer = signed_in(cast.alice).get("/o/acme/billing/usage.csv", {"month": str(month)})
    head, *rows = csv.reader(io.StringIO(answer.content.decode()))
    found = [dict(zip(head, row, strict=True)) for row in rows]
    assert {row["tool"]: (row["calls"], row["amount"]) for row in found} == {
        "refund": ("10", "0.20"),
        "'+x": ("1", "0.02"),
    }
    assert answer["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("month_text", ["2031-01", "x", "2026-13", "99999999", "²02611"])
def test_a_month_that_is_none_is_not_there(cast, month, signed_in, month_text):
    assert signed_in(cast.alice).get("/o/acme/billing/spend/", {"month": month_text}).status_code == 404


def test_billing_and_auditors_read_it_and_members_are_told_who_can(cast, month, signed_in):
    for role, status in ((Role.BILLING, 200), (Role.AUDITOR, 200), (Role.MEMBER, 403)):
        Membership.objects.filter(tenant=cast.acme, user=cast.bob).update(role=role)
        assert signed_in(cast.bob).get("/o/acme/billing/spend/").status_code == status


def test_the_api_says_the_same(cast, month, client):
    key = api_keys.issue(tenant=cast.acme, name="books", scopes=[Scope.ADMIN], actor=cast.alice).text
    answer = client.get("/api/v1/billing/usage/", headers={"Authorization": f"Bearer {key}"}).json()
    assert (answer["total_minor"], answer["paid_calls"], answer["month"]) == (20, 10, str(month))
    [line] = answer["lines"]
    assert (line["tool"], line["minor"], line["quantity"]) == ("refund", 20, "10.000000")


def test_budgets_are_the_limits_of_money_with_what_is_spent_of_them(cast, signed_in):
    page = signed_in(cast.alice).get("/o/acme/billing/budgets/").content.decode()
    assert "Spending of the organisation" in page
    assert "50.00 USD a month" in page
    assert "Requests" not in page.partition("<caption")[2].partition("</table>")[0]
