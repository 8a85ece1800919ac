from __future__ import annotations

import pytest

from catalog.formats.normal import Input, Remote
from catalog.models import Server
from tenants.context import platform_scope
from tests.integration.catalog.fakes import modern, serving
from tests.integration.catalog.test_home import granted, text_of  # noqa: F401 - the fixture is used by name
from tests.support.cast import PAYMENTS_TOOLS, make_server
from tests.support.imported import mail_entry, make_imported

PAGE = "/servers/payments/"


def install(visitor, slug: str = "payments", /, **query: str) -> str:
    return text_of(visitor.get(f"/servers/{slug}/", {"tab": "install"} | query))


class TestThroughTheGateway:
    def test_key_and_oauth_are_two_forms_of_each_client(self, cast, client):
        assert "Bearer YOUR_API_KEY" in install(client, way="key", client="cursor")
        by_oauth = install(client, way="oauth", client="cursor")
        assert "Bearer" not in by_oauth
        assert "Cursor asks you to sign in" in by_oauth

    def test_links_open_the_client(self, cast, client):
        assert 'href="cursor://anysphere.cursor-deeplink/mcp/install?name=payments' in install(client, client="cursor")
        assert 'href="vscode:mcp/install?%7B' in install(client, client="vs-code")

    def test_each_snippet_says_that_it_was_read_back(self, cast, client):
        assert "Reads as TOML and names payments." in install(client, client="codex")

    def test_the_reader_learns_why_the_gateway_is_required(self, cast, client):
        page = install(client)
        assert "its address is known to the gateway only" in page
        assert "calls have a price" in page

    def test_a_member_without_access_is_warned_and_one_with_access_is_not(self, cast, signed_in):
        assert "Your organisation has no access yet" in install(signed_in(cast.charlie))

    def test_a_member_with_access_is_not_warned(self, cast, signed_in, granted):  # noqa: F811
        page = install(signed_in(cast.bob))
        assert "has no access yet" not in page
        assert "Your organisation has one." in page

    def test_odd_choices_are_the_first_ones(self, cast, client):
        assert "claude mcp add" in install(client, way="<x>", client="../..")


class TestDirect:
    @pytest.fixture
    def mail(self, cast):
        with platform_scope():
            return make_imported("mail")

    def test_an_imported_server_is_used_as_its_publisher_says(self, mail, client):
        assert "https://mail.example/mcp" in install(client, "mail", client="other")
        package = install(client, "mail", way="direct-2", client="other")
        assert "@example/mail@1.2.0" in package
        assert "not carry calls to it" in package
        assert "YOUR_API_KEY" not in package

    def test_what_has_to_be_filled_in_is_named(self, cast, client):
        key = Input(name="X-Key", description="<b>Key</b> of your account", is_required=True, is_secret=True)
        with platform_scope():
            make_imported("mail", mail_entry(remotes=(Remote("streamable-http", "https://mail.example/mcp", (key,)),)))

        page = install(client, "mail")
        assert "YOUR_X_KEY" in page
        assert "&lt;b&gt;Key&lt;/b&gt; of your account" in page

    def test_a_client_that_cannot_says_why(self, mail, client):
        assert "It runs containers and reaches addresses" in install(client, "mail", way="direct-2", client="docker")

    def test_a_published_server_is_never_offered_direct(self, cast, client):
        assert "Direct" not in install(client)


class TestReachability:
    def test_the_anonymous_are_sent_to_sign_in(self, cast, client):
        assert client.post(f"{PAGE}reach/")["Location"].startswith("/accounts/login/")

    def test_nobody_checks_what_they_may_not_know_of(self, cast, signed_in):
        assert signed_in(cast.charlie).post("/servers/vault/reach/").status_code == 404

    def test_a_server_that_does_not_answer_is_reported(self, cast, signed_in):
        page = text_of(signed_in(cast.alice).post(f"{PAGE}reach/", follow=True))

        assert "Nobody has asked" not in page
        assert "status--down" in page

    def test_a_server_that_answers_is_reported_with_its_tools(self, cast, signed_in, settings):
        with serving(modern(PAYMENTS_TOOLS)) as server:
            settings.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
            with platform_scope():
                make_server(cast.initech, "real", "Real", url=server.url)
            page = text_of(signed_in(cast.alice).post("/servers/real/reach/", follow=True))

        assert "It answered with 2 tools, protocol 2026-07-28." in page
        assert server.url not in page

    def test_one_look_serves_everybody_for_a_while(self, cast, signed_in):
        signed_in(cast.alice).post(f"{PAGE}reach/")
        with platform_scope():
            Server.objects.filter(slug="payments").update(url="http://127.0.0.1:1/other")

        again = text_of(signed_in(cast.charlie).post(f"{PAGE}reach/", follow=True))
        assert "status--down" in again

    def test_a_server_without_an_address_has_nothing_to_ask(self, cast, signed_in):
        with platform_scope():
            make_imported("mail")

        alice = signed_in(cast.alice)
        assert "no address that we could ask" in install(alice, "mail")
        assert alice.post("/servers/mail/reach/").status_code == 404
