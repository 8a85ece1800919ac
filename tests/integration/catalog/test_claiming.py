"""An organisation claims a listing of a source and proves its namespace; what follows on the server's page and in merging."""

from __future__ import annotations

import http.server
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.urls import reverse

from audit import services as audit
from audit.models import AuditEvent
from catalog.claims import rules
from catalog.models import ListingClaim, Server, SourceEntry
from catalog.services import claiming, importing, proofs
from core import clock
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tests.integration.catalog.test_importing import DOCKER, MAIL, MIRROR, only
from tests.support.name_servers import running_names

pytestmark = pytest.mark.django_db
RECORD = "_mcp-marketplace.example.com"


@pytest.fixture
def names(settings):
    with running_names() as running:
        settings.DNS_SERVERS = [running.address]
        yield running


@pytest.fixture
def listed() -> Server:
    """Two sources know the server; the mirror has the higher priority."""
    importing.take(MIRROR, [MAIL])
    importing.take(DOCKER, [replace(MAIL, title="Mail of its maker")])
    return only()


@pytest.fixture
def diana(cast, signed_in):
    return signed_in(cast.diana)


def claim(client, server: Server, source=DOCKER, org: str = "initech", **fields) -> ListingClaim:
    page = f"{reverse('org:claim-create', args=[org])}?server={server.slug}"
    answer = client.post(page, {"source": str(source.source_id), **fields})
    assert answer.status_code == 302, answer.content.decode()[-2000:]
    with platform_scope():
        return ListingClaim.objects.get(pk=answer.url.rstrip("/").rpartition("/")[2])


def page_of(row: ListingClaim) -> str:
    return reverse("org:claim", args=["initech", row.pk])


def check(client, row: ListingClaim, method: str = "dns") -> str:
    with platform_scope():
        ListingClaim.objects.filter(pk=row.pk).update(checked_at=None)
    return client.post(page_of(row), {"method": method}, follow=True).content.decode()


def overview(client) -> str:
    return " ".join(client.get("/servers/mail/").content.decode().split())


class TestNamespaces:
    @pytest.mark.parametrize(
        ("namespace", "domain"),
        [
            ("com.example", "example.com"),
            ("uk.co.example.mail", "mail.example.co.uk"),
            ("io.github.somebody", ""),
            ("com.gitlab.group", ""),
            ("localhost", ""),
            ("", ""),
        ],
    )
    def test_a_namespace_stands_for_a_domain_or_for_none(self, namespace, domain):
        assert rules.domain_of(namespace) == domain


