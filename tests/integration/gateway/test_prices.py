"""What a call costs when prices change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from core import clock
from gateway.entries import Price
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
