from __future__ import annotations

import stat
from dataclasses import replace
from decimal import Decimal

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command

from access.models import Grant
from billing.selectors.prices import current_prices
from catalog.models import Server
from catalog.types import Inventory
from core import keys
from marketplace.demo import data
from marketplace.supervisor.datafolder import read_env_file
from tenants.choices import Role
from tenants.context import platform_scope, tenant_scope
from tenants.models import APIKey, Membership, Tenant, User
from tenants.services import api_keys
from tests.support.cast import PAYMENTS_TOOLS

URLS = {"payments": "http://127.0.0.1:9101/mcp", "text": "http://127.0.0.1:9102/mcp"}
COUNT_WORDS = {"name": "count_words", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


def read(url: str) -> Inventory:
    """What the demo servers offer, as far as the demo's data depends on it."""
    text = Inventory("2026-07-28", {"name": "text", "version": "1.0.0"}, "", {"tools": {}}, [COUNT_WORDS])
    return text if "9102" in url else replace(text, tools=PAYMENTS_TOOLS)


@pytest.fixture
def empty(cast):
    """A marketplace in which the demo's names are free: those of the cast step aside."""
    with platform_scope():
        for tenant in Tenant.objects.all():
            Tenant.objects.filter(pk=tenant.pk).update(slug=f"old-{tenant.slug}")
        for provider in cast.payments.provider, cast.vault.provider:
            type(provider).objects.filter(pk=provider.pk).update(slug=f"old-{provider.slug}")
        Server.objects.filter(pk=cast.payments.pk).update(slug="old-payments")
        for user in User.objects.all():
            User.objects.filter(pk=user.pk).update(email=f"old-{user.email}")
    EmailAddress.objects.all().delete()


def load(folder, password="", urls=URLS):
    with platform_scope():
        return data.load(folder=folder, urls=urls, password=password, read=read)


def tenant_of(slug):
    return Tenant.objects.get(slug=slug)


def demo_env(folder):
    return read_env_file(folder / "demo.env")


class TestFirstLoad:
    def test_people_can_sign_in_and_stand_where_the_banner_says(self, empty, tmp_path):
        load(tmp_path)
        env = demo_env(tmp_path)

        for login in env["MARKETPLACE_DEMO_LOGINS"].split(","):
            user = User.objects.get(email=login.split(" ")[0])
            assert user.check_password(env["MARKETPLACE_DEMO_PASSWORD"])
            assert EmailAddress.objects.filter(user=user, verified=True, primary=True).exists()
        roles = {(m.tenant.slug, m.user.name): m.role for m in Membership.objects.select_related("tenant", "user")}
        assert roles[("acme", "Alice")] == roles[("globex", "Charlie")] == roles[("initech", "Diana")] == Role.OWNER
        assert roles[("acme", "Bob")] == Role.MEMBER
        assert User.objects.get(name="Olga", is_staff=True, email__startswith="olga").is_superuser

    def test_both_servers_are_public_approved_and_priced(self, empty, tmp_path):
        load(tmp_path)

        servers = {server.slug: server for server in Server.objects.filter(slug__in=URLS)}
        assert {(server.status, server.visibility, server.badge) for server in servers.values()} == {
            ("approved", "public", "approved")
        }
        refund = servers["payments"].current_version.tools.get(name="refund_invoice")
        assert (refund.required_trust, refund.side_effect) == ("high", "destructive")
        prices = current_prices([server.pk for server in servers.values()])
        assert prices[servers["payments"].pk][""].rate == Decimal("0.02")
        assert servers["text"].pk not in prices

    def test_the_key_opens_acme_and_is_granted_low_trust_reads(self, empty, tmp_path, settings):
        load(tmp_path)
        env = demo_env(tmp_path)
        text = keys.parse(env["MARKETPLACE_API_KEY"])

        key = APIKey.objects.get(key_id=text.key_id)
        assert keys.matches(text.secret, settings.KEY_PEPPER, bytes(key.secret_digest))
        assert (key.tenant.slug, key.agent, env["MARKETPLACE_ORG"]) == ("acme", "demo-agent", "acme")
        assert key.scopes == ["catalog:read", "invoke"]
        with tenant_scope(key.tenant):
            grants = {(g.server.slug, g.subject_key, g.max_trust, *g.side_effects) for g in Grant.objects.all()}
        assert grants == {(slug, str(key.pk), "low", "read") for slug in URLS}

    def test_the_file_is_for_its_owner_only(self, empty, tmp_path):
        load(tmp_path)

        assert stat.S_IMODE((tmp_path / "demo.env").stat().st_mode) == 0o600

    def test_a_password_can_be_given(self, empty, tmp_path):
        load(tmp_path, password="given-from-outside-1")

        assert demo_env(tmp_path)["MARKETPLACE_DEMO_PASSWORD"] == "given-from-outside-1"


class TestLaterLoads:
    def test_the_second_changes_nothing(self, empty, tmp_path):
        load(tmp_path)
        before = (tmp_path / "demo.env").read_text()

        assert load(tmp_path).changes == []
        assert (tmp_path / "demo.env").read_text() == before

    def test_a_server_that_moved_is_followed_and_gateways_learn_of_it(self, empty, tmp_path):
        load(tmp_path)
        old = Server.objects.get(slug="text")

        loaded = load(tmp_path, urls=URLS | {"text": "http://127.0.0.1:9102/elsewhere"})

        server = Server.objects.get(slug="text")
        assert loaded.changes == ["moved the server text"]
        assert server.url.endswith("/elsewhere")
        assert server.revision > old.revision
        assert server.current_version_id == old.current_version_id

    def test_a_lost_file_is_replaced_with_another_working_key(self, empty, tmp_path):
        load(tmp_path)
        first = demo_env(tmp_path)["MARKETPLACE_API_KEY"]
        (tmp_path / "demo.env").unlink()

        load(tmp_path)

        assert demo_env(tmp_path)["MARKETPLACE_API_KEY"] != first
        password = demo_env(tmp_path)["MARKETPLACE_DEMO_PASSWORD"]
        assert User.objects.get(email="alice@acme.example").check_password(password)

    def test_a_revoked_key_is_replaced(self, empty, tmp_path):
        load(tmp_path)
        first = demo_env(tmp_path)["MARKETPLACE_API_KEY"]
        key = APIKey.objects.get(key_id=keys.parse(first).key_id)
        api_keys.revoke(tenant=key.tenant, key_id=key.pk, actor=key.created_by)

        load(tmp_path)

        assert demo_env(tmp_path)["MARKETPLACE_API_KEY"] != first

    def test_what_people_changed_stays(self, empty, tmp_path):
        load(tmp_path)
        Membership.objects.filter(tenant=tenant_of("acme"), user__email="bob@acme.example").delete()
        with tenant_scope(tenant_of("initech")):
            Server.objects.filter(slug="text").update(summary="Ours now")

        load(tmp_path)

        assert not Membership.objects.filter(user__email="bob@acme.example").exists()
        assert Server.objects.get(slug="text").summary == "Ours now"


class TestCommand:
    def test_it_is_not_for_production(self, settings, tmp_path):
        settings.ENVIRONMENT = "production"

        with pytest.raises(CommandError, match="not for production"):
            call_command("load_demo", data=tmp_path)

    def test_it_asks_where_the_servers_are(self, empty, tmp_path, monkeypatch):
        monkeypatch.delenv("MARKETPLACE_DEMO_PAYMENTS_URL", raising=False)

        with pytest.raises(CommandError, match="--payments-port"):
            call_command("load_demo", data=tmp_path)

    def test_a_server_that_cannot_be_read_is_one_sentence_and_leaves_no_server(self, empty, tmp_path, settings):
        settings.EGRESS_ALLOW = ["127.0.0.1:9"]

        with pytest.raises(CommandError):
            call_command("load_demo", data=tmp_path, payments_port=9, text_port=9)

        assert not Server.objects.filter(slug__in=URLS).exists()
        assert not (tmp_path / "demo.env").exists()
