from __future__ import annotations

from decimal import Decimal

import pytest

from catalog.formats.normal import ToolClaim
from catalog.models import Server
from catalog.services import servers
from core.ids import uuid7
from tenants.context import platform_scope
from tests.integration.catalog.test_home import granted, make_call, text_of  # noqa: F401 - the fixture is used by name
from tests.support.cast import PAYMENTS_TOOLS, make_server
from tests.support.imported import add_version, mail_entry, make_imported

PAGE = "/servers/payments/"
TABS = ["overview", "tools", "install", "access", "security", "versions", "usage", "audit"]


class TestEveryTab:
    @pytest.mark.parametrize("tab", TABS)
    def test_it_opens_for_owner_member_stranger_and_everybody(self, cast, signed_in, client, tab):
        assert client.get(PAGE, {"tab": tab}).status_code == 200
        for person in (cast.alice, cast.bob, cast.charlie, cast.olga):
            assert signed_in(person).get(PAGE, {"tab": tab}).status_code == 200

    def test_an_unknown_tab_is_the_first_one(self, cast, client):
        assert "What its tools may do" in text_of(client.get(PAGE, {"tab": "<x>"}))

    @pytest.mark.parametrize("tab", TABS)
    def test_a_server_with_everything_long_or_missing_is_shown(self, cast, client, tab):
        with platform_scope():
            bare = make_server(cast.initech, "bare", "<i>" + "n" * 190, summary="", tools=[])
            Server.objects.filter(pk=bare.pk).update(current_version=None)

        answer = client.get("/servers/bare/", {"tab": tab})

        assert answer.status_code == 200
        assert "<i>n" not in text_of(answer)
        assert "Gateway closed: no version" in text_of(answer)


class TestWhoMaySee:
    def test_a_private_server_is_not_there_for_others(self, cast, signed_in, client):
        assert signed_in(cast.bob).get("/servers/vault/").status_code == 200
        answer = signed_in(cast.charlie).get("/servers/vault/")
        assert answer.status_code == 404
        assert "Vault" not in text_of(answer)
        client.logout()
        assert client.get("/servers/vault/").status_code == 404

    def test_an_own_server_comes_before_a_public_one_of_the_same_name(self, cast, signed_in):
        with platform_scope():
            make_server(cast.acme, "payments", "Our own payments", visibility="org")

        assert "Our own payments" in text_of(signed_in(cast.bob).get(PAGE))
        assert "Our own payments" not in text_of(signed_in(cast.charlie).get(PAGE))

    def test_the_servers_own_address_is_never_shown(self, cast, signed_in):
        for tab in TABS:
            assert cast.payments.url not in text_of(signed_in(cast.alice).get(PAGE, {"tab": tab}))


class TestPrimaryAction:
    def test_everybody_is_asked_to_sign_in_and_comes_back(self, cast, client):
        assert "/accounts/login/?next=%2Fservers%2Fpayments%2F" in text_of(client.get(PAGE))

    def test_a_person_without_an_organisation_is_led_to_make_one(self, cast, signed_in):
        assert "Create an organisation" in text_of(signed_in(cast.olga).get(PAGE))

    def test_who_may_make_keys_is_led_there(self, cast, signed_in):
        assert "/o/acme/keys/new/?server=payments" in text_of(signed_in(cast.alice).get(PAGE))

    def test_a_member_without_access_requests_it(self, cast, signed_in):
        page = text_of(signed_in(cast.bob).get(PAGE))
        assert "Request access" in page
        assert "/keys/new/" not in page

    def test_a_member_with_access_uses_it(self, cast, signed_in, granted):  # noqa: F811
        assert "Use it" in text_of(signed_in(cast.bob).get(PAGE))

    def test_a_server_that_cannot_be_called_offers_nothing(self, cast, signed_in):
        with platform_scope():
            Server.objects.filter(slug="payments").update(gateway_enabled=False)

        page = text_of(signed_in(cast.alice).get(PAGE))
        assert "Gateway turned off" in page
        assert "page-head__actions" not in page


class TestSettings:
    def test_who_may_publish_is_led_to_the_settings_of_an_own_server(self, cast, signed_in):
        assert "/o/acme/servers/vault/settings/" in text_of(signed_in(cast.alice).get("/servers/vault/"))

    def test_nobody_else_is(self, cast, signed_in, client):
        assert "/settings/" not in text_of(client.get(PAGE))
        for person, page in (
            (cast.bob, "/servers/vault/"),
            (cast.alice, PAGE),
            (cast.charlie, PAGE),
            (cast.olga, PAGE),
        ):
            assert "/servers/vault/settings/" not in text_of(signed_in(person).get(page))
            assert "/servers/payments/settings/" not in text_of(signed_in(person).get(page))


