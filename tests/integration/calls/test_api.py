from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from decimal import Decimal

import pytest

from core import clock
from core.ids import uuid7
from tenants.choices import Scope
from tests.integration.catalog.test_api import asking  # noqa: F401 - the fixture is used by name
from tests.integration.catalog.test_home import make_call

LIST = "/api/v1/calls/"


@pytest.fixture
def acme(cast, asking):  # noqa: F811
    return asking(cast.acme, Scope.ADMIN)


class TestCallList:
    def test_calls_are_listed_newest_first_with_money_as_text(self, cast, acme):
        make_call(cast.acme, tool="first")
        make_call(cast.acme, tool="second", billable=True, quantity=1, price=Decimal("0.02"))

        rows = acme(LIST).json()["results"]

        assert [row["tool"] for row in rows] == ["second", "first"]
        assert rows[0]["price"] == "0.0200000000"

    def test_a_page_leads_to_the_next_one(self, cast, acme):
        for number in range(5):
            make_call(cast.acme, tool=f"t{number}")
        tools = []
        page = acme(LIST, page_size=2).json()
        tools += [row["tool"] for row in page["results"]]
        while page["next"]:
            page = acme(page["next"].removeprefix("http://testserver")).json()
            tools += [row["tool"] for row in page["results"]]

        assert tools == ["t4", "t3", "t2", "t1", "t0"]

    def test_calls_are_found_by_server_and_outcome(self, cast, acme):
        make_call(cast.acme, server_id=cast.payments.pk, outcome="timeout", tool="slow")
        make_call(cast.acme, server_id=uuid7(), outcome="timeout")
        make_call(cast.acme, server_id=cast.payments.pk)

        rows = acme(LIST, server=str(cast.payments.pk), outcome="timeout").json()["results"]

        assert [row["tool"] for row in rows] == ["slow"]

    @pytest.mark.parametrize(
        "query", [{"server": "x"}, {"outcome": "great"}, {"cursor": b64encode(b"p=hello").decode()}]
    )
    def test_what_is_not_understood_is_refused(self, acme, query):
        answer = acme(LIST, **query)

        assert answer.status_code in {400, 404}
        assert answer["content-type"] == "application/problem+json"

    def test_calls_of_another_organisation_are_not_there(self, cast, acme, asking):  # noqa: F811
        call = make_call(cast.acme)
        globex = asking(cast.globex, Scope.ADMIN)

        assert globex(LIST).json()["results"] == []
        assert globex(f"{LIST}{call.pk}/").status_code == 404
        assert acme(f"{LIST}{call.pk}/").json()["call_id"] == str(call.pk)

    def test_only_an_administrating_key_reads_them(self, cast, asking, client):  # noqa: F811
        assert client.get(LIST).status_code == 401
        assert asking(cast.acme, Scope.CATALOG_READ)(LIST).status_code == 403
        assert asking(cast.acme, Scope.INVOKE)(f"{LIST}{uuid7()}/").status_code == 403

    def test_an_expired_key_reads_nothing(self, cast, asking):  # noqa: F811
        ask = asking(cast.acme, Scope.ADMIN, expires_at=clock.now() + timedelta(seconds=5))
        with clock.frozen(clock.now() + timedelta(minutes=1)):
            assert ask(LIST).status_code == 401
