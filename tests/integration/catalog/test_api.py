from __future__ import annotations

import pytest
from django.core.management import call_command

from access.services import grants
from catalog.models import Server
from core import clock
from tenants.choices import Scope
from tenants.context import platform_scope, tenant_scope
from tenants.services import api_keys
from tests.support.cast import make_server

LIST = "/api/v1/servers/"


@pytest.fixture
def asking(client):
    """`asking(tenant, scope)` gives a function that asks with a fresh key of that organisation."""

    def prepare(tenant, scope=Scope.CATALOG_READ, **options):
        text = api_keys.issue(tenant=tenant, name="test", scopes=[scope], actor=None, **options).text

        def ask(path, **query):
            return client.get(path, query, headers={"authorization": f"Bearer {text}"})

        return ask

    return prepare


def slugs(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["slug"] for row in answer.json()["servers"]]


class TestServerList:
    def test_a_key_sees_public_servers_and_those_of_its_organisation(self, cast, asking):
        assert slugs(asking(cast.acme)(LIST)) == ["payments", "vault"]
        assert slugs(asking(cast.globex)(LIST)) == ["payments"]

    def test_a_server_carries_its_governance(self, cast, asking, settings):
        settings.PUBLIC_URL = "https://market.example"
        with tenant_scope(cast.acme):
            subject = grants.Subject.of("agent", "demo")
            grants.give(tenant=cast.acme, server=cast.payments, subject=subject, actor=cast.alice)

        found = asking(cast.acme)(LIST, q="payments").json()["servers"][0]

        assert found["provider"] == {"slug": "initech", "name": "Initech"}
        assert found["owner"]["slug"] == "initech"
        assert found["price"] == {"amount": "0.0200000000", "currency": "USD", "unit": "call"}
        assert found["version"]["tool_count"] == 2
        governance = found["governance"]
        assert governance["badge"] == "approved"
        assert governance["side_effects"] == ["read", "destructive"]
        assert governance["gateway"] == {
            "ready": True, "words": "Gateway ready", "url": "https://market.example/mcp/payments",
        }  # fmt: skip
        assert governance["policy"]["ready"] is True
        assert governance["health"]["state"] == "ready"
        assert governance["usable"] is True
        assert asking(cast.globex)(LIST, q="payments").json()["servers"][0]["governance"]["usable"] is False

    def test_an_old_health_measurement_is_unknown(self, cast, asking):
        with platform_scope():
            Server.objects.update(health_checked_at=clock.now().replace(year=2020))

        assert asking(cast.acme)(LIST).json()["servers"][0]["governance"]["health"]["state"] == "unknown"

    def test_words_and_filters_narrow(self, cast, asking):
        ask = asking(cast.acme)
        assert slugs(ask(LIST, q="refund")) == ["payments"]
        assert slugs(ask(LIST, owner="ours")) == ["vault"]
        assert slugs(ask(LIST, category="security")) == []

    def test_an_unknown_filter_value_is_refused_with_the_known_ones(self, cast, asking):
        answer = asking(cast.acme)(LIST, trust="enormous")

        assert answer.status_code == 400
        assert answer["content-type"] == "application/problem+json"
        assert "low, medium, high" in answer.json()["title"]

    def test_pages_are_capped(self, cast, asking):
        with platform_scope():
            for number in range(101):
                make_server(cast.initech, f"n{number}", f"N {number}", tools=[])
        ask = asking(cast.globex)

        first = ask(LIST, page_size=1000).json()

        assert (first["filtered_count"], len(first["servers"])) == (102, 100)
        assert len(ask(LIST, page_size=1000, page=2).json()["servers"]) == 2
        assert ask(LIST, page=99).status_code == 404

    def test_no_key_a_wrong_key_and_a_key_without_the_scope_are_refused(self, cast, asking, client):
        nobody = client.get(LIST)
        assert nobody.status_code == 401
        assert nobody["WWW-Authenticate"].startswith("Bearer")
        assert client.get(LIST, headers={"authorization": "Bearer mk_test_x_y_z"}).status_code == 401
        denied = asking(cast.acme, Scope.INVOKE)(LIST)
        assert denied.status_code == 403
        assert denied.json()["code"] == "tenants.scope_missing"

    def test_signing_in_to_the_website_is_no_key(self, cast, signed_in):
        assert signed_in(cast.alice).get(LIST).status_code == 401

    def test_nothing_is_changed_by_way_of_it(self, cast, client):
        key = api_keys.issue(tenant=cast.acme, name="x", scopes=[Scope.ADMIN], actor=None).text
        assert client.post(LIST, headers={"authorization": f"Bearer {key}"}).status_code == 405