class TestTools:
    def test_each_tool_shows_what_it_does_and_needs(self, cast, client):
        page = text_of(client.get(PAGE, {"tab": "tools"}))

        for words in ("list_invoices", "Lists invoices, newest first.", "refund_invoice", "Destructive", "High trust",
                      "invoice_id", "Input schema"):  # fmt: skip
            assert words in page

    def test_a_tool_can_be_found(self, cast, client):
        page = text_of(client.get(PAGE, {"tab": "tools", "find": "refund"}))
        assert "refund_invoice" in page
        assert "Lists invoices" not in page
        assert "No tool matches" in text_of(client.get(PAGE, {"tab": "tools", "find": "zzz"}))

    def test_many_tools_have_pages(self, cast, client):
        with platform_scope():
            tools = [{**PAYMENTS_TOOLS[0], "name": f"tool_{number}"} for number in range(51)]
            make_server(cast.initech, "big", "Big", tools=tools)

        assert "Page 1 of 2, 51 tools" in text_of(client.get("/servers/big/", {"tab": "tools"}))
        second = text_of(client.get("/servers/big/", {"tab": "tools", "page": "2"}))
        assert "tool_50" in second
        assert "tab=tools&amp;page=1" in second

    def test_texts_of_a_server_are_text(self, cast, client):
        with platform_scope():
            evil = {**PAYMENTS_TOOLS[0], "description": "<script>x</script>", "inputSchema": {"</script>": "<b>"}}
            make_server(cast.initech, "evil", "Evil", tools=[evil])

        for tab in TABS:
            page = text_of(client.get("/servers/evil/", {"tab": tab}))
            assert "<script>x" not in page
            assert '"</script>"' not in page


class TestInstall:
    def test_snippets_lead_through_the_gateway(self, cast, client, settings):
        settings.PUBLIC_URL = "https://market.example"
        page = text_of(client.get(PAGE, {"tab": "install"}))

        assert "https://market.example/mcp/payments" in page
        for client_name in (
            "Claude Code",
            "Claude Desktop",
            "Cursor",
            "VS Code",
            "Windsurf",
            "Codex CLI",
            "Gemini CLI",
        ):
            assert client_name in page
        assert "list_invoices" in page  # a first call that only reads


class TestAccess:
    def test_members_see_who_has_access_in_their_organisation_only(self, cast, signed_in, granted):  # noqa: F811
        assert "bob@acme.example" in text_of(signed_in(cast.alice).get(PAGE, {"tab": "access"}))
        stranger = text_of(signed_in(cast.charlie).get(PAGE, {"tab": "access"}))
        assert "bob@acme.example" not in stranger
        assert "Nobody yet" in stranger

    def test_a_member_is_told_who_can_give_access(self, cast, signed_in):
        page = text_of(signed_in(cast.bob).get(PAGE, {"tab": "access"}))
        assert "alice@acme.example can decide" in page
        assert "/o/acme/access/request/?server=payments" in page

    def test_everybody_else_is_asked_to_sign_in(self, cast, client):
        assert "Access belongs to organisations" in text_of(client.get(PAGE, {"tab": "access"}))


class TestHealth:
    def test_a_server_that_is_down_says_why(self, cast, client):
        with platform_scope():
            servers.record_health(server=cast.payments, health="down", detail="The server could not be reached.")

        assert "The server could not be reached." in text_of(client.get(PAGE))


class TestUsage:
    def test_it_counts_this_organisations_calls_of_this_server(self, cast, signed_in):
        price = {"billable": True, "quantity": 1, "price": Decimal("0.02")}
        for fields in (price, {"outcome": "denied", "allowed": False}, {"outcome": "timeout"}):
            make_call(cast.acme, server_id=cast.payments.pk, latency_ms=40.0, **fields)
        make_call(cast.acme, server_id=uuid7())
        make_call(cast.globex, server_id=cast.payments.pk)

        page = text_of(signed_in(cast.bob).get(PAGE, {"tab": "usage"}))

        assert "Spent in the last 7 days" in page
        assert 'value="0.0200000000"' in page
        assert "Failed: 1." in page
        assert "50.0" in page, "the share of errors among the two calls that were allowed"
        assert f"/o/acme/calls/?server={cast.payments.pk}" in page, "the call log filters by id"

    def test_without_calls_it_says_so(self, cast, signed_in):
        assert "No calls in this time" in text_of(signed_in(cast.charlie).get(PAGE, {"tab": "usage"}))

    def test_everybody_else_has_no_such_tab(self, cast, client):
        page = text_of(client.get(PAGE, {"tab": "usage"}))
        assert "tab=usage" not in page
        assert "What its tools may do" in page

    def test_periods_can_be_chosen(self, cast, signed_in):
        make_call(cast.acme, server_id=cast.payments.pk, reason="no_matching_grant", outcome="denied", allowed=False)
        for period in ("1h", "24h", "7d", "30d", "<x>"):
            assert "No matching grant" in text_of(signed_in(cast.bob).get(PAGE, {"tab": "usage", "period": period})), (
                period
            )


