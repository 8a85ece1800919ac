"""What a call costs when prices change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from core import clock
from gateway.entries import Offer, Price
from tests.integration.gateway.conftest import Stage
from tests.support.processes import wait_until


def test_a_price_that_was_set_ahead_holds_from_its_moment_on(stage: Stage) -> None:
    """Nobody touches the server at that moment: the entry itself says until when it holds."""
    moment = clock.now() + timedelta(seconds=1.5)
    server = stage.world.server("dearer", stage.upstream.url("ok"), stage.globex, prices_until=moment)
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: stage.call("dearer").status_code == 200, "the grant")
    assert stage.row(stage.call("dearer"))["price"] == Decimal("0.02")

    later = Price(uuid4(), Decimal("0.05"), "USD")
    stage.world.loader.servers[server.server_id] = replace(server, price=later, prices_until=None)
    wait_until(lambda: clock.now() > moment, "the moment")
    row = stage.row(stage.call("dearer"))
    assert (row["price"], row["quoted_price"], row["price_version_id"]) == (
        Decimal("0.05"),
        Decimal("0.05"),
        later.price_version_id,
    )


def test_what_was_agreed_with_the_organisation_beats_the_price_for_all_while_it_holds(stage: Stage) -> None:
    server = stage.world.server("agreed", stage.upstream.url("ok"), stage.globex)
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: stage.call("agreed").status_code == 200, "the grant")
    now, agreed = clock.now(), Price(uuid4(), Decimal("0.001"), "USD")
    ends_at = now + timedelta(seconds=4)
    others = Offer("", Price(uuid4(), Decimal("0.007"), "USD"), now - timedelta(days=2), now - timedelta(days=1))
    offers = {server.server_id: (others, Offer("", agreed, now - timedelta(days=1), ends_at))}
    stage.world.change(stage.acme.tenant_id, offers=offers)
    wait_until(lambda: stage.row(stage.call("agreed"))["price"] == agreed.rate, "what was agreed")

    row = stage.row(stage.call("agreed"))
    assert row["price_version_id"] == agreed.price_version_id or clock.now() >= ends_at
    wait_until(lambda: clock.now() > ends_at, "the end of it")
    assert stage.row(stage.call("agreed"))["price"] == Decimal("0.02")


def test_an_organisation_calls_its_own_servers_free(stage: Stage) -> None:
    server = stage.world.server("own", stage.upstream.url("ok"), stage.acme)
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: stage.call("own").status_code == 200, "the grant")
    row = stage.row(stage.call("own"))

    assert (row["price"], row["quoted_price"], row["price_version_id"]) == (Decimal(0), None, None)
