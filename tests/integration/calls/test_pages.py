from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from access.services.connect import connect
from access.types import Reason
from calls.record import Outcome
from core import clock
from core.ids import uuid7
from tenants.context import tenant_scope
from tests.support.calls import add_call, add_refusal

LIST = "/o/acme/calls/"
LIVE = {"HX-Request": "true"}


@pytest.fixture
def key(cast):
    with tenant_scope(cast.acme):
        return connect(
            tenant=cast.acme, name="Invoices", scopes=["invoke"], servers=[cast.payments], actor=cast.alice
        ).key


@pytest.fixture
def alice(cast, signed_in):
    return signed_in(cast.alice)


def text(answer) -> str:
    return answer.content.decode()


def rows(answer) -> list[str]:
    return re.findall(r'id="call-([0-9a-f]{32})"', text(answer))


class TestList:
    def test_a_call_is_shown_with_who_decision_result_and_price(self, alice, cast, key):
        paid = {"billable": True, "quantity": Decimal(1), "price": Decimal("0.02"), "quoted_price": Decimal("0.02")}
        add_call(cast.acme, api_key_id=key.pk, agent="clerk", server_id=cast.payments.pk, **paid)

        page = text(alice.get(LIST))

        for words in ("list_invoices", "Payments", "Invoices", "clerk", "Allowed", "12.5 ms", "0.02"):
            assert words in page

    def test_a_refusal_says_why_in_words(self, alice, cast):
        add_refusal(cast.acme, Reason.TRUST_TOO_LOW, tool="refund_invoice")

        page = text(alice.get(LIST))

        assert "Refused" in page
        assert "Trust too low" in page
        assert "not sent" in page

    def test_the_numbers_are_those_of_the_period(self, alice, cast):
        # Of a tool of their own: calls that another test committed stay in the log, which cannot be emptied.
        for _ in range(3):
            add_call(cast.acme, tool="counted")
        add_refusal(cast.acme, Reason.NO_MATCHING_GRANT, tool="counted")
        add_call(cast.acme, at=clock.now() - timedelta(days=3), tool="counted")

        assert '75<span class="stat__unit"> %' in text(alice.get(LIST + "?tool=counted"))
        assert len(rows(alice.get(LIST + "?tool=counted"))) == 4
        assert len(rows(alice.get(LIST + "?tool=counted&period=7d"))) == 5

    def test_it_is_paged_without_losing_or_repeating_a_row(self, alice, cast):
        ids = [add_call(cast.acme, at=clock.now() - timedelta(seconds=second)).hex for second in range(60)]
        seen: list[str] = []
        address = LIST
        while address:
            answer = alice.get(address)
            seen += rows(answer)
            older = re.search(r'rel="next" href="([^"]+)"', text(answer))
            address = LIST + older[1].replace("&amp;", "&") if older else ""

        assert seen == ids

    def test_the_filter_is_kept_from_page_to_page(self, alice, cast):
        for second in range(30):
            add_call(cast.acme, at=clock.now() - timedelta(seconds=second), tool="a&b=c")
        older = re.search(r'rel="next" href="([^"]+)"', text(alice.get(LIST + "?tool=a%26b%3Dc")))

        assert len(rows(alice.get(LIST + older[1].replace("&amp;", "&")))) == 5

    @pytest.mark.parametrize(
        "query",
        ["?server=x&key=y&before=z&after=w", "?period=never&outcome=odd", "?tool=%00'\"<b>", f"?before={UUID(int=0)}"],
    )
    def test_odd_addresses_do_not_break_it(self, alice, cast, query):
        add_call(cast.acme)

        answer = alice.get(LIST + query)

        assert answer.status_code == 200
        assert "<b>" not in text(answer)

    def test_a_tool_name_of_the_full_length_is_escaped_and_kept(self, alice, cast):
        name = "<i>" + "n" * 197
        add_call(cast.acme, tool=name)

        assert "&lt;i&gt;" + "n" * 197 in text(alice.get(LIST))

    def test_a_server_that_may_not_be_seen_is_named_as_the_caller_named_it(self, cast, signed_in):
        add_refusal(cast.globex, Reason.SERVER_UNKNOWN, server_id=cast.vault.pk, server_name="vault")

        page = text(signed_in(cast.charlie).get("/o/globex/calls/"))

        assert "vault" in page
        assert "Vault" not in page

    def test_members_may_look(self, cast, signed_in):
        call = add_call(cast.acme)
        bob = signed_in(cast.bob)

        assert rows(bob.get(LIST)) == [call.hex]
        assert bob.get(f"{LIST}{call}/").status_code == 200

    def test_others_and_the_anonymous_do_not_get_in(self, client, cast, signed_in):
        call = add_call(cast.acme)
        charlie = signed_in(cast.charlie)

        assert charlie.get(LIST).status_code == 404
        assert charlie.get(f"{LIST}{call}/").status_code == 404
        assert charlie.get(f"/o/globex/calls/{call}/").status_code == 404
        client.logout()
        assert client.get(LIST).status_code == client.get(f"{LIST}{call}/").status_code == 302


