from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.test.utils import CaptureQueriesContext

from access.services import grants
from calls.models import Call
from calls.record import COLUMNS
from catalog.models import SavedSearch, Server
from catalog.services import searches
from core import clock
from core.ids import uuid7
from tenants.context import platform_scope, tenant_scope
from tests.support.cast import make_server


def make_call(tenant, **fields) -> Call:
    """A stored call with harmless defaults."""
    defaults = {
        "text": "", "boolean": True, "bigint": 0, "integer": 0, "double precision": 1.0, "uuid": None,
        "timestamptz": clock.now(), "numeric(20,6)": 0, "numeric(20,10)": 0,
    }  # fmt: skip
    values = {name: defaults[kind] for name, kind in COLUMNS} | {
        "call_id": uuid7(), "billable": False, "outcome": "ok", "currency": "USD", "method": "tools/call",
    }  # fmt: skip
    with tenant_scope(tenant):
        return Call.objects.create(**values | fields)


@pytest.fixture
def granted(cast):
    """bob of acme may use payments."""
    with tenant_scope(cast.acme):
        return grants.give(
            tenant=cast.acme,
            server=cast.payments,
            subject=grants.Subject.of("user", str(cast.bob.pk), "bob@acme.example"),
            actor=cast.alice,
        )


def text_of(answer) -> str:
    return answer.content.decode()


class TestForEverybody:
    def test_the_first_screen_is_discovery(self, cast, client):
        page = text_of(client.get("/"))

        assert "Discover governed MCP servers" in page
        assert "/servers/payments/" in page

    def test_a_card_shows_governance(self, cast, client):
        page = text_of(client.get("/"))

        for words in ("Approved", "Healthy", "Low trust", "No sign-in", "Gateway ready", "Allow-list policy", "2 tools",
                      "Destructive", "1.0.0", "Initech", "0.02"):  # fmt: skip
            assert words in page

    def test_nothing_private_is_shown(self, cast, client):
        page = text_of(client.get("/"))

        assert "Vault" not in page
        assert "Yours" not in page
        assert "Calls today" not in page
        assert "Our organisation" not in page

    def test_a_search_that_finds_nothing_says_what_to_do(self, cast, client):
        answer = client.get("/", {"q": "zzz<script>"})

        assert answer.status_code == 200
        assert "No server matches" in text_of(answer)
        assert "zzz<script>" not in text_of(answer)

    @pytest.mark.parametrize("address", ["/?page=9999", "/?page=x&trust=a&sort=b", "/?q=%00%ff", "/?q=" + "a" * 5000])
    def test_odd_addresses_show_the_catalog(self, cast, client, address):
        assert client.get(address).status_code == 200

    def test_filters_are_carried_by_the_search_form(self, cast, client):
        page = text_of(client.get("/", {"trust": "low", "q": "pay"}))

        assert '<input type="hidden" form="catalog-search" name="trust" value="low">' in page
        assert "Required trust: Low" in page

    def test_long_lists_have_pages_that_keep_the_search(self, cast, client):
        with platform_scope():
            for number in range(21):
                make_server(cast.initech, f"many-{number}", f"Many {number:02}")

        first = text_of(client.get("/", {"q": "many"}))
        second = text_of(client.get("/", {"q": "many", "page": 2}))

        assert "Page 1 of 2" in first
        assert "?q=many&amp;page=2" in first
        assert 'rel="prev" href="?q=many&amp;page=1"' in second

    def test_names_of_any_length_and_kind_are_text(self, cast, client):
        with platform_scope():
            make_server(cast.initech, "long", ("<b>bold</b>" + "n" * 200)[:200], summary="<img src=x>")

        page = text_of(client.get("/"))
        assert "<b>bold" not in page
        assert "<img src=x" not in page

    def test_more_servers_need_no_more_queries(self, cast, client):
        with CaptureQueriesContext(connection) as few:
            client.get("/")
        with platform_scope():
            for number in range(10):
                make_server(cast.initech, f"many-{number}", f"Many {number:02}")
        with CaptureQueriesContext(connection) as many:
            client.get("/")

        assert len(many) == len(few)