class TestAudit:
    def test_decisions_on_calls_of_this_organisation_are_listed(self, cast, signed_in):
        mine = make_call(cast.acme, server_id=cast.payments.pk, tool="list_invoices", reason="allowed")
        other = make_call(cast.globex, server_id=cast.payments.pk, tool="refund_invoice")

        page = text_of(signed_in(cast.bob).get(PAGE, {"tab": "audit"}))

        assert f"/o/acme/calls/{mine.pk}/" in page
        assert str(other.pk) not in page
        assert "open to owners and admins" in page

    def test_owners_see_who_did_what(self, cast, signed_in):
        asked = {"subject": f"user:{cast.bob.pk}", "duration_h": "24", "reason": "Month end"}
        signed_in(cast.bob).post("/o/acme/access/request/?server=payments", asked)
        page = text_of(signed_in(cast.alice).get(PAGE, {"tab": "audit"}))
        assert "access:request:opened" in page
        assert "bob@acme.example" in page
        assert "bob@acme.example" not in text_of(signed_in(cast.charlie).get(PAGE, {"tab": "audit"}))

    def test_everybody_else_has_no_such_tab(self, cast, client):
        assert "tab=audit" not in text_of(client.get(PAGE, {"tab": "audit"}))


class TestVersions:
    def test_any_two_versions_are_compared(self, cast, client):
        with platform_scope():
            mail = make_imported("mail")
            first = mail.current_version
            tools = (ToolClaim("send_mail", description="Sends\u200b a mail to many."), ToolClaim("read_mail"))
            add_version(mail, mail_entry(version="1.3.0", tools=tools))

        page = text_of(client.get("/servers/mail/", {"tab": "versions"}))
        assert "What changed from 1.2.0 to 1.3.0" in page
        assert "1 tool added, 0 removed, 1 changed" in page
        assert "Sends\\u200b a mail to many." in page
        same = text_of(client.get("/servers/mail/", {"tab": "versions", "from": str(first.pk), "to": str(first.pk)}))
        assert "The tools are the same." in same

    def test_versions_of_other_servers_cannot_be_compared(self, cast, client):
        with platform_scope():
            make_imported("mail")
        foreign = str(cast.vault.current_version_id)

        page = text_of(client.get("/servers/mail/", {"tab": "versions", "from": foreign, "to": "<x>"}))
        assert foreign not in page
        assert "What changed" not in page


class TestOverviewOfAnImportedServer:
    def test_it_says_where_it_comes_from_and_what_is_not_known(self, cast, client):
        with platform_scope():
            entry = mail_entry(
                screenshots=("https://mail.example/a.png", "javascript:alert(1)"),
                requirements={"runtimes": ["node >= 20"]},
                description="# Mail\n<script>x</script> ![p](https://mail.example/b.png) [home](https://mail.example)",
            )
            make_imported("mail", entry, repository_url="https://git.example/mail", license="MIT")

        page = text_of(client.get("/servers/mail/"))

        for words in (
            "Example registry",
            "a claim of the source, not proven",
            "@example/mail",
            "node &gt;= 20",
            "MIT",
            "known from a source, not approved here",
            'href="https://mail.example/a.png"',
            "<h3>Mail</h3>",
        ):
            assert words in page
        assert "javascript:" not in page
        assert "<script>x" not in page
        assert 'src="https://mail' not in page
        assert 'rel="noopener nofollow ugc"' in page

    def test_a_version_that_no_source_gives_is_unknown_on_page_and_card(self, cast, client):
        with platform_scope():
            make_imported("nameless", mail_entry(name="com.example/nameless", title="Nameless", version=""))

        for address in ("/servers/nameless/", "/?q=nameless"):
            assert "Version unknown, " in text_of(client.get(address)).replace("<span>", "")

    def test_its_tools_are_declared_and_have_an_example(self, cast, client):
        with platform_scope():
            make_imported("mail")

        page = text_of(client.get("/servers/mail/", {"tab": "tools"}))
        assert "Declared" in page
        assert "No source gives the input schema" in page
        assert "&quot;invoice_id&quot;: &quot;…&quot;" in text_of(client.get(PAGE, {"tab": "tools"}))


class TestSimilarServers:
    def near(self, browser, path: str = "/servers/mail/") -> str:
        page = text_of(browser.get(path))
        return page.partition("Similar servers")[2].partition("</section>")[0]

    def test_servers_that_share_the_telling_words_are_named(self, cast, client):
        with platform_scope():
            make_imported("mail", name="Parcel mail")
            make_imported("post", mail_entry(name="com.example/post"), name="Parcel post")
            make_imported("weather", mail_entry(name="com.example/weather"), name="Weather", tags=[])

        assert 'href="/servers/post/"' in self.near(client)
        assert "/servers/mail/" not in self.near(client)
        assert "/servers/weather/" not in self.near(client)

    def test_those_of_another_organisation_are_named_to_it_alone(self, cast, signed_in, client):
        with platform_scope():
            make_imported("mail", name="Parcel mail")
            make_server(cast.acme, "inside", "Parcel inside", visibility="org")

        assert "Parcel inside" in self.near(signed_in(cast.bob))
        for browser in (client, signed_in(cast.charlie)):
            assert "Parcel inside" not in text_of(browser.get("/servers/mail/"))
