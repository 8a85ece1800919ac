"""Cards, payments, credit and budgets over the API: what the pages do, with the rights of the person behind the key."""

from __future__ import annotations

from decimal import Decimal

import httpx
import pytest

from access.models import Limit
from billing.models import BillingProfile, PaymentMethod, Prepayment
from billing.services import invoices
from tenants.choices import Role, Scope
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership
from tenants.services import api_keys
from tests.integration.billing.payments.test_credit import ASKS, GOOD, buy, held
from tests.integration.billing.payments.test_paying import enter, ground  # noqa: F401 - a fixture
from tests.support.invoices import draft, usage


@pytest.fixture
def ask(client, cast):
    """Ask as somebody, by a key that they made."""

    def send(who: str, method: str, path: str, body=None):
        tenant = cast.globex if who == "charlie" else cast.acme
        with platform_scope():
            key = api_keys.issue(tenant=tenant, name=who, scopes=[Scope.ADMIN], actor=getattr(cast, who)).text
        return getattr(client, method)(
            f"/api/v1/billing/{path}", body, content_type="application/json", headers={"Authorization": f"Bearer {key}"}
        )

    return send


def becomes(cast, person, role):
    with platform_scope():
        Membership.objects.filter(tenant=cast.acme, user=person).update(role=role)


class TestCards:
    def test_a_card_is_entered_by_a_person_and_kept_by_the_program(self, ask, ground):  # noqa: F811
        begun = ask("alice", "post", "payment-methods/setups/").json()
        early = ask("alice", "post", "payment-methods/", {"setup": begun["setup"]})
        assert (early.status_code, early.json()["code"]) == (409, "billing.setup_open")
        httpx.post(
            begun["url"], data={"number": GOOD, "expiry": "12/40", "cvc": "123", "choice": "save"}, trust_env=False
        )
        card = ask("alice", "post", "payment-methods/", {"setup": begun["setup"]}).json()
        assert (card["name"], card["is_default"]) == ("Visa ending in 4242", True)
        assert ask("charlie", "get", f"payment-methods/{card['id']}/").status_code == 404

        enter(ground.acme, "4000000000000341")
        [other] = [
            row for row in ask("alice", "get", "payment-methods/").json()["payment_methods"] if not row["is_default"]
        ]
        changed = ask("alice", "put", f"payment-methods/{other['id']}/", {"is_default": True})
        assert changed.json()["is_default"] is True
        assert ask("alice", "put", f"payment-methods/{other['id']}/", {"is_default": False}).status_code == 400
        assert ask("alice", "delete", f"payment-methods/{card['id']}/").status_code == 204
        assert PaymentMethod.objects.get(pk=card["id"]).removed_at is not None


class TestPayments:
    def test_an_invoice_is_paid_once(self, ask, ground):  # noqa: F811
        enter(ground.acme, GOOD)
        invoice = invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 6_000)]))
        paid = ask("alice", "post", "payments/", {"invoice_id": str(invoice.pk)})
        assert (paid.status_code, paid.json()["state"], paid.json()["minor"]) == (201, "succeeded", 6_000)
        again = ask("alice", "post", "payments/", {"invoice_id": str(invoice.pk)})
        assert (again.status_code, again.json()["code"]) == (409, "billing.nothing_due")
        assert ask("charlie", "post", "payments/", {"invoice_id": str(invoice.pk)}).status_code == 404
        [row] = ask("alice", "get", "payments/").json()["payments"]
        assert (row["subject"], row["invoice_id"]) == (invoice.number, str(invoice.pk))

    def test_the_holder_is_sent_to_where_they_confirm(self, ask, ground):  # noqa: F811
        enter(ground.acme, ASKS)
        bought = ask("alice", "post", "top-ups/", {"minor": 1_000, "once": "asks"}).json()
        assert bought["state"] == "needs_holder"
        found = ask("alice", "post", f"payments/{bought['id']}/").json()
        assert found["url"].startswith("http")
        httpx.post(found["url"], data={"choice": "approve"}, trust_env=False)
        found = ask("alice", "post", f"payments/{bought['id']}/").json()
        assert (found["url"], found["payment"]["state"]) == ("", "succeeded")
        assert held(ground.acme) == 1_000