class TestProving:
    def test_a_record_proves_it_and_the_words_of_the_chosen_source_win(self, cast, diana, names, listed):
        assert listed.name == "Mail"
        row = claim(diana, listed)
        assert "The last check did not find it" in check(diana, row)
        names.records[RECORD] = [row.challenge.text]

        assert "com.example is yours" in check(diana, row)

        server = only()
        assert (server.pk, server.name) == (listed.pk, "Mail of its maker")
        assert (server.namespace_proven, server.is_verified) == (True, True)
        assert "Initech proved by a TXT record that it holds example.com" in overview(diana)
        for scope in (platform_scope(), tenant_scope(cast.initech)):
            with scope:
                assert AuditEvent.objects.filter(action="catalog:claim:proven").count() == 1

    def test_later_entries_of_that_source_still_win(self, diana, names, listed):
        row = claim(diana, listed)
        names.records[RECORD] = [row.challenge.text]
        check(diana, row)

        later = {"version": "2.0.0", "published_at": MAIL.published_at + timedelta(days=1)}
        importing.take(DOCKER, [replace(MAIL, title="Two", **later)])
        importing.take(MIRROR, [replace(MAIL, title="Mirrored", **later)])

        assert (only().name, only().namespace_proven) == ("Two", True)

    def test_giving_up_makes_it_a_claim_again(self, diana, names, listed):
        row = claim(diana, listed)
        names.records[RECORD] = [row.challenge.text]
        check(diana, row)

        diana.post(reverse("org:claim-give-up", args=["initech", row.pk]))

        assert (only().name, only().namespace_proven, only().is_verified) == ("Mail", False, False)
        with platform_scope():
            assert not SourceEntry.objects.filter(is_vouched=True).exists()
        assert "a claim of the source, not proven" in overview(diana)

    def test_a_file_proves_it_too_and_no_redirect_is_followed(self, diana, listed, settings, web):
        row = claim(diana, listed)
        settings.DOMAIN_PROOF_URL = f"http://127.0.0.1:{web.port}/moved"
        assert "could not be read" in check(diana, row, "file")  # not opened by the operator
        settings.EGRESS_ALLOW = [f"127.0.0.1:{web.port}"]
        assert "HTTP 302" in check(diana, row, "file")

        settings.DOMAIN_PROOF_URL = f"http://127.0.0.1:{web.port}/proof"
        web.text = f"# ours\n{row.challenge.text}\n"

        assert "com.example is yours" in check(diana, row, "file")

    def test_another_listing_of_the_namespace_is_proven_with_it(self, diana, names, listed):
        row = claim(diana, listed)
        names.records[RECORD] = [row.challenge.text]
        check(diana, row)
        other = replace(MAIL, name="com.example/post", packages=(), remotes=(), repository=None)
        importing.take(MIRROR, [other])

        second = claim(diana, only("com.example/post"), MIRROR)

        assert (second.state, second.method) == ("proven", "earlier")

    def test_a_check_follows_another_only_after_some_seconds(self, diana, names, listed):
        row = claim(diana, listed)
        check(diana, row)

        page = diana.post(page_of(row), {"method": "dns"}, follow=True).content.decode()
        assert "a moment ago" in page
        assert len(names.asked) == 1

    def test_what_another_organisation_has_proven_is_not_taken_from_it(self, cast, diana, client, names, listed):
        row = claim(diana, listed)
        names.records[RECORD] = [row.challenge.text]
        check(diana, row)
        client.force_login(cast.alice)
        rival = claim(client, listed, org="acme")
        names.records[RECORD].append(rival.challenge.text)

        page = client.post(reverse("org:claim", args=["acme", rival.pk]), {"method": "dns"}, follow=True)

        assert "Another organisation has proven this before" in page.content.decode()
        assert rival.token != row.token


class TestOperators:
    @pytest.fixture
    def olga(self, cast, client):
        Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "x"})
        return client

    def test_a_name_at_a_code_host_is_for_an_operator_to_confirm(self, cast, olga, listed):
        importing.take(MIRROR, [replace(MAIL, name="io.github.somebody/mail")])
        olga.force_login(cast.diana)
        row = claim(olga, only("io.github.somebody/mail"), MIRROR, reason="Ask us at github.com/somebody")
        assert "An operator decides" in olga.get(page_of(row)).content.decode()
        assert "Choose how it is proven" in check(olga, row)
        with platform_scope():
            assert Notification.objects.filter(kind=claiming.ASKED, recipient_id=cast.olga.pk).count() == 1

        olga.force_login(cast.olga)
        page = reverse("operations-claims")
        assert "Ask us at" in olga.get(page).content.decode()
        assert "Say how you know" in self._decide(olga, row, words=" ")
        assert "proven" in self._decide(olga, row, words="They wrote from that account.")

        assert only("io.github.somebody/mail").namespace_proven
        with tenant_scope(cast.initech):
            assert Notification.objects.filter(kind=claiming.DECIDED, recipient_id=cast.diana.pk).count() == 1
        assert "?organisation=initech" in olga.get(page).content.decode()

        self._decide(olga, row, decision="refuse", words="They sold it.")
        assert not only("io.github.somebody/mail").namespace_proven

    def _decide(self, client, row, *, decision: str = "confirm", words: str) -> str:
        given = {"claim": row.pk, "decision": decision, "words": words}
        return client.post(reverse("operations-claims"), given, follow=True).content.decode()


class TestLimits:
    def test_who_may_not_publish_is_offered_nothing_and_may_nothing(self, cast, signed_in, listed):
        bob = signed_in(cast.bob)

        assert "Claim it" not in overview(bob)
        assert bob.get(reverse("org:claim-create", args=["acme"]), {"server": listed.slug}).status_code == 403

    def test_a_governed_server_of_others_and_a_private_one_are_not_claimed(self, cast, diana, signed_in):
        page = reverse("org:claim-create", args=["initech"])

        assert diana.get(page, {"server": "payments"}).status_code == 409
        assert diana.get(page, {"server": "vault"}).status_code == 404

    def test_the_page_offers_the_claim_and_twice_is_refused(self, diana, listed):
        assert "/o/initech/claims/new/?server=mail" in overview(diana)
        claim(diana, listed)

        page = f"{reverse('org:claim-create', args=['initech'])}?server={listed.slug}"
        answer = diana.post(page, {"source": str(DOCKER.source_id)})
        assert answer.status_code == 422
        assert "claims this listing already" in answer.content.decode()

    def test_a_claim_of_another_organisation_is_not_there(self, cast, diana, client, listed):
        row = claim(diana, listed)
        client.force_login(cast.charlie)

        assert client.get(reverse("org:claim", args=["globex", row.pk])).status_code == 404
        assert row.created_at <= clock.now()


