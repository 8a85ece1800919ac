"""Connecting accounts against an authorization server on a real socket, an honest one and one that lies."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connections as databases

from access.models import ConnectAttempt, OAuthClient, UpstreamCredential
from access.oauth.discovery import DiscoveryError, discover
from access.services import connections
from audit.models import AuditEvent
from catalog.models import Server
from core import clock
from core.errors import MarketplaceError
from notifications.models import Notification
from tenants.context import PLATFORM, tenant_scope, viewer
from tenants.services import vault
from tests.integration.access.conftest import browser_of
from tests.support.oauth_servers import FakeAuthorization, authorization_server, comes_back
from tests.support.upstreams import misbehaving_upstream

PAGE = "/o/acme/connections/"


@pytest.fixture(scope="module")
def running():
    with authorization_server() as fake:
        yield fake


@pytest.fixture
def fake(running):
    fresh = FakeAuthorization(port=running.port)
    running.__dict__.update(fresh.__dict__)
    return running


@pytest.fixture
def server(cast, fake, settings) -> Server:
    settings.EGRESS_ALLOW = [f"127.0.0.1:{fake.port}"]
    settings.PUBLIC_URL = "http://localhost:8000"
    with viewer(PLATFORM):
        Server.objects.filter(pk=cast.payments.pk).update(url=fake.url, auth_mode="oauth")
        return Server.objects.get(pk=cast.payments.pk)


def leave(browser, server="payments") -> str:
    """Where the page before leaving leads to."""
    page = browser.post(f"{PAGE}connect/", {"server": server})
    [url] = [part.split('"')[0] for part in page.content.decode().split('href="') if part.startswith("http://127")]
    return url.replace("&amp;", "&")


def connect(browser, fake) -> str:
    return browser.get(comes_back(fake.approve(leave(browser))), follow=True).content.decode()


def rows(cast):
    with tenant_scope(cast.acme):
        return list(UpstreamCredential.objects.all())


def secret(cast, row, field="secret"):
    return json.loads(vault.unseal(vault.place_of(row, field, cast.acme), bytes(getattr(row, field))))


class TestConnecting:
    def test_a_person_connects_and_the_token_is_theirs_alone(self, bob, cast, fake, server):
        page = connect(bob, fake)
        [row] = rows(cast)

        assert "is connected" in page
        assert row.user_id == cast.bob.pk
        assert secret(cast, row)["value"].removeprefix("Bearer ") in fake.good
        assert secret(cast, row, "renewal")["refresh_token"] in fake.refreshing

    def test_what_goes_along_is_what_the_specification_asks_for(self, bob, fake, server):
        url = leave(bob)
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}

        assert query["code_challenge_method"] == "S256"
        assert query["resource"] == fake.url
        assert query["client_id"] == "registered-1"
        assert query["redirect_uri"] == "http://localhost:8000/connections/callback/"
        assert query["scope"] == "tools:call"
        [registered] = fake.asked_for("/register")
        assert registered["application_type"] == "web"

    def test_we_register_once_with_an_authorization_server(self, bob, alice, cast, fake, server):
        connect(bob, fake)
        connect(alice, fake)

        assert len(fake.asked_for("/register")) == 1
        assert len(rows(cast)) == 2

    def test_our_document_is_our_name_where_the_authorization_server_reads_it(
        self, bob, fake, server, settings, client
    ):
        settings.PUBLIC_URL = "https://market.example"
        fake.lies["client_id_metadata_document_supported"] = True
        query = parse_qs(urlsplit(leave(bob)).query)
        document = client.get("/.well-known/oauth-client.json").json()

        assert query["client_id"] == ["https://market.example/.well-known/oauth-client.json"] == [document["client_id"]]
        assert query["redirect_uri"] == document["redirect_uris"]
        assert fake.asked_for("/register") == []

    def test_the_page_before_says_whom_one_is_about_to_meet(self, bob, fake, server):
        page = bob.post(f"{PAGE}connect/", {"server": "payments"})

        assert f"Continue to 127.0.0.1:{fake.port}?" in page.content.decode()
        assert page["Cache-Control"] == "no-store"


class TestClientsRegisteredByHand:
    """For authorization servers that register nobody by themselves."""

    CLIENT = f"{PAGE}client/?server=payments"

    @pytest.fixture(autouse=True)
    def registers_nobody(self, fake):
        fake.lies["registration_endpoint"] = None

    def enter(self, browser, fake, **changes):
        form = {"issuer": fake.origin, "client_id": "by-hand", "client_secret": "hand-s3cret"}
        return browser.post(self.CLIENT, form | changes)

    def test_without_one_the_person_is_told_who_can_help_it(self, bob, fake, server):
        page = bob.post(f"{PAGE}connect/", {"server": "payments"}, follow=True).content.decode()
        assert "registers none by itself" in page
        assert "Whoever manages keys" in page

    def test_with_one_an_account_is_connected_and_renewed_through_it(self, alice, bob, cast, fake, server):
        assert fake.origin in alice.post(self.CLIENT).content.decode()
        assert self.enter(alice, fake).status_code == 302
        url = leave(bob)
        assert parse_qs(urlsplit(url).query)["client_id"] == ["by-hand"]
        assert "is connected" in bob.get(comes_back(fake.approve(url)), follow=True).content.decode()
        basic = "Basic " + base64.b64encode(b"by-hand:hand-s3cret").decode()
        assert [headers.get("authorization") for path, headers, _ in fake.asked if path == "/token"] == [basic]

    def test_its_secret_is_sealed_and_never_shown_again(self, alice, cast, fake, server):
        self.enter(alice, fake)
        with tenant_scope(cast.acme):
            row = OAuthClient.objects.get()
            event = AuditEvent.objects.get(action="access:oauth_client:entered")
        assert (row.source, row.auth_method) == ("entered", "client_secret_basic")
        assert b"hand-s3cret" not in bytes(row.secret)
        assert "hand-s3cret" not in str(event.data)
        pages = [
            alice.get(PAGE),
            alice.get(self.CLIENT),
            alice.post(self.CLIENT),
            self.enter(alice, fake, client_id=""),
        ]
        assert ["by-hand" in page.content.decode() for page in pages[:1]] == [True]
        assert [page.status_code for page in pages if "hand-s3cret" in page.content.decode()] == []

    def test_without_a_secret_it_is_a_public_client(self, alice, cast, fake, server):
        self.enter(alice, fake, client_secret="")
        with tenant_scope(cast.acme):
            assert OAuthClient.objects.get().auth_method == "none"

    def test_a_server_that_names_another_authorization_server_meanwhile_gets_nothing(self, alice, cast, fake, server):
        page = alice.post(
            self.CLIENT, {"issuer": "https://other.example", "client_id": "a", "client_secret": "b"}, follow=True
        )
        assert "names another authorization server" in page.content.decode()
        with tenant_scope(cast.acme):
            assert not OAuthClient.objects.exists()

    def test_bad_input_is_named(self, alice, cast, fake, server):
        assert "printable" in self.enter(alice, fake, client_id="ü").content.decode()
        assert "printable" in self.enter(alice, fake, client_secret="ü").content.decode()

    def test_it_can_be_forgotten_and_accounts_stay(self, alice, bob, cast, fake, server):
        self.enter(alice, fake)
        connect(bob, fake)
        with tenant_scope(cast.acme):
            row = OAuthClient.objects.get()
        assert "Forget this client?" in alice.get(f"{PAGE}client/{row.pk}/forget/").content.decode()
        alice.post(f"{PAGE}client/{row.pk}/forget/")
        with tenant_scope(cast.acme):
            assert not OAuthClient.objects.exists()
            [account] = UpstreamCredential.objects.all()
            UpstreamCredential.objects.update(renew_at=clock.now() - timedelta(seconds=1))
            assert connections.renew(cast.acme, account.pk)

    def test_a_member_enters_none(self, bob, fake, server):
        assert bob.get(self.CLIENT).status_code == 403
        assert self.enter(bob, fake).status_code == 403


class TestComingBack:
    def test_a_state_is_good_once(self, bob, cast, fake, server):
        answer = fake.approve(leave(bob))
        bob.get(comes_back(answer), follow=True)
        with tenant_scope(cast.acme):
            UpstreamCredential.objects.all().delete()

        assert "not connected" in bob.get(comes_back(answer), follow=True).content.decode()
        assert rows(cast) == []

    def test_a_state_is_good_for_ten_minutes(self, bob, cast, fake, server):
        answer = fake.approve(leave(bob))
        with tenant_scope(cast.acme):
            ConnectAttempt.objects.update(expires_at=clock.now() - timedelta(seconds=1))

        assert "not connected" in bob.get(comes_back(answer), follow=True).content.decode()

    def test_an_answer_that_another_person_brings_connects_nobody(self, bob, alice, cast, fake, server):
        answer = fake.approve(leave(bob))

        assert "not connected" in alice.get(comes_back(answer), follow=True).content.decode()
        assert rows(cast) == []
        assert fake.asked_for("/token") == []

    def test_an_answer_in_another_session_of_the_same_person_connects_nobody(self, bob, cast, fake, server):
        answer, other = fake.approve(leave(bob)), browser_of(cast.bob)

        assert "not connected" in other.get(comes_back(answer), follow=True).content.decode()
        assert rows(cast) == []

    def test_an_answer_that_names_another_issuer_is_not_redeemed(self, bob, cast, fake, server):
        fake.lies["answer_iss"] = "https://attacker.example"
        page = connect(bob, fake)

        assert "another authorization server" in page
        assert fake.asked_for("/token") == []

    def test_an_answer_without_the_promised_issuer_is_not_redeemed(self, bob, cast, fake, server):
        answer = fake.approve(leave(bob))
        del answer["iss"]

        assert "not connected" in bob.get(comes_back(answer), follow=True).content.decode()
        assert fake.asked_for("/token") == []

    def test_a_refusal_is_told(self, bob, fake, server):
        answer = fake.approve(leave(bob))
        del answer["code"]

        assert "access_denied" in bob.get(comes_back(answer | {"error": "access_denied"}), follow=True).content.decode()

    @pytest.mark.parametrize("state", ["", "x", "acme.unknown", "globex.unknown", "../evil.x"])
    def test_an_invented_state_leads_nowhere(self, bob, state, server):
        answer = bob.get(comes_back({"state": state, "code": "x"}), follow=True)

        assert answer.status_code == 404 or "not connected" in answer.content.decode()


class TestLies:
    """A hostile server or authorization server, one bad member at a time (S03)."""

    @pytest.mark.parametrize(
        "lies",
        [
            {"resource": "https://other.example/mcp"},
            {"resource": "http://127.0.0.1"},
            {"resource": None},
            {"authorization_servers": []},
            {"authorization_servers": ["http://169.254.169.254"]},
            {"authorization_servers": ["https://10.0.0.1/"]},
            {"authorization_servers": ["file:///etc/passwd"]},
            {"authorization_servers": [7]},
            {"issuer": "https://attacker.example"},
            {"issuer": None},
            {"token_endpoint": None},
            {"token_endpoint": "http://169.254.169.254/token"},
            {"token_endpoint": "http://public.example/token"},
            {"token_endpoint": "javascript:alert(1)"},
            {"authorization_endpoint": "javascript:alert(1)"},
            {"authorization_endpoint": "http://user@127.0.0.1/"},
            {"registration_endpoint": "http://[::1]/register"},
            {"resource_metadata": "http://169.254.169.254/latest"},
            {"resource_metadata": "https://attacker.example/prm"},
            {"raw": []},
            {"raw": b"<html>"},
            {"raw": b"{" + b" " * 100_000 + b"}"},
        ],
        ids=str,
    )
    def test_each_ends_the_discovery(self, fake, server, lies):
        fake.lies = lies

        with pytest.raises(MarketplaceError):
            discover(fake.url, connections.egress_allow())

    def test_no_lie_makes_us_connect_to_a_private_address(self, fake, server):
        with misbehaving_upstream() as canary:
            for name in ("authorization_endpoint", "token_endpoint", "registration_endpoint", "resource_metadata"):
                fake.lies = {name: canary.url("ok")}
                with pytest.raises(MarketplaceError):
                    discover(fake.url, connections.egress_allow())
            fake.lies = {"authorization_servers": [canary.url("ok")]}
            with pytest.raises(MarketplaceError):
                discover(fake.url, connections.egress_allow())

            assert canary.connections == 0

    def test_a_person_is_not_sent_where_pkce_is_missing(self, bob, cast, fake, server):
        fake.lies = {"code_challenge_methods_supported": ["plain"]}
        page = bob.post(f"{PAGE}connect/", {"server": "payments"}, follow=True).content.decode()

        assert "PKCE" in page

    @pytest.mark.parametrize(
        "answer",
        [
            {"access_token": "a\r\nx-evil: 1", "token_type": "Bearer"},
            {"access_token": "x", "token_type": "mac"},
            {"access_token": 7, "token_type": "Bearer"},
            {"access_token": "x" * 9000, "token_type": "Bearer"},
            {},
            [],
        ],
        ids=str,
    )
    def test_a_token_that_is_none_is_not_kept(self, bob, cast, fake, server, answer):
        fake.token_answer = answer
        page = connect(bob, fake)

        assert "not connected" in page
        assert rows(cast) == []

    def test_a_server_without_oauth_says_so(self, settings):
        with misbehaving_upstream() as plain, pytest.raises(DiscoveryError):
            discover(plain.url("unauthorized"), frozenset({("127.0.0.1", plain.port)}))


class TestRenewal:
    def soon(self, cast, row):
        with tenant_scope(cast.acme):
            UpstreamCredential.objects.filter(pk=row.pk).update(renew_at=clock.now() - timedelta(seconds=1))

    def test_the_job_renews_ahead_of_the_end(self, bob, cast, fake, server):
        connect(bob, fake)
        [row] = rows(cast)
        before = secret(cast, row)["value"]
        self.soon(cast, row)
        with tenant_scope(cast.acme):
            assert connections.due() == [row.pk]
            assert connections.renew(cast.acme, row.pk)
            assert connections.due() == []

        [row] = rows(cast)
        assert secret(cast, row)["value"] != before
        assert secret(cast, row, "renewal")["refresh_token"] in fake.refreshing

    def test_nothing_is_asked_for_before_it_is_due(self, bob, cast, fake, server):
        connect(bob, fake)
        [row] = rows(cast)
        with tenant_scope(cast.acme):
            assert not connections.renew(cast.acme, row.pk)

        assert len(fake.asked_for("/token")) == 1

    def test_a_final_refusal_ends_the_connection_and_shows(self, bob, cast, fake, server):
        connect(bob, fake)
        [row] = rows(cast)
        fake.refreshing.clear()
        self.soon(cast, row)
        with tenant_scope(cast.acme):
            connections.renew(cast.acme, row.pk)
            assert connections.due() == []
        [row] = rows(cast)

        assert (row.status, row.renew_at) == ("ended", None)
        assert "invalid_grant" in bob.get(PAGE).content.decode()

    def test_whose_account_ended_is_told_once_and_how_to_connect_it_again(self, bob, alice, cast, fake, server):
        connect(bob, fake)
        [row] = rows(cast)
        fake.refreshing.clear()
        self.soon(cast, row)
        with tenant_scope(cast.acme):
            for _ in range(3):
                connections.renew(cast.acme, row.pk)
                connections.note_rejected(cast.acme, row.pk)
            told = list(Notification.objects.filter(kind="access.connection_ended"))

        assert [(each.recipient_id, each.email) for each in told] == [(cast.bob.pk, cast.bob.email)]
        assert told[0].url == "/o/acme/connections/new/?server=payments"
        assert "Connect your account" in bob.get(told[0].url).content.decode()
        assert "has to be connected again" in bob.get("/o/acme/notifications/").content.decode()
        assert "has to be connected again" not in alice.get("/o/acme/notifications/").content.decode()
        connect(bob, fake)
        [row] = rows(cast)
        assert row.status == "active"

    def test_a_client_of_the_organisation_that_ended_is_told_to_those_who_manage_keys(self, alice, cast, fake, server):
        alice.post(f"{PAGE}new/?server=payments&kind=oauth", {"client_id": "agent", "client_secret": "s3cret"})
        [row] = rows(cast)
        fake.token_answer, fake.token_status = {"error": "invalid_client"}, 401
        self.soon(cast, row)
        with tenant_scope(cast.acme):
            connections.renew(cast.acme, row.pk)
            told = list(Notification.objects.filter(kind="access.connection_ended"))
        assert [each.recipient_id for each in told] == [cast.alice.pk]
        assert told[0].url.endswith("?server=payments&kind=oauth")

    def test_a_passing_failure_is_tried_again_later_and_later(self, bob, cast, fake, server):
        connect(bob, fake)
        [row] = rows(cast)
        fake.token_answer, fake.token_status = {}, 503
        waits = []
        for _ in range(4):
            self.soon(cast, row)
            with tenant_scope(cast.acme):
                connections.renew(cast.acme, row.pk)
                connections.renew(cast.acme, row.pk)
            [row] = rows(cast)
            waits.append(round((row.renew_at - row.checked_at).total_seconds()))

        assert waits == [60, 120, 240, 480]
        assert len(fake.asked_for("/token")) == 1 + 4
        assert row.status == "failing"

    def test_a_token_that_the_server_rejects_is_renewed_once(self, bob, cast, fake, server):
        connect(bob, fake)
        [row] = rows(cast)
        with tenant_scope(cast.acme):
            connections.note_rejected(cast.acme, row.pk)
            assert connections.renew(cast.acme, row.pk)
            connections.note_rejected(cast.acme, row.pk)
            assert not connections.renew(cast.acme, row.pk)

        assert len(fake.asked_for("/token")) == 2

    def test_the_organisation_s_client_gets_tokens_without_a_person(self, alice, cast, fake, server):
        form = {"client_id": "agent", "client_secret": "s3cret", "scope": ""}
        alice.post(f"{PAGE}new/?server=payments&kind=oauth", form)
        [row] = rows(cast)
        self.soon(cast, row)
        with tenant_scope(cast.acme):
            assert connections.renew(cast.acme, row.pk)
        [row] = rows(cast)

        assert secret(cast, row)["value"].removeprefix("Bearer ") in fake.good
        assert [form["resource"] for form in fake.asked_for("/token")] == [fake.url] * 2
        assert "s3cret" not in alice.get(PAGE).content.decode()


class TestTogether:
    def test_twenty_who_find_the_token_expired_ask_for_one(self, durable_db, fake, settings):
        """On twenty database connections, as in several processes: the row's lock is what they share."""
        from tests.support.cast import Cast

        cast = Cast.load()
        settings.EGRESS_ALLOW = [f"127.0.0.1:{fake.port}"]
        with viewer(PLATFORM):
            server = Server.objects.get(pk=cast.vault.pk)
        server.url = fake.url
        with tenant_scope(cast.acme):
            UpstreamCredential.objects.filter(server_id=server.pk).delete()
            row = connections.store_client(
                tenant=cast.acme, server=server, client_id="agent", client_secret="s3cret", scope="", actor=cast.alice
            )
            UpstreamCredential.objects.filter(pk=row.pk).update(expires_at=clock.now(), renew_at=clock.now())

        def work(_: int) -> bool:
            try:
                with tenant_scope(cast.acme):
                    return connections.renew(cast.acme, row.pk)
            finally:
                databases.close_all()

        with ThreadPoolExecutor(20) as pool:
            renewed = list(pool.map(work, range(20)))
        with tenant_scope(cast.acme):
            UpstreamCredential.objects.filter(pk=row.pk).delete()
            OAuthClient.objects.all().delete()

        assert renewed.count(True) == 1
        assert len(fake.asked_for("/token")) == 2
