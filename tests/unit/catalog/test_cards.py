from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from catalog import cards
from catalog.cards import Readiness, Standing
from catalog.choices import Badge, Health, PolicyMode, Status
from catalog.models import Server, ServerVersion
from catalog.selectors.extras import PriceTag, ServerPrices

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
READY = Readiness(True, "Gateway ready")
MEMBER = Standing(signed_in=True, organisation=True)
OWNER = Standing(signed_in=True, organisation=True, may_give=True)


def server(**fields) -> Server:
    live = ServerVersion(protocol="2026-07-28")
    return Server(
        **{"status": Status.APPROVED, "current_version": live, "url": "https://payments.example/mcp", **fields}
    )


class TestHealth:
    @pytest.mark.parametrize(
        ("stored", "shown"), [(Health.READY, "ok"), (Health.DEGRADED, "degraded"), (Health.DOWN, "down")]
    )
    def test_a_fresh_measurement_is_shown(self, stored, shown):
        reading = cards.health_of(server(health=stored, health_checked_at=NOW, health_detail="why"), NOW)

        assert (reading.state, reading.measured_at, reading.detail) == (shown, NOW, "why")

    def test_an_old_measurement_says_nothing_about_now(self):
        old = NOW - timedelta(minutes=16)
        reading = cards.health_of(server(health=Health.READY, health_checked_at=old), NOW)

        assert (reading.state, reading.measured_at) == ("unknown", old)

    def test_what_was_never_measured_is_unknown(self):
        assert cards.health_of(server(health=Health.READY), NOW).state == "unknown"


class TestGateway:
    @pytest.mark.parametrize("status", [Status.APPROVED, Status.DEPRECATED])
    def test_an_approved_server_with_a_version_is_carried(self, status):
        assert cards.gateway_of(server(status=status)).ready

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"status": Status.SUBMITTED}, "waits for approval"),
            ({"status": Status.REMOVED}, "removed"),
            ({"gateway_enabled": False}, "turned off"),
            ({"current_version": None}, "no version"),
            ({"status": Status.LISTED}, "known from a source"),
            ({"url": ""}, "never read"),
            ({"current_version": ServerVersion(manifest={"name": "com.example/payments"})}, "never read"),
        ],
    )
    def test_what_is_missing_is_named(self, fields, words):
        gateway = cards.gateway_of(server(**fields))

        assert not gateway.ready
        assert words in gateway.words


class TestPolicy:
    def test_it_is_ready_when_every_tool_is_declared(self):
        assert cards.policy_of(server(), 0) == Readiness(True, "Allow-list policy")

    @pytest.mark.parametrize(("count", "words"), [(1, "1 tool undeclared"), (7, "7 tools undeclared")])
    def test_undeclared_tools_are_counted(self, count, words):
        policy = cards.policy_of(server(policy_mode=PolicyMode.OBSERVE), count)

        assert not policy.ready
        assert policy.words == f"Observing policy, {words}"


class TestApproval:
    @pytest.mark.parametrize(
        ("status", "badge", "shown"),
        [
            (Status.SUBMITTED, Badge.APPROVED, "pending"),
            (Status.DRAFT, Badge.APPROVED, "pending"),
            (Status.LISTED, Badge.APPROVED, "listed"),
            (Status.APPROVED, Badge.OBSERVE_ONLY, "observe"),
            (Status.APPROVED, Badge.RESTRICTED, "restricted"),
            (Status.DEPRECATED, Badge.APPROVED, "deprecated"),
        ],
    )
    def test_no_badge_is_shown_before_an_operator_approved(self, status, badge, shown):
        assert cards.approval_of(server(status=status, badge=badge)) == shown


class TestCardAction:
    @pytest.mark.parametrize(
        ("gateway", "standing", "usable", "label", "url"),
        [
            (READY, Standing(), False, "Open", "/s/"),
            (READY, Standing(signed_in=True), False, "Open", "/s/"),
            (READY, MEMBER, False, "Request access", "/s/?tab=access"),
            (READY, OWNER, False, "Give access", "/s/?tab=access"),
            (READY, MEMBER, True, "Use it", "/s/?tab=install"),
            (Readiness(False, "off"), OWNER, True, "Open", "/s/"),
        ],
    )
    def test_it_is_what_this_viewer_can_do_next(self, gateway, standing, usable, label, url):
        action = cards.card_action("/s/", gateway, standing, usable=usable)

        assert (action.label, action.url) == (label, url)


def tag(amount: str) -> PriceTag:
    return PriceTag(Decimal(amount), "USD")


class TestShownPrice:
    def test_a_server_without_prices_is_free(self):
        assert ServerPrices().shown is None
        assert ServerPrices(whole=tag("0"), tools={"a": tag("0")}).shown is None

    def test_one_price_is_shown_as_it_is(self):
        assert ServerPrices(whole=tag("0.02")).shown == tag("0.02")

    def test_prices_that_differ_are_not_shown_as_one(self):
        shown = ServerPrices(whole=tag("0.02"), tools={"a": tag("5")}).shown

        assert shown is not None
        assert shown.amount == Decimal("0.02")
        assert "differ" in shown.unit

    def test_the_least_price_leads_when_only_some_tools_cost_anything(self):
        shown = ServerPrices(tools={"a": tag("5"), "b": tag("3"), "c": tag("0")}).shown

        assert shown is not None
        assert shown.amount == 3

    def test_a_tools_own_price_beats_the_servers(self):
        prices = ServerPrices(whole=tag("0.02"), tools={"a": tag("5")})

        assert prices.of_tool("a") == tag("5")
        assert prices.of_tool("b") == tag("0.02")
