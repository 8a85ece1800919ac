from __future__ import annotations

from catalog.models import Server
from tenants.context import platform_scope
from tests.integration.catalog.test_home import granted, text_of  # noqa: F401 - the fixture is used by name
from tests.support.cast import PAYMENTS_TOOLS, make_server
from tests.support.imported import make_imported


def compare(visitor, *slugs: str) -> str:
    return text_of(visitor.get("/compare/", {"s": list(slugs)}))


class TestCompare:
    def test_servers_stand_side_by_side_with_their_tools(self, cast, client):
        with platform_scope():
            make_imported("mail")
        page = compare(client, "payments", "mail")

        for words in ("Payments", "Mail", "Initech", "io.example.mail", "refund_invoice", "send_mail", "Destructive"):
            assert words in page
        assert "compare__differs" in page
        assert "/compare/?s=mail" in page, "the way to take the other one away"

    def test_no_more_than_four_fit(self, cast, client):
        with platform_scope():
            for number in range(5):
                make_server(cast.initech, f"s{number}", f"Server {number}")
        page = compare(client, *(f"s{number}" for number in range(5)))

        assert "Server 3" in page
        assert "Server 4" not in page
        assert "left out" in page

    def test_what_one_may_not_know_of_is_not_compared(self, cast, signed_in, client):
        assert "Vault" in compare(signed_in(cast.bob), "vault")
        for visitor in (signed_in(cast.charlie), client):
            assert "Vault" not in compare(visitor, "payments", "vault")

    def test_the_next_step_is_the_viewers(self, cast, signed_in, granted):  # noqa: F811
        assert "Use it" in compare(signed_in(cast.bob), "payments")
        assert "Use it" not in compare(signed_in(cast.charlie), "payments")

    def test_without_servers_it_says_how(self, cast, client):
        assert "Nothing to compare yet" in compare(client)
        assert "Nothing to compare yet" in compare(client, "", "no-such", "x" * 500)

    def test_cards_offer_the_box(self, cast, client):
        assert 'name="s" value="payments" form="compare"' in text_of(client.get("/"))


class TestTools:
    def test_tools_of_all_servers_are_listed_with_what_they_do(self, cast, client):
        page = text_of(client.get("/tools/"))
        for words in (
            "list_invoices",
            "refund_invoice",
            "Destructive",
            "High trust",
            "Live",
            "0.02",
            "Payments",
            "2 tools",
        ):
            assert words in page

    def test_they_are_searched_and_narrowed(self, cast, client):
        assert "list_invoices" not in text_of(client.get("/tools/", {"q": "refund"}))
        narrowed = text_of(client.get("/tools/", {"effect": "read"}))
        assert "list_invoices" in narrowed
        assert "refund_invoice" not in narrowed
        assert "Side effect: Reads" in narrowed
        assert "No tool matches" in text_of(client.get("/tools/", {"q": "zzzzqqq"}))

    def test_tools_of_private_servers_are_their_owners_alone(self, cast, signed_in, client):
        with platform_scope():
            make_server(
                cast.acme, "secret", "Hidden", visibility="org", tools=[{**PAYMENTS_TOOLS[0], "name": "hidden_tool"}]
            )

        assert "hidden_tool" in text_of(signed_in(cast.bob).get("/tools/", {"q": "hidden"}))
        for visitor in (signed_in(cast.charlie), client):
            assert "hidden_tool" not in text_of(visitor.get("/tools/"))
            assert "hidden_tool" not in text_of(visitor.get("/tools/", {"q": "hidden"}))

    def test_what_a_source_declares_is_told_apart(self, cast, client):
        with platform_scope():
            make_imported("mail")
        page = text_of(client.get("/tools/", {"q": "send_mail"}))
        assert "Declared" in page


class TestCards:
    def test_a_card_says_where_a_listing_comes_from_and_how_it_is_reached(self, cast, client):
        with platform_scope():
            make_imported("mail", downloads=12_000)
            Server.objects.filter(slug="payments").update(is_featured=True, calls_30d=1234)

        page = text_of(client.get("/"))
        for words in ("Example registry", "npm", "12", "Featured", "1.2k calls"):
            assert words in page, words
