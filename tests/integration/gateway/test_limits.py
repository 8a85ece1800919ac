"""Rates, quotas and caps over HTTP: what passes, what a refusal says, and that several gateways together keep one limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from access.limits import LimitKind, LimitRule, LimitScope, Period, to_units
from billing.core import rating
from gateway.admission.plans import provider_limits
from gateway.entries import Price, ServerEntry
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import be_patient_with_valkey, config_for, running_gateway
from tests.support.processes import wait_until

GATEWAYS = 3


@pytest.fixture(scope="module")
def stages(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[list[Stage]]:
    """The same world behind several gateways."""
    make, world, upstream = build_stage()
    config = config_for(*urls, upstream.port, sdk_port)
    with contextlib.ExitStack() as stack:
        be_patient_with_valkey(stack.enter_context(pytest.MonkeyPatch.context()).setattr)
        yield [make(stack.enter_context(running_gateway(config, world.loader))) for _ in range(GATEWAYS)]


def limited(stages: list[Stage], *rules: LimitRule, price: str | Price = "0.02", behaviour: str = "ok") -> list[Stage]:
    """Each gateway as seen by a fresh organisation with these limits and a fresh server."""
    stage = stages[0]
    world = stage.world
    tenant = world.tenant(f"t{uuid4().hex[:8]}", limits=rules)
    from tests.support.gateways import make_call_tables

    make_call_tables(stage.database_url, [tenant.schema_name])
    token, key = world.key(tenant)
    server = world.server(f"s{uuid4().hex[:8]}", stage.upstream.url(behaviour), stage.globex, price=priced(price))
    world.grant(tenant, server, key)
    tenant = world.loader.tenants[tenant.tenant_id]
    return [replace(each, acme=tenant, token=token, key=key, servers={"it": server}) for each in stages]


def priced(rate: str | Price) -> Price:
    return rate if isinstance(rate, Price) else Price(uuid4(), Decimal(rate), "USD")


def by_model(**model: Any) -> Price:
    """A price that depends on the month's calls."""
    return Price(uuid4(), rating.quote(rating.parse(model)), "USD", json.dumps(model))


PACKAGE_OF_THREE: dict[str, Any] = {"kind": "package", "rate": "0.5", "size": 3}


def slug(stage: Stage) -> str:
    return stage.servers["it"].slug


def rule(kind: LimitKind, amount: int, period: Period, **more: Any) -> LimitRule:
    return LimitRule(f"{kind}-{uuid4().hex[:6]}", "The limit", LimitScope.ORGANISATION, kind, amount, period, **more)


def cap(amount: str, **more: Any) -> LimitRule:
    return rule(LimitKind.CAP, to_units(Decimal(amount)), Period.MONTH, **more)


def statuses(stages: list[Stage], count: int, at_once: int = 16) -> list[int]:
    """Of so many calls, sent to the gateways in turn, several at once."""

    async def run() -> list[int]:
        gate = asyncio.Semaphore(at_once)
        async with httpx.AsyncClient(timeout=20) as client:

            async def one(number: int) -> int:
                stage = stages[number % len(stages)]
                async with gate:
                    response = await client.post(
                        f"{stage.base}/mcp/{slug(stage)}",
                        content=body_of("tools/call", {"name": "echo", "arguments": {}}),
                        headers=stage.modern("tools/call", "echo"),
                    )
                return response.status_code

            return list(await asyncio.gather(*(one(number) for number in range(count))))

    return asyncio.run(run())


def test_prepaid_credit_is_used_to_the_last_call_grows_when_more_is_bought_and_says_what_to_do(
    stages: list[Stage],
) -> None:
    credit = rule(LimitKind.CAP, to_units(Decimal("0.10")), Period.EVER)
    several = limited(stages, credit)
    found = statuses(several, 40)
    assert found.count(200) <= 5
    assert set(found) == {200, 402}
    stage = several[0]
    wait_until(lambda: stage.call(slug(stage)).status_code == 402, "the credit to be used up")
    assert sum(row["price"] for row in stage.rows()) <= Decimal("0.10")

    refused = stage.call(slug(stage))
    data = refused.json()["error"]["data"]
    assert (refused.json()["error"]["code"], data["code"]) == (40220, "billing.credit_used_up")
    assert (data["limit"]["price"], "buy credit" in data["next_step"]) == ("0.02", True)
    assert "retry-after" not in refused.headers
    row = stage.row(refused)
    assert (row["reason"], row["billable"]) == ("spending_cap_reached", False)

    world, more = stage.world, replace(credit, amount=to_units(Decimal("0.14")))
    world.change(stage.acme.tenant_id, limits=(more,))
    wait_until(lambda: stage.call(slug(stage)).status_code == 200, "the credit that was bought")