class TestServerDetail:
    def test_tools_come_with_their_definitions_and_prices(self, cast, asking):
        found = asking(cast.acme)(f"{LIST}payments/").json()

        refund = found["tools"][1]
        assert refund["name"] == "refund_invoice"
        assert refund["definition"]["annotations"] == {"destructiveHint": True}
        assert (refund["required_trust"], refund["side_effect"]) == ("high", "destructive")
        assert refund["price"]["currency"] == "USD"

    def test_the_servers_own_address_is_not_told(self, cast, asking):
        assert cast.payments.url not in asking(cast.acme)(f"{LIST}payments/").content.decode()

    def test_a_server_of_others_is_not_there(self, cast, asking):
        private = asking(cast.globex)(f"{LIST}vault/")
        missing = asking(cast.globex)(f"{LIST}no-such/")

        assert private.status_code == missing.status_code == 404
        assert private.json() == missing.json()


def test_the_published_document_describes_everything_without_a_warning(tmp_path):
    target = tmp_path / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(target))

    for path in ("/api/v1/servers/:", "/api/v1/servers/{slug}/:", "/api/v1/calls/:", "/api/v1/calls/{call_id}/:"):
        assert path in target.read_text()


def test_the_published_document_is_json_and_open_to_everybody(client, db):
    answer = client.get("/api/v1/openapi.json")

    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.")


class TestSearches:
    PATH = "/api/v1/searches/"

    @pytest.fixture
    def send(self, cast, client):
        text = api_keys.issue(tenant=cast.acme, name="bob's", scopes=[Scope.CATALOG_READ], actor=cast.bob).text

        def call(method, path=self.PATH, body=None):
            headers = {"authorization": f"Bearer {text}"}
            sent = {} if body is None else {"data": body, "content_type": "application/json"}
            return getattr(client, method)(path, headers=headers, **sent)

        return call

    def test_a_search_is_kept_listed_and_forgotten(self, send, settings):
        settings.PUBLIC_URL = "https://market.example"
        made = send("post", body={"name": "Low", "query": "?q=invoices&trust=low"})

        assert made.status_code == 201
        kept = made.json()
        assert (kept["name"], kept["query"]) == ("Low", "q=invoices&trust=low")
        assert kept["url"] == "https://market.example/?q=invoices&trust=low"
        assert send("get").json() == {"searches": [kept]}
        assert send("get", f"{self.PATH}{kept['id']}/").json() == kept
        assert send("delete", f"{self.PATH}{kept['id']}/").status_code == 204
        assert send("get").json() == {"searches": []}
        assert send("delete", f"{self.PATH}{kept['id']}/").status_code == 404

    def test_it_is_the_one_that_the_home_page_keeps(self, cast, send, signed_in):
        send("post", body={"name": "From a program", "query": "q=invoices"})

        assert "From a program" in signed_in(cast.bob).get("/").content.decode()
        assert "From a program" not in signed_in(cast.alice).get("/").content.decode()

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"query": "trust=enormous"}, "trust"),
            ({"query": 7}, "query"),
            ({"query": "q=" + "x" * 2100}, "query"),
            ({"query": "&" * 1999}, "query"),
            ({"name": ["a"], "query": "q=x"}, "name"),
            ({"name": "\ud800", "query": "q=x"}, "name"),
            (["q=x"], "name"),
        ],
    )
    def test_what_cannot_be_kept_is_said(self, send, body, field):
        answer = send("post", body=body)

        assert (answer.status_code, answer.json()["field"]) == (400, field)

    def test_nothing_and_too_many_are_refused(self, send):
        assert send("post", body={"query": "page=2"}).status_code == 400
        for number in range(30):
            assert send("post", body={"name": f"Search {number}", "query": "q=x"}).status_code == 201
        assert send("post", body={"name": "One more", "query": "q=x"}).status_code == 409

    def test_a_key_that_nobody_made_has_no_searches(self, cast, asking):
        assert asking(cast.acme)(self.PATH).status_code == 403