@pytest.fixture
def web():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            moved = self.path == "/moved"
            self.send_response(302 if moved else 200)
            if moved:
                self.send_header("Location", "/proof")
            self.end_headers()
            self.wfile.write(self.server.text.encode())

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.text, server.port = "", server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


class TestAskingAgain:
    @pytest.fixture
    def proven(self, diana, names, listed) -> ListingClaim:
        row = claim(diana, listed)
        names.records[RECORD] = [row.challenge.text]
        check(diana, row)
        return row

    def a_day_later(self, days: int = 1) -> None:
        for _ in range(days):
            with platform_scope():
                ListingClaim.objects.update(checked_at=clock.now() - timedelta(days=1, minutes=1))
            proofs.ask_again()

    def reread(self, row: ListingClaim) -> ListingClaim:
        with platform_scope():
            return ListingClaim.objects.get(pk=row.pk)

    def told(self, cast) -> list[str]:
        with tenant_scope(cast.initech):
            rows = Notification.objects.filter(kind=claiming.DECIDED, recipient_id=cast.diana.pk).order_by("pk")
            return list(rows.values_list("title", flat=True))

    def test_a_proof_that_is_there_is_looked_for_once_a_day_and_nothing_changes(self, cast, names, proven):
        asked = len(names.asked)

        self.a_day_later()
        proofs.ask_again()

        assert len(names.asked) == asked + 1
        assert (self.reread(proven).state, only().namespace_proven, self.told(cast)) == ("proven", True, [])

    def test_one_that_is_missing_is_told_once_and_may_come_back(self, cast, diana, names, proven):
        names.records.clear()
        self.a_day_later(3)

        assert (self.reread(proven).state, self.reread(proven).failed_looks) == ("proven", 3)
        assert self.told(cast) == ["The proof for example.com was not found"]
        assert "The proof is missing" in diana.get(page_of(proven)).content.decode()

        names.records[RECORD] = [proven.challenge.text]
        self.a_day_later()

        assert (self.reread(proven).failed_looks, self.reread(proven).detail) == (0, "")

    def test_after_a_week_the_claim_waits_for_a_proof_again(self, cast, diana, names, proven):
        importing.take(MIRROR, [replace(MAIL, name="com.example/post", packages=(), remotes=(), repository=None)])
        second = claim(diana, only("com.example/post"), MIRROR)
        names.records.clear()

        self.a_day_later(6)
        assert only().namespace_proven
        self.a_day_later()

        for row in (proven, second):  # what was proven with the first is lost with it
            assert (self.reread(row).state, self.reread(row).method) == ("waiting", "")
        assert (only().name, only().namespace_proven, only().is_verified) == ("Mail", False, False)
        for scope in (platform_scope(), tenant_scope(cast.initech)):
            with scope:
                assert AuditEvent.objects.filter(action="catalog:claim:lost").count() == 2
        assert "Mail of its maker is no longer proven to be yours" in self.told(cast)

        names.records[RECORD] = [proven.challenge.text]
        assert "com.example is yours" in check(diana, proven)

    def test_a_name_server_that_fails_says_nothing_about_a_proof(self, names, proven):
        names.records.clear()
        names.broken = True

        self.a_day_later(9)

        assert (self.reread(proven).state, self.reread(proven).failed_looks) == ("proven", 0)

    def test_what_an_operator_confirmed_is_not_asked_for(self, cast, diana, names, listed):
        row = claim(diana, listed)
        claiming.confirm(claim_id=row.pk, operator=audit.Party("operator", "1", "olga"), words="They wrote to us.")
        asked = len(names.asked)

        self.a_day_later(8)

        assert (self.reread(row).state, len(names.asked)) == ("proven", asked)