class TestNothingToShow:
    def test_the_first_call_of_an_organisation_is_led_to(self, alice, cast, key):
        page = text(alice.get(LIST))

        assert "No calls yet" in page
        assert "/v1/invoke" in page
        assert "list_invoices" in page

    def test_without_access_the_first_step_is_a_key(self, cast, signed_in):
        assert "/o/globex/keys/new/" in text(signed_in(cast.charlie).get("/o/globex/calls/"))

    def test_a_member_without_the_right_is_not_sent_to_a_closed_door(self, cast, signed_in):
        assert "/o/acme/keys/new/" not in text(signed_in(cast.bob).get(LIST))

    def test_a_quiet_period_points_to_a_longer_one(self, alice, cast):
        add_call(cast.acme, at=clock.now() - timedelta(days=4))

        assert "No calls in this period" in text(alice.get(LIST))

    def test_a_filter_that_fits_nothing_can_be_cleared(self, alice, cast):
        add_call(cast.acme)

        assert "Clear the filter" in text(alice.get(LIST + "?tool=none"))


class TestLive:
    def test_without_news_the_answer_is_empty(self, alice, cast):
        newest = add_call(cast.acme)

        assert alice.get(f"{LIST}?after={newest}", headers=LIVE).status_code == 204

    def test_news_bring_the_rows_and_the_numbers(self, alice, cast):
        seen = add_call(cast.acme, at=clock.now() - timedelta(seconds=5))
        new = add_call(cast.acme)

        answer = alice.get(f"{LIST}?after={seen}", headers=LIVE)

        assert rows(answer) == [new.hex, seen.hex]
        assert text(answer).count('class="is-new"') == 1
        assert 'hx-swap-oob="true"' in text(answer)
        assert "<html" not in text(answer)
        assert f"after={new}" in text(answer)

    def test_the_page_of_an_empty_organisation_waits_for_its_first_call(self, alice, cast, key):
        assert "data-live-reload" in text(alice.get(LIST))
        assert alice.get(LIST + "?after=", headers=LIVE).status_code == 204
        add_call(cast.acme)
        assert alice.get(LIST + "?after=", headers=LIVE).status_code == 200

    def test_older_rows_do_not_refresh(self, alice, cast):
        add_call(cast.acme, at=clock.now() - timedelta(seconds=5))
        last = add_call(cast.acme)

        assert "every 2s" not in text(alice.get(f"{LIST}?before={last}"))

    def test_charlie_gets_no_news_of_acme(self, cast, signed_in):
        add_call(cast.acme)

        assert signed_in(cast.charlie).get(LIST + "?after=", headers=LIVE).status_code == 404