def test_a_used_up_rate_says_which_limit_it_was_and_when_to_return(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, rule(LimitKind.RATE, 3, Period.HOUR))
    assert [stage.call(slug(stage)).status_code for _ in range(3)] == [200, 200, 200]
    refused = stage.call(slug(stage))
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 60
    assert refused.headers["ratelimit"].startswith('"organisation-rate";r=0;t=')
    assert refused.headers["ratelimit-policy"] == '"organisation-rate";q=3;w=3600'
    data = refused.json()["error"]["data"]
    assert (data["code"], data["limit"]["name"], data["limit"]["remaining"]) == ("limits.rate", "The limit", 0)
    row = stage.row(refused)
    assert (row["allowed"], row["reason"], row["outcome"]) == (False, "rate_limited", "denied")
    assert stage.invoke(slug(stage)).json()["limit"]["limit"] == 3


def test_a_session_of_an_older_client_survives_a_refusal_by_a_limit(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, rule(LimitKind.RATE, 1, Period.HOUR))
    stage.call(slug(stage))
    response = httpx.post(
        f"{stage.base}/mcp/{slug(stage)}", content=body_of("tools/list", modern=False), headers=stage.headers()
    )
    assert (response.status_code, response.json()["error"]["code"]) == (200, 42900)
    assert "retry-after" in response.headers


def test_gateways_together_let_through_what_the_rate_allows_and_no_more(stages: list[Stage]) -> None:
    several = limited(stages, rule(LimitKind.RATE, 60, Period.DAY))
    found = statuses(several, 200)
    passed = found.count(200)
    assert passed <= 60
    assert found.count(429) == 200 - passed

    # What a gateway still holds when no more calls come is given back, and then used.
    def used_up() -> bool:
        nonlocal passed
        passed += several[0].call(slug(several[0])).status_code == 200
        return passed >= 60

    wait_until(used_up, "the rate to be used up")
    assert statuses(several, 30).count(429) == 30


def test_a_hard_cap_is_used_to_the_last_call_and_never_overrun_by_several_gateways(stages: list[Stage]) -> None:
    several = limited(stages, cap("0.50"))
    found = statuses(several, 120)
    assert found.count(402) + found.count(200) == 120
    assert found.count(200) <= 25
    # What one gateway still held ahead is given back, and then used.
    wait_until(lambda: several[0].call(slug(several[0])).status_code == 402, "the cap to be used up")
    spent = sum(row["price"] for row in several[0].rows())
    assert spent <= Decimal("0.50")
    assert spent >= Decimal("0.40")


def test_the_refusal_of_a_cap_names_money_exactly(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, cap("0.05"))
    assert [stage.call(slug(stage)).status_code for _ in range(2)] == [200, 200]
    refused = stage.call(slug(stage))
    assert refused.status_code == 402
    limit = refused.json()["error"]["data"]["limit"]
    assert (limit["limit"], limit["remaining"], limit["price"], limit["currency"]) == ("0.05", "0.01", "0.02", "USD")
    row = stage.row(refused)
    assert (row["reason"], row["billable"], row["price"]) == ("spending_cap_reached", False, 0)


def test_what_is_not_billed_does_not_count(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, cap("0.05"), behaviour="tool-error")
    assert {stage.call(slug(stage)).status_code for _ in range(6)} == {200}


def test_a_free_call_passes_under_a_cap_that_is_used_up(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, cap("0"), price="0")
    assert stage.call(slug(stage)).status_code == 200


def test_what_was_spent_before_the_start_counts(stages: list[Stage]) -> None:
    limit = cap("0.05")
    stages[0].world.loader.sums[limit.limit_id] = to_units(Decimal("0.02"))
    (stage, *_) = limited(stages, limit)
    assert [stage.call(slug(stage)).status_code for _ in range(2)] == [200, 402]


def test_a_quota_counts_successful_tool_calls_and_nothing_else(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, rule(LimitKind.QUOTA, 2, Period.DAY))
    for _ in range(4):
        body = body_of("tools/list")
        listed = httpx.post(f"{stage.base}/mcp/{slug(stage)}", content=body, headers=stage.modern("tools/list"))
        assert listed.status_code == 200
    assert [stage.call(slug(stage)).status_code for _ in range(3)] == [200, 200, 429]
    assert stage.call(slug(stage)).json()["error"]["data"]["code"] == "limits.quota"


def test_a_soft_limit_refuses_nobody_and_people_are_told_at_each_share(stages: list[Stage]) -> None:
    limit = rule(LimitKind.QUOTA, 10, Period.DAY, hard=False)
    (stage, *_) = limited(stages, limit)
    assert {stage.call(slug(stage)).status_code for _ in range(12)} == {200}
    told = stage.world.loader.told
    wait_until(lambda: (limit.limit_id, 100) in told, "people to be told")
    assert len([each for each in told if each == (limit.limit_id, 100)]) == 1


def test_a_limit_of_one_key_or_tool_leaves_the_others_alone(stages: list[Stage]) -> None:
    only = LimitRule("one", "One tool", LimitScope.TOOL, LimitKind.RATE, 1, Period.HOUR, tool="echo")
    (stage, *_) = limited(stages, only)
    assert [stage.call(slug(stage)).status_code for _ in range(2)] == [200, 429]
    assert [stage.call(slug(stage), "add").status_code for _ in range(2)] == [200, 200]


