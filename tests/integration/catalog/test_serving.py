"""How a server is served: the owner's page, the operators' admin, and what gateways are told."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from audit.models import AuditEvent
from audit.services import Party
from catalog.models import Server
from catalog.services import servers
from gateway.services.entries import server_entries
from tenants.context import platform_scope, tenant_scope

PAGE, GATEWAY = "/o/acme/servers/vault/settings/", "/o/acme/servers/vault/gateway/"


def browser_of(user) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def alice(cast):
    return browser_of(cast.alice)


@pytest.fixture
def olga(cast):
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "planted"})
    return browser_of(cast.olga)


def form(**changes):
    whole = {
        "further_urls": "",
        "rate_per_caller": "",
        "rate_in_all": "",
        "timeout_s": "",
        "upstream_auth": "marketplace_jwt",
    }
    return whole | changes


def entry(cast):
    (found,) = server_entries(server_id=cast.vault.pk)
    return found


def events(tenant, action):
    with tenant_scope(tenant):
        return list(AuditEvent.objects.filter(action=action).order_by("sequence"))


class TestOwner:
    def test_the_list_shows_own_servers_and_no_others(self, alice):
        page = alice.get("/o/acme/servers/").content.decode()
        assert "Vault" in page
        assert "Payments" not in page

    def test_what_is_saved_reaches_gateways_and_the_audit_log(self, alice, cast):
        before = entry(cast).revision
        sent = form(
            further_urls="https://8.8.8.8/mcp\n\n https://9.9.9.9/mcp ",
            rate_per_caller="30",
            rate_in_all="600",
            timeout_s="5",
            upstream_auth="marketplace_bearer",
        )
        answer = alice.post(PAGE, sent)
        assert answer.status_code == 302, answer.content.decode()
        after = entry(cast)
        assert after.revision > before
        assert after.urls == ("https://8.8.8.8/mcp", "https://9.9.9.9/mcp")
        assert [rule.amount for rule in after.limits] == [30, 600]
        assert (after.timeout_s, after.upstream_auth) == (5, "marketplace_bearer")
        (event,) = events(cast.acme, "catalog:server:serving_changed")
        assert event.actor_label == cast.alice.email
        assert event.data["timeout_s"] == {"from": None, "to": 5}

    def test_saving_the_same_again_changes_nothing(self, alice, cast):
        before = entry(cast).revision
        assert alice.post(PAGE, form()).status_code == 302
        assert entry(cast).revision == before
        assert events(cast.acme, "catalog:server:serving_changed") == []

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"further_urls": "http://169.254.169.254/latest"}, "not public"),
            ({"further_urls": "http://10.0.0.1/mcp"}, "not public"),
            ({"further_urls": "ftp://8.8.8.8/mcp"}, "Only http and https"),
            ({"further_urls": "https://user:word@8.8.8.8/mcp"}, "user name or password"),
            ({"further_urls": "https://8.8.8.8:22/mcp"}, "Port 22 is not open"),
            ({"further_urls": "https://nowhere.invalid/mcp"}, "could not be found"),
            ({"further_urls": "http://127.0.0.1:9/vault"}, "named twice"),
            ({"further_urls": "\n".join(f"https://8.8.8.{n}/mcp" for n in range(1, 10))}, "at most 8"),
            ({"rate_per_caller": "0"}, "greater than or equal to 1"),
            ({"timeout_s": "301"}, "less than or equal to 300"),
            ({"rate_in_all": "99999999999"}, "less than or equal to"),
            ({"upstream_auth": "telepathy"}, "Select a valid choice"),
        ],
    )
    def test_what_cannot_be_is_named_and_nothing_is_saved(self, alice, cast, changes, words):
        before = entry(cast).revision
        assert words in alice.post(PAGE, form(**changes)).content.decode()
        assert entry(cast).revision == before

    def test_closing_asks_first_and_opening_does_not(self, alice, cast):
        assert "Close this server at the gateway?" in alice.get(GATEWAY).content.decode()
        alice.post(GATEWAY, {"open": "no"})
        assert not entry(cast).callable
        assert "Every call to it is refused." in alice.get(PAGE).content.decode()
        alice.post(GATEWAY, {"open": "yes"})
        assert entry(cast).callable
        assert [event.action for event in events(cast.acme, "catalog:server:gateway_opened")] != []

    def test_what_operators_closed_stays_closed(self, alice, cast):
        with platform_scope():
            servers.open_gateway(server=cast.vault, is_open=False, actor=Party("operator", "1", "olga"))
        assert "Operators of the platform closed it" in alice.get(PAGE).content.decode()
        answer = alice.post(GATEWAY, {"open": "yes"}, follow=True).content.decode()
        assert "Ask an operator" in answer
        assert not entry(cast).callable
        with platform_scope():
            servers.open_gateway(server=cast.vault, is_open=True, actor=Party("operator", "1", "olga"))
        alice.post(GATEWAY, {"open": "no"})
        alice.post(GATEWAY, {"open": "yes"})
        assert entry(cast).callable

    def test_who_may_not_publish_is_told_who_can(self, cast):
        bob = browser_of(cast.bob)
        for path in ("/o/acme/servers/", PAGE, GATEWAY):
            answer = bob.get(path)
            assert answer.status_code == 403
            assert cast.alice.email in answer.content.decode()

    def test_a_public_server_of_somebody_else_has_no_settings_here(self, alice, cast):
        assert alice.get("/o/acme/servers/payments/settings/").status_code == 404
        assert alice.post("/o/acme/servers/payments/settings/", form(timeout_s="1")).status_code == 404
        with platform_scope():
            assert Server.objects.get(pk=cast.payments.pk).timeout_s is None


class TestOperators:
    def url(self, cast):
        return f"/admin/catalog/server/{cast.vault.pk}/change/"

    def test_change_how_it_is_served_and_nothing_else(self, olga, cast):
        sent = form(further_urls="https://8.8.8.8/mcp", timeout_s="7", name="Renamed", slug="renamed")
        answer = olga.post(self.url(cast), sent)
        assert answer.status_code == 302, answer.content.decode()[:3000]
        assert (entry(cast).timeout_s, entry(cast).urls, entry(cast).slug) == (7, ("https://8.8.8.8/mcp",), "vault")
        with platform_scope():
            event = AuditEvent.objects.filter(action="catalog:server:serving_changed").latest("sequence")
            assert (event.actor_type, event.target_id) == ("operator", str(cast.vault.pk))
            assert Server.objects.get(pk=cast.vault.pk).name == "Vault"

    def test_are_held_to_the_same_rules(self, olga, cast):
        page = olga.post(self.url(cast), form(further_urls="http://10.0.0.1/mcp")).content.decode()
        assert "not public" in page
        assert entry(cast).urls == ()