class TestDetail:
    def test_it_shows_where_the_time_went(self, alice, cast, key):
        call = add_call(cast.acme, timings="authenticate:40,decide:100,reply:2500", credential="key")

        page = text(alice.get(f"{LIST}{call}/"))

        assert "Where the time went" in page
        for words in ("Key checked", "0.04 ms", "Answer arrived", "2.40 ms"):
            assert words in page

    def test_what_no_step_accounts_for_is_shown_too(self, alice, cast, key):
        call = add_call(cast.acme, timings="authenticate:40,decide:100", latency_ms=3.1)

        page = text(alice.get(f"{LIST}{call}/"))

        assert "Answer prepared" in page
        assert "3.00 ms" in page

    def test_a_call_that_no_server_answered_says_so(self, alice, cast, key):
        call = add_call(cast.acme, timings="intent:40,reply:100", outcome="upstream_error", attempts=1, upstream_ms=0)

        page = text(alice.get(f"{LIST}{call}/"))

        assert "Server failed" in page
        assert "Answer arrived" not in page
        assert "no answer" in page

    def test_a_call_that_an_open_breaker_held_back_was_not_sent(self, alice, cast, key):
        call = add_call(cast.acme, outcome="upstream_error", attempts=0, upstream_ms=0)

        assert "It was not sent" in text(alice.get(f"{LIST}{call}/"))

    def test_an_answer_about_every_server_claims_no_single_decision(self, alice, cast, key):
        call = add_call(cast.acme, server_id=None, server_name="", tool="", method="tools/list")

        page = text(alice.get(f"{LIST}{call}/"))

        assert "All servers" in page
        assert "Each server and each tool in the answer was decided by itself" in page
        assert "Decided here" not in page
        assert "The server answered" not in page

    def test_it_says_as_whom_the_server_met_us(self, alice, cast, key):
        call = add_call(cast.acme, upstream_auth="jwt+bearer")

        assert "the marketplace, by a signed token, and bearer token" in text(alice.get(f"{LIST}{call}/"))

    def test_a_call_without_steps_shows_no_empty_chart(self, alice, cast, key):
        assert "Where the time went" not in text(alice.get(f"{LIST}{add_call(cast.acme)}/"))

    def test_it_tells_the_whole_story(self, alice, cast, key):
        with tenant_scope(cast.acme):
            from access.models import Grant

            grant = Grant.objects.get()
        price = uuid7()
        call = add_call(
            cast.acme,
            api_key_id=key.pk,
            server_id=cast.payments.pk,
            server_version_id=cast.payments.current_version_id,
            grant_id=grant.pk,
            trust_required="low",
            trust_effective="low",
            side_effect="read",
            arguments_digest="ab" * 32,
            billable=True,
            quantity=Decimal(1),
            price=Decimal("0.02"),
            quoted_price=Decimal("0.02"),
            price_version_id=price,
            client="mcp/2.3",
            protocol="2026-07-28",
            request_id="7",
            trace_id="cd" * 16,
        )

        page = text(alice.get(f"{LIST}{call}/"))

        facts = (
            *(str(call), str(price), "ab" * 32, "cd" * 16, "mcp/2.3", "MCP 2026-07-28", "1.0.0"),
            *("alice@acme.example", key.prefix, f"#grant-{grant.pk}", "Why it was allowed", "Decided here"),
        )
        for fact in facts:
            assert fact in page

    def test_a_refusal_offers_the_one_step_that_helps(self, alice, cast, key):
        call = add_refusal(
            cast.acme,
            Reason.SIDE_EFFECT_NOT_ALLOWED,
            api_key_id=key.pk,
            server_id=cast.payments.pk,
            tool="refund_invoice",
            side_effect="destructive",
            trust_required="high",
        )

        page = text(alice.get(f"{LIST}{call}/")).replace("&amp;", "&")

        assert "is destructive, and no grant of the caller allows that" in page
        assert f"subject=key%3A{key.pk}&tool=refund_invoice&trust=high&effect=destructive" in page

    def test_a_member_is_told_whom_to_ask(self, cast, signed_in):
        call = add_refusal(cast.acme, Reason.NO_MATCHING_GRANT, server_id=cast.payments.pk)

        page = text(signed_in(cast.bob).get(f"{LIST}{call}/"))

        assert "Ask alice@acme.example" in page
        assert "/access/new/" not in page

    @pytest.mark.parametrize("reason", [*Reason, "", "from_the_future"])
    def test_every_reason_has_a_page(self, alice, cast, reason):
        call = add_refusal(cast.acme, str(reason))

        assert alice.get(f"{LIST}{call}/").status_code == 200

    @pytest.mark.parametrize("outcome", list(Outcome))
    def test_every_ending_has_a_page(self, alice, cast, outcome):
        call = add_call(cast.acme, outcome=outcome, error="upstream.failed: no answer")

        assert "upstream.failed" in text(alice.get(f"{LIST}{call}/"))

    def test_an_unknown_call_is_not_found(self, alice, cast):
        assert alice.get(f"{LIST}{UUID(int=5)}/").status_code == 404