def test_a_providers_limit_holds_for_each_organisation_by_itself(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages)
    other = limited(stages)[0]
    server: ServerEntry = stage.servers["it"]
    stage.world.loader.servers[server.server_id] = replace(server, limits=provider_limits(server.server_id, 2, None))
    stage.world.grant(stage.world.loader.tenants[other.acme.tenant_id], server, other.key)
    assert [stage.call(slug(stage)).status_code for _ in range(3)] == [200, 200, 429]
    assert replace(stage, token=other.token).call(slug(stage)).status_code == 200


def prices(stage: Stage) -> list[Decimal]:
    return sorted(row["price"] for row in stage.rows() if row["billable"])


def test_free_calls_of_a_price_pass_under_a_cap_that_leaves_nothing(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, cap("0"), price=by_model(kind="per_unit", rate="0.5", free=2))
    assert [stage.call(slug(stage)).status_code for _ in range(3)] == [200, 200, 402]
    assert prices(stage) == [0, 0]


def test_only_the_call_that_opens_a_package_needs_room_under_a_cap(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, cap("1.2"), price=by_model(**PACKAGE_OF_THREE))
    assert [stage.call(slug(stage)).status_code for _ in range(7)] == [*[200] * 6, 402]
    refused = stage.call(slug(stage)).json()["error"]["data"]["limit"]
    assert (refused["remaining"], refused["price"]) == ("0.2", "0.5")
    assert prices(stage) == [0, 0, 0, 0, Decimal("0.5"), Decimal("0.5")]
    assert {row["quoted_price"] for row in stage.rows()} == {Decimal("0.5")}


def test_calls_of_higher_tiers_are_counted_at_what_they_cost(stages: list[Stage]) -> None:
    tiers = [{"up_to": 2, "rate": "0.5"}, {"up_to": None, "rate": "0.1"}]
    (stage, *_) = limited(stages, cap("1.25"), price=by_model(kind="graduated", tiers=tiers))
    assert [stage.call(slug(stage)).status_code for _ in range(5)] == [*[200] * 4, 402]


def test_what_was_called_before_the_start_counts_for_the_price(stages: list[Stage], monkeypatch: Any) -> None:
    monkeypatch.setitem(stages[0].world.loader.sums, "units", 1)
    (stage, *_) = limited(stages, cap("0"), price=by_model(**PACKAGE_OF_THREE))
    assert [stage.call(slug(stage)).status_code for _ in range(3)] == [200, 200, 402]


def test_gateways_together_count_no_package_twice_and_pass_a_cap_by_no_more_than_they_owe(stages: list[Stage]) -> None:
    several = limited(stages, cap("5"), price=by_model(**PACKAGE_OF_THREE))
    found = statuses(several, 60)
    assert found.count(402) + found.count(200) == 60
    wait_until(lambda: several[0].call(slug(several[0])).status_code == 402, "the cap to be used up")
    counted = prices(several[0])
    assert sum(counted) <= 5
    bill = rating.rate(rating.parse(PACKAGE_OF_THREE), len(counted))
    # A call that the cap refused may have been the first of a package: what it leaves is owed by the next calls.
    owed = GATEWAYS * Decimal(PACKAGE_OF_THREE["rate"])
    assert bill <= 5 + owed
    assert sum(counted) >= bill - owed
    assert len(counted) >= 20


def test_a_failed_call_does_not_open_a_package(stages: list[Stage]) -> None:
    (stage, *_) = limited(stages, cap("0.5"), price=by_model(**PACKAGE_OF_THREE), behaviour="tool-error")
    assert {stage.call(slug(stage)).status_code for _ in range(5)} == {200}
    assert prices(stage) == []


@pytest.fixture(scope="module")
def alone(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[Stage]:
    """A gateway that cannot reach Valkey."""
    make, world, upstream = build_stage()
    config = config_for(urls[0], "redis://127.0.0.1:9/0", upstream.port, sdk_port)
    with running_gateway(config, world.loader) as base:
        yield make(base)


def test_without_valkey_a_rate_holds_in_each_process(alone: Stage) -> None:
    (stage,) = limited([alone], rule(LimitKind.RATE, 4, Period.DAY))
    found = [stage.call(slug(stage)).status_code for _ in range(10)]
    assert found.count(200) <= 4
    assert found[0] == 200


def test_without_valkey_a_priced_call_under_a_hard_cap_waits_and_a_free_one_passes(alone: Stage) -> None:
    (paid,) = limited([alone], cap("100"))
    refused = paid.call(slug(paid))
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert paid.row(refused)["reason"] == "limits_unavailable"
    (free,) = limited([alone], cap("100"), price="0")
    assert free.call(slug(free)).status_code == 200
    (tiered,) = limited([alone], price=by_model(**PACKAGE_OF_THREE))
    assert tiered.row(tiered.call(slug(tiered)))["price"] == Decimal("0.5")
    (counted,) = limited([alone], rule(LimitKind.QUOTA, 2, Period.DAY))
    assert [counted.call(slug(counted)).status_code for _ in range(3)] == [200, 200, 429]
