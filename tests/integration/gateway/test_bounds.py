"""Everything has a bound: calls at once, streams and their age, silences. Who reaches one is told which."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.config import AdmissionConfig, Deadlines
from tests.integration.gateway.conftest import Stage
from tests.support.gateways import config_for, make_call_tables, running_gateway
from tests.support.processes import wait_until


@pytest.fixture(scope="module")
def stage(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[Stage]:
    """A gateway with few places: two calls per organisation, one per server, one stream per key, two per organisation."""
    make, world, upstream = build_stage()
    admission = AdmissionConfig(
        per_server=1, per_tenant=2, queue=1, queue_s=0.1, streams_per_key=1, streams_per_tenant=2
    )
    deadlines = Deadlines(connect=1.0, first_byte=2.0, idle=0.5, total=5.0, stream=1.0)
    config = config_for(*urls, upstream.port, sdk_port, admission=admission, deadlines=deadlines)
    with running_gateway(config, world.loader) as base:
        stage = make(base)
        stage.servers["hang-too"] = world.server("hang-too", upstream.url("hang"), stage.globex)
        yield stage


def newcomer(stage: Stage, keys: int = 1) -> list[Stage]:
    """A fresh organisation on the stage, as each of its keys sees it; every server is granted."""
    tenant = stage.world.tenant(f"t{uuid4().hex[:8]}")
    make_call_tables(stage.database_url, [tenant.schema_name])
    made = [stage.world.key(tenant) for _ in range(keys)]
    for _, key in made:
        for server in stage.servers.values():
            stage.world.grant(tenant, server, key)
    tenant = stage.world.loader.tenants[tenant.tenant_id]
    return [replace(stage, acme=tenant, token=token, key=key) for token, key in made]


@contextlib.contextmanager
def held(who: Stage, *servers: str) -> Iterator[None]:
    """One call under way at each of these servers, none of which answers."""
    seen = len(who.upstream.requests)
    calls = [threading.Thread(target=who.call, args=(server,)) for server in servers]
    for call in calls:
        call.start()
    wait_until(lambda: len(who.upstream.requests) >= seen + len(servers), "the calls to be under way")
    yield
    for call in calls:
        call.join()


def listen(who: Stage) -> Any:
    headers = {**who.headers(), "accept": "text/event-stream", "mcp-protocol-version": "2025-11-25"}
    return httpx.stream("GET", f"{who.base}/mcp/stream-hangs", headers=headers, timeout=10)


def test_an_organisation_that_takes_all_its_places_is_told_so_and_others_are_served(stage: Stage) -> None:
    (acme,), (globex,) = newcomer(stage), newcomer(stage)
    with held(acme, "hang", "hang-too"):
        refused = acme.call("ok")
        assert globex.call("ok").status_code == 200
    told = refused.json()["error"]["data"]
    assert (refused.status_code, told["code"], told["reason"]) == (503, "limits.concurrency", "too_many_at_once")
    assert told["limit"] == {
        "id": "",
        "name": "calls at once",
        "scope": "organisation",
        "kind": "concurrency",
        "limit": 2,
        "remaining": 0,
        "reset_s": 1,
    }
    assert refused.headers["retry-after"] == "1"
    row = acme.row(refused)
    assert (row["outcome"], row["attempts"], row["billable"]) == ("denied", 0, False)
    assert acme.call("ok").status_code == 200


def test_a_server_that_is_full_is_named_as_the_one(stage: Stage) -> None:
    (acme,) = newcomer(stage)
    with held(acme, "hang"):
        refused = acme.invoke("hang")
    told = refused.json()
    assert (refused.status_code, told["code"]) == (503, "upstream.busy")
    assert (told["limit"]["scope"], told["limit"]["limit"], told["limit"]["remaining"]) == ("server", 1, 0)
    assert told["retry_after_s"] == 1


def test_open_streams_are_counted_by_key_and_by_organisation(stage: Stage) -> None:
    first, second, third = newcomer(stage, keys=3)
    with listen(first) as one, listen(second) as two:
        assert (one.status_code, two.status_code) == (200, 200)
        with listen(first) as again, listen(third) as more:
            for refused, scope, limit in ((again, "key", 1), (more, "organisation", 2)):
                told = json.loads(refused.read())["error"]["data"]
                assert (refused.status_code, told["code"]) == (429, "limits.streams")
                assert (told["limit"]["scope"], told["limit"]["limit"]) == (scope, limit)
    wait_until(lambda: status_of(third) == 200, "a place")


def status_of(who: Stage) -> int:
    with listen(who) as response:
        return response.status_code


def test_a_stream_ends_in_good_order_at_its_greatest_age(stage: Stage) -> None:
    (acme,) = newcomer(stage)
    with listen(acme) as response:
        text = response.read().decode()  # ends, and not by an error of the transport
    assert "notifications/progress" in text
    assert "error" not in text


def test_a_server_that_falls_silent_in_a_stream_ends_the_call_with_one_error(stage: Stage) -> None:
    (acme,) = newcomer(stage)
    response = acme.call("stream-hangs")
    last = json.loads(response.text.rsplit("data: ", 1)[1])
    assert (last["id"], last["error"]["data"]["code"]) == (1, "upstream.timeout")
    assert acme.row(response)["outcome"] == "timeout"


@pytest.mark.parametrize("protocol", ["2026-07-28", "2025-11-25"])
def test_a_server_that_asks_for_time_is_quoted(stage: Stage, protocol: str) -> None:
    (acme,) = newcomer(stage)
    slug = f"later-{protocol}"
    server = stage.world.server(slug, stage.upstream.url("later"), stage.acme, protocol=protocol)
    stage.world.grant(acme.acme, server, acme.key)
    wait_until(lambda: acme.call(slug).status_code in {429, 502}, "the server to be known")
    for response in (acme.call(slug), acme.invoke(slug)):
        assert response.headers["retry-after"] == "7"
