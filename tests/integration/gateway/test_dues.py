"""An organisation that has owed for too long: tools with a price are refused, free ones and other organisations go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from core import clock
from tests.integration.gateway.conftest import Stage
from tests.integration.gateway.test_limits import priced
from tests.support.processes import wait_until


@pytest.fixture
def mixed(stage: Stage) -> Iterator[Stage]:
    """A server of somebody else, each of whose tools has a price except `add`."""
    server = stage.world.server("mixed", stage.upstream.url("ok"), stage.globex, price=priced("0.02"))
    stage.world.loader.servers[server.server_id] = server = replace(server, tool_prices={"add": priced("0")})
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: stage.call("mixed").status_code == 200, "the grant")
    yield stage
    stage.world.change(stage.acme.tenant_id, unpaid_from=None)


def test_tools_with_a_price_are_refused_with_where_to_pay_and_free_ones_go_on(mixed: Stage) -> None:
    mixed.world.change(mixed.acme.tenant_id, unpaid_from=clock.now() - timedelta(seconds=1))
    wait_until(lambda: mixed.call("mixed").status_code == 402, "the refusal")

    refused = mixed.call("mixed")
    data = refused.json()["error"]["data"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, 40210)
    assert (data["code"], data["reason"]) == ("billing.payment_due", "payment_due")
    assert data["next_step"].endswith(f"/o/{mixed.acme.slug}/billing/invoices/")
    row = mixed.row(refused)
    assert (row["reason"], row["billable"], row["price"]) == ("payment_due", False, 0)
    assert mixed.invoke("mixed").status_code == 402
    assert [mixed.call("mixed", "add").status_code for _ in range(2)] == [200, 200]

    mixed.world.change(mixed.acme.tenant_id, unpaid_from=None)
    wait_until(lambda: mixed.call("mixed").status_code == 200, "the payment")


def test_it_begins_at_its_moment_although_the_way_of_such_calls_is_known(mixed: Stage) -> None:
    moment = clock.now() + timedelta(seconds=3)
    mixed.world.change(mixed.acme.tenant_id, unpaid_from=moment)
    tenant = mixed.world.loader.tenants[mixed.acme.tenant_id]
    assert tenant.unpaid_from == moment
    statuses = set()
    while clock.now() < moment - timedelta(seconds=1):
        statuses.add(mixed.call("mixed").status_code)
    assert statuses == {200}
    wait_until(lambda: clock.now() > moment, "the moment")
    wait_until(lambda: mixed.call("mixed").status_code == 402, "the refusal")


def test_a_call_that_is_not_allowed_says_that_and_not_that_money_is_owed(mixed: Stage) -> None:
    server = mixed.world.server(f"s{uuid4().hex[:8]}", mixed.upstream.url("ok"), mixed.globex, price=priced("0.02"))
    mixed.world.change(mixed.acme.tenant_id, unpaid_from=clock.now() - timedelta(seconds=1))
    wait_until(lambda: mixed.call("mixed").status_code == 402, "the refusal")
    assert mixed.call(server.slug).status_code == 403
