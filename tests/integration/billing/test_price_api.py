from __future__ import annotations

from decimal import Decimal

import pytest

from audit.services import SYSTEM
from billing.core.rating import per_unit
from billing.services import prices
from tenants.choices import Scope
from tenants.context import platform_scope
from tenants.services import api_keys

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(client, cast):
    def send(who: str, method: str, path: str, body=None):
        tenant = {"alice": cast.acme, "charlie": cast.globex, "diana": cast.initech, "bob": cast.acme}[who]
        with platform_scope():
            key = api_keys.issue(tenant=tenant, name=who, scopes=[Scope.ADMIN], actor=getattr(cast, who)).text
        return getattr(client, method)(
            f"/api/v1/billing/{path}", body, content_type="application/json", headers={"Authorization": f"Bearer {key}"}
        )

    return send


class TestPrices:
    def test_what_was_agreed_shows_to_that_organisation_alone(self, ask, cast):
        with platform_scope():
            prices.change_price(server=cast.payments, model=per_unit(Decimal("0.01")), actor=SYSTEM, tenant=cast.acme)
        seen = {}
        for who in ("alice", "charlie"):
            rows = ask(who, "get", "prices/?server=payments").json()["prices"]
            seen[who] = sorted((row["agreed"], row["words"]) for row in rows)

        assert seen["alice"] == [(False, "0.02 USD per call"), (True, "0.01 USD per call")]
        assert seen["charlie"] == [(False, "0.02 USD per call")]

    def test_a_provider_changes_its_own_and_nobody_elses(self, ask):
        body = {"server": "payments", "model": {"kind": "per_unit", "rate": "0.015"}}
        done = ask("diana", "post", "prices/", body)

        assert (done.status_code, done.json()["words"], done.json()["rises"]) == (201, "0.015 USD per call", False)
        assert ask("alice", "post", "prices/", body).status_code == 404

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"model": {"kind": "per_unit", "rate": 0.5}}, "rate"),
            ({"model": "x"}, "model"),
            ({"tool": "nothing"}, "tool"),
            ({"model": {"kind": "per_unit", "rate": "9"}, "effective_from": "2026-11-22T00:00:00Z"}, "effective_from"),
        ],
    )
    def test_what_is_wrong_is_named(self, ask, change, field):
        body = {"server": "payments", "model": {"kind": "per_unit", "rate": "0.01"}, **change}
        answer = ask("diana", "post", "prices/", body)

        assert (answer.status_code, answer.json()["field"]) == (400, field)


class TestPlans:
    def test_a_plan_is_chosen_and_ended(self, ask):
        slugs = [plan["slug"] for plan in ask("alice", "get", "plans/").json()["plans"]]
        chosen = ask("alice", "put", "subscription/", {"plan": "pro"}).json()
        ended = ask("alice", "put", "subscription/", {"plan": None}).json()

        assert slugs == ["free", "pro", "enterprise"]
        assert (chosen["plan"]["slug"], chosen["chosen"], chosen["ends_at"]) == ("pro", True, None)
        assert ended["ends_at"] is not None

    def test_who_may_not_change_the_plan_is_told_so(self, ask):
        assert ask("bob", "put", "subscription/", {"plan": "pro"}).status_code == 403
        assert ask("alice", "put", "subscription/", {"plan": "enterprise"}).status_code == 403
        assert ask("alice", "put", "subscription/", {"plan": "nothing"}).status_code == 400
        assert ask("alice", "put", "subscription/", {"plan": None}).status_code == 409