class TestCredit:
    def test_it_is_bought_once_used_as_said_and_sent_back(self, ask, ground):  # noqa: F811
        enter(ground.acme, GOOD)
        for _ in range(2):
            bought = ask("alice", "post", "top-ups/", {"minor": 5_000, "once": "first"})
            assert (bought.status_code, bought.json()["state"]) == (201, "succeeded")
        terms = {"is_prepaid": True, "threshold_minor": 1_000, "amount_minor": 2_000, "daily_minor": 4_000}
        now = ask("alice", "put", "credit/", terms).json()
        assert {name: now[name] for name in terms} == terms
        assert (now["held_minor"], now["available_minor"], now["refundable_minor"]) == (5_000, 5_000, 5_000)
        refused = ask("alice", "put", "credit/", {**terms, "threshold_minor": None})
        assert (refused.status_code, refused.json()["code"]) == (400, "billing.top_up_threshold")
        back = ask("alice", "post", "credit/refunds/", {"minor": 3_000, "once": "back"})
        assert [row["minor"] for row in back.json()["refunds"]] == [3_000]
        assert ask("alice", "get", "credit/").json()["available_minor"] == 2_000
        assert [row["minor"] for row in ask("alice", "get", "top-ups/").json()["top_ups"]] == [5_000]

    @pytest.mark.parametrize("body", [{"minor": 499, "once": "a"}, {"minor": 1}, {"minor": "x", "once": "a"}, {}])
    def test_what_means_nothing_is_refused(self, ask, ground, body):  # noqa: F811
        assert ask("alice", "post", "top-ups/", body).status_code == 400

    def test_who_may_only_look_buys_nothing_and_who_may_not_look_sees_nothing(self, ask, ground, cast):  # noqa: F811
        enter(ground.acme, GOOD)
        made = buy(ground.acme)
        assert ask("bob", "get", "credit/").status_code == 403
        becomes(cast, cast.bob, Role.AUDITOR)
        assert ask("bob", "get", f"top-ups/{made.pk}/").status_code == 200
        for method, path, body in [
            ("post", "top-ups/", {"minor": 1_000, "once": "a"}),
            ("put", "credit/", {"is_prepaid": True}),
            ("post", "credit/refunds/", {"minor": 1_000, "once": "a"}),
            ("post", "payment-methods/setups/", {}),
            ("patch", "profile/", {"city": "Bonn"}),
            ("post", "budgets/", {"name": "a", "amount": "1", "per": "day"}),
        ]:
            assert ask("bob", method, path, body).status_code == 403, path
        assert not Prepayment.objects.filter(tenant=ground.acme).exists()
        assert ask("charlie", "get", f"top-ups/{made.pk}/").status_code == 404


class TestProfile:
    def test_what_is_given_is_written_and_the_rest_stays(self, ask, cast):
        assert ask("alice", "patch", "profile/", {"legal_name": "Acme Ltd", "country": "DE"}).status_code == 200
        changed = ask("alice", "patch", "profile/", {"emails": ["bills@acme.example"]}).json()
        assert (changed["legal_name"], changed["emails"]) == ("Acme Ltd", ["bills@acme.example"])
        for bad in ({"country": "Germany"}, {"tax_id": "ß" * 30}):
            assert ask("alice", "patch", "profile/", bad).status_code == 400
        assert BillingProfile.objects.get(tenant=cast.acme).country == "DE"


class TestBudgets:
    def test_they_are_set_changed_and_removed_as_on_the_page(self, ask, cast):
        made = ask("alice", "post", "budgets/", {"name": "Monthly", "amount": "25.50", "per": "month"})
        assert made.status_code == 201
        budget = made.json()
        assert (budget["scope"], Decimal(budget["amount"]), budget["period"]) == (
            "organisation",
            Decimal("25.5"),
            "month",
        )
        url = f"budgets/{budget['id']}/"
        changed = ask("alice", "put", url, {"name": "Each", "amount": "1", "per": "day", "each_key": True})
        assert (changed.json()["scope"], changed.json()["hard"], changed.json()["used"]) == ("key", True, None)
        tool = {"name": "Refunds", "amount": "2", "per": "day", "server": "payments", "tool": "list_invoices"}
        assert ask("alice", "put", url, tool).json()["scope"] == "tool"
        assert ask("charlie", "get", url).status_code == 404
        assert url.split("/")[1] in {row["id"] for row in ask("alice", "get", "budgets/").json()["budgets"]}
        assert ask("alice", "delete", url).status_code == 204
        with tenant_scope(cast.acme):
            assert not Limit.objects.filter(pk=budget["id"]).exists()

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"name": "a", "amount": "-1", "per": "day"}, 400),
            ({"name": "a", "amount": "1", "per": "hour"}, 400),
            ({"name": "a", "amount": "1", "per": "day", "tool": "refund"}, 400),
            ({"name": "a", "amount": "1", "per": "day", "server": "payments", "each_key": True}, 400),
            ({"name": "a", "amount": "1", "per": "day", "server": "nowhere"}, 404),
            ({"name": "a", "amount": "1", "per": "day", "server": "payments", "tool": "none"}, 400),
            ({"name": "a", "amount": "1", "per": "day", "key_id": "00000000-0000-7000-8000-000000000000"}, 404),
        ],
    )
    def test_what_means_nothing_is_refused(self, ask, body, status):
        assert ask("alice", "post", "budgets/", body).status_code == status