class TestForMembers:
    def test_what_the_organisation_can_use_comes_first(self, cast, signed_in, granted):
        page = text_of(signed_in(cast.bob).get("/"))

        assert page.index("Yours") < page.index("All servers")
        assert "/servers/payments/?tab=install" in page

    def test_a_grant_of_another_organisation_makes_nothing_usable(self, cast, signed_in, granted):
        page = text_of(signed_in(cast.charlie).get("/"))

        assert "Yours" not in page
        assert "Use it" not in page

    def test_a_revoked_grant_makes_nothing_usable(self, cast, signed_in, granted):
        with tenant_scope(cast.acme):
            grants.revoke(tenant=cast.acme, grant_id=granted.pk, actor=cast.alice)

        assert "Yours" not in text_of(signed_in(cast.bob).get("/"))

    def test_the_next_step_depends_on_the_rights(self, cast, signed_in):
        assert "Give access" in text_of(signed_in(cast.alice).get("/"))
        member = text_of(signed_in(cast.bob).get("/"))
        assert "Request access" in member
        assert "Give access" not in member

    def test_own_servers_are_listed_and_only_for_members(self, cast, signed_in):
        assert "Vault" in text_of(signed_in(cast.bob).get("/"))
        assert "Vault" not in text_of(signed_in(cast.charlie).get("/"))

    def test_calls_of_today_are_counted_per_organisation(self, cast, signed_in):
        for _ in range(3):
            make_call(cast.acme)

        def tile(page: str) -> str:
            return re.sub(r"<[^>]+>|\s+", " ", page.split("Calls today")[1][:200]).split()[0]

        assert tile(text_of(signed_in(cast.bob).get("/"))) == "3"
        assert tile(text_of(signed_in(cast.charlie).get("/"))) == "0"

    def test_a_person_without_an_organisation_sees_the_public_catalog(self, cast, signed_in):
        page = text_of(signed_in(cast.olga).get("/"))

        assert "Payments" in page
        assert "Vault" not in page


class TestSuggest:
    def test_servers_are_offered_by_name(self, cast, client):
        assert client.get("/suggest/", {"q": "pay"}).json() == {
            "items": [{"label": "Payments", "url": "/servers/payments/", "kind": "Initech"}]
        }

    def test_nothing_is_offered_for_nothing_and_nothing_of_others(self, cast, signed_in):
        guest = signed_in(cast.charlie)
        assert guest.get("/suggest/").json() == {"items": []}
        assert guest.get("/suggest/", {"q": "vault"}).json() == {"items": []}


class TestSavedSearches:
    def save(self, visitor, **fields):
        return visitor.post("/searches/save/", {"name": "Paid", "q": "invoices", "trust": "low"} | fields, follow=True)

    def test_a_search_is_kept_for_the_person_in_the_organisation(self, cast, signed_in):
        bob = signed_in(cast.bob)
        assert "Name this search" in text_of(bob.get("/?q=invoices"))
        page = text_of(self.save(bob))

        assert "“Paid” is saved." in page
        assert 'href="?q=invoices&amp;trust=low" aria-current="true"' in page
        for other in (cast.alice, cast.charlie):
            assert "Paid" not in text_of(signed_in(other).get("/"))

    def test_it_is_removed_by_its_owner_alone(self, cast, signed_in):
        self.save(signed_in(cast.bob))
        with platform_scope():
            kept = SavedSearch.objects.get()

        for other in (cast.alice, cast.charlie, cast.olga):
            assert signed_in(other).post(f"/searches/{kept.pk}/remove/").status_code == 404
        assert "is removed" in text_of(signed_in(cast.bob).post(f"/searches/{kept.pk}/remove/", follow=True))

    def test_what_narrows_nothing_is_not_kept_and_everybody_else_signs_in(self, cast, signed_in, client):
        assert "There is nothing to save" in text_of(self.save(signed_in(cast.bob), q="", trust="<x>"))
        assert self.save(signed_in(cast.olga)).status_code == 404
        client.logout()
        assert client.post("/searches/save/", {"q": "x"})["Location"].startswith("/accounts/login/")

    def test_the_same_name_replaces_and_there_is_an_end(self, cast, signed_in):
        bob = signed_in(cast.bob)
        self.save(bob)
        self.save(bob, q="other")
        for number in range(searches.SEARCHES_MAX):
            last = text_of(self.save(bob, name=f"Search {number}"))
        assert "Remove one of them first" in last
        with platform_scope():
            assert SavedSearch.objects.get(name="Paid").query == "?q=other&trust=low"


class TestShelves:
    def test_what_operators_feature_and_what_is_called_leads_in(self, cast, client):
        with platform_scope():
            Server.objects.filter(slug="payments").update(is_featured=True, is_verified=True, calls_30d=7)
        page = text_of(client.get("/"))
        for words in ("Featured", "Most called", "7 calls in 30 days", "Recently updated", "Verified"):
            assert words in page
        assert "Most called" not in text_of(client.get("/?q=payments"))

    def test_private_servers_stand_on_no_shelf_of_others(self, cast, signed_in, client):
        with platform_scope():
            Server.objects.filter(slug="vault").update(is_featured=True, is_verified=True, calls_30d=7)
        assert "Vault" in text_of(signed_in(cast.bob).get("/"))
        for visitor in (signed_in(cast.charlie), client):
            assert "Vault" not in text_of(visitor.get("/"))


def test_css_and_scripts_of_the_first_load_stay_within_60_kb(cast, client):
    """As they travel: compressed."""
    page = text_of(client.get("/"))
    paths = set(re.findall(r'(?:href|src)="/static/([^"]+\.(?:css|js))"', page))
    assert len(paths) > 10
    sizes = {path: len(gzip.compress(Path(finders.find(path)).read_bytes())) for path in paths}
    assert sum(sizes.values()) <= 60_000, sizes
