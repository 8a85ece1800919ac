"""A listed server becomes a governed one: read live, reviewed by an operator, given to a provider."""

from __future__ import annotations

from dataclasses import replace

import pytest
from allauth.mfa.models import Authenticator
from django.urls import reverse

from audit.models import AuditEvent
from catalog.choices import Origin, Status
from catalog.formats.normal import Remote
from catalog.models import Server, SourceEntry
from catalog.policies import PolicySettings
from catalog.services import importing
from gateway.services.entries import server_entries
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tests.integration.catalog.fakes import Answer, modern, serving
from tests.integration.catalog.test_importing import MAIL, MIRROR, OFFICIAL, only
from tests.support.cast import make_server

pytestmark = pytest.mark.django_db
READS = {
    "name": "read_mail",
    "description": "Reads <b>mail</b>.",
    "inputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": True},
}
SENDS = {"name": "send_mail", "description": "Sends one mail.", "inputSchema": {"type": "object"}}


@pytest.fixture
def olga(cast, signed_in):
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return signed_in(cast.olga)


@pytest.fixture
def tools() -> list[dict]:
    return [READS, SENDS]


@pytest.fixture
def mail(cast, settings, tools):
    """A listing of a server that answers."""
    with serving(modern(tools)) as server:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
        entry = replace(MAIL, remotes=(Remote("streamable-http", server.url),))
        importing.take(OFFICIAL, [entry])
        yield entry


def page_of(server: Server) -> str:
    return reverse("operations-adopt", args=[server.pk])


def adopt(client, server: Server, **given):
    """Read the tools and approve them as the page offers it."""
    reviewed = client.post(page_of(server))
    assert reviewed.status_code == 200
    digest = reviewed.context["form"]["digest"].value()
    fields = {
        "organisation": "initech", "slug": server.slug, "required_trust": "low", "auth_mode": "none", "digest": digest,
        "effect:read_mail": "read", "effect:send_mail": "write",
    }  # fmt: skip
    return client.post(page_of(server), fields | given)


class TestAdopting:
    def test_it_is_approved_as_the_provider_s_with_its_tools_as_reviewed(self, cast, olga, mail):
        listed = only()
        answer = adopt(olga, listed)

        assert (answer.status_code, answer.url) == (302, "/servers/mail/")
        server = only()
        assert (server.pk, server.status, server.owner_tenant_id) == (listed.pk, Status.APPROVED, cast.initech.pk)
        with platform_scope():
            assert server.provider.tenant_id == cast.initech.pk
            found = server.current_version.tools.values_list("name", "side_effect", "required_trust", "seen")
            assert list(found) == [("read_mail", "read", "low", "live"), ("send_mail", "write", "medium", "live")]
        (entry,) = server_entries(slug="mail")
        assert entry.callable
        assert entry.owner_tenant_id == cast.initech.pk

    def test_both_sides_keep_it_and_the_provider_is_told(self, cast, olga, mail):
        adopt(olga, only())

        for scope in (platform_scope(), tenant_scope(cast.initech)):
            with scope:
                event = AuditEvent.objects.get(action="catalog:server:adopted")
                assert (event.actor_label, event.data["organisation"]) == (cast.olga.email, "initech")
                assert event.data["effects"] == {"read_mail": "read", "send_mail": "write"}
        with tenant_scope(cast.initech):
            told = Notification.objects.get(kind="catalog.server_adopted")
            assert (told.recipient_id, told.url) == (cast.diana.pk, "/o/initech/servers/mail/settings/")

    def test_what_the_source_says_later_changes_nothing_that_the_approval_rests_on(self, cast, olga, mail):
        adopt(olga, only())
        approved = only()
        stolen = replace(mail, title="Stolen", remotes=(Remote("streamable-http", "https://eve.example/mcp"),))
        importing.take(OFFICIAL, [stolen])
        importing.take(MIRROR, [replace(mail, version="9.0.0")])
        importing.withdraw(OFFICIAL, [mail.name])

        server = only()  # there is still one
        assert (server.pk, server.name, server.url) == (approved.pk, "Mail", mail.remotes[0].url)
        assert (server.status, server.owner_tenant_id) == (Status.APPROVED, cast.initech.pk)
        assert server.current_version_id == approved.current_version_id
        with platform_scope():
            assert set(SourceEntry.objects.values_list("server_id", flat=True)) == {server.pk}
            assert Server.objects.filter(origin=Origin.IMPORTED).count() == 1

    def test_tools_that_change_between_reading_and_approving_are_shown_again(self, cast, olga, mail, tools):
        server = only()
        reviewed = olga.post(page_of(server)).context["form"]["digest"].value()
        tools.append({**SENDS, "name": "erase_all"})
        answer = adopt(olga, server, digest=reviewed)

        assert answer.status_code == 422
        assert "other tools than a moment ago" in answer.content.decode()
        assert "erase_all" in answer.content.decode()
        assert only().status == Status.LISTED

    def test_the_provider_s_own_name_is_no_obstacle_to_another(self, cast, olga, mail):
        with platform_scope():
            make_server(cast.initech, "post", "Post", visibility="org", tools=[])
        refused = adopt(olga, only(), slug="post")
        assert refused.status_code == 422
        assert "another name" in refused.content.decode()

        assert adopt(olga, only(), slug="post-office").status_code == 302
        assert only().slug == "post-office"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"organisation": "nobody"},
            {"slug": "Not A Name"},
            {"required_trust": "enormous"},
            {"effect:send_mail": "nothing at all"},
        ],
    )
    def test_a_bad_choice_is_said_and_nothing_is_approved(self, cast, olga, mail, wrong):
        answer = adopt(olga, only(), **wrong)

        assert answer.status_code == 422
        assert only().status == Status.LISTED

    def test_a_server_that_does_not_answer_stays_listed(self, cast, olga, settings):
        with serving(lambda seen: Answer(500)) as server:
            settings.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
            importing.take(OFFICIAL, [replace(MAIL, remotes=(Remote("streamable-http", server.url),))])
            answer = olga.post(page_of(only()))

        assert answer.status_code == 422
        assert "It could not be read" in answer.content.decode()

    def test_texts_of_the_server_are_text(self, cast, olga, mail):
        page = olga.post(page_of(only())).content.decode()

        assert "Reads &lt;b&gt;mail&lt;/b&gt;." in page
        assert "<b>mail" not in page


class TestPolicy:
    """What the descriptions of a listing say about its policy."""

    def take(self, mail, source=OFFICIAL, **spec):
        importing.take(source, [replace(mail, extra={"spec": spec})])

    def test_what_asks_for_more_care_is_shown_and_taken(self, cast, olga, mail):
        self.take(
            mail,
            policy={"mode": "allow-list", "policyVersion": "v7"},
            session={"required": True, "maxLifetime": "2h", "idleTimeout": "90h", "headerName": "X-Mail-Session"},
        )
        shown = olga.post(page_of(only())).content.decode()
        assert "<code>session.required: true</code>" in shown
        assert "<code>session.maxLifetime: 2h</code>" in shown
        assert "idleTimeout" not in shown, "longer than usual"
        adopt(olga, only())

        found = PolicySettings.of(only())
        assert (found.session_required, found.session_header, found.policy_version) == (True, "X-Mail-Session", "v7")
        assert (found.session_max_lifetime_s, found.session_idle_timeout_s) == (7_200, 3_600)
        (entry,) = server_entries(slug="mail")
        assert entry.policy.session.required
        with platform_scope():
            event = AuditEvent.objects.get(action="catalog:server:adopted")
        assert event.data["policy"]["session_required"] is True

    def test_what_asks_for_less_is_shown_and_left_to_the_provider(self, cast, olga, mail):
        self.take(
            mail,
            policy={"mode": "observe", "defaultDecision": "allow", "enforceOn": "call_tool"},
            session={"required": False},
        )
        shown = olga.post(page_of(only())).content.decode()
        assert "<code>policy.mode: observe</code>, <code>policy.defaultDecision: allow</code>" in shown
        adopt(olga, only())

        assert only().policy_mode == "allow-list"
        assert PolicySettings.of(only()) == PolicySettings()

    def test_of_several_sources_the_strictest_counts(self, cast, olga, mail):
        self.take(mail, session={"required": True, "maxLifetime": "4h"})
        self.take(mail, MIRROR, session={"required": False, "maxLifetime": "1h"})
        adopt(olga, only())

        found = PolicySettings.of(only())
        assert (found.session_required, found.session_max_lifetime_s) == (True, 3_600)

    @pytest.mark.parametrize(
        "spec", ["text", ["policy"], {"policy": "observe", "session": 7}, {"session": {"maxLifetime": {}}}]
    )
    def test_what_is_no_policy_changes_nothing(self, cast, olga, mail, spec):
        importing.take(OFFICIAL, [replace(mail, extra={"spec": spec})])
        adopt(olga, only())

        assert PolicySettings.of(only()) == PolicySettings()


class TestWho:
    def test_the_page_of_a_listing_leads_operators_there_and_nobody_else(self, cast, client, olga, mail):
        where = page_of(only())
        assert where in olga.get("/servers/mail/").content.decode()
        adopt(olga, only())
        assert where not in olga.get("/servers/mail/").content.decode()
        client.logout()
        assert where not in client.get("/servers/mail/").content.decode()

    def test_only_operators_come_here(self, cast, signed_in, mail):
        where = page_of(only())
        for person in (cast.alice, cast.diana, cast.charlie):
            browser = signed_in(person)
            assert where not in browser.get("/servers/mail/").content.decode()
            assert browser.get(where).status_code == 404
            assert browser.post(where, {"organisation": "acme"}).status_code == 404
        assert only().status == Status.LISTED

    def test_what_is_governed_or_private_or_has_no_address_is_not_taken(self, cast, olga, settings):
        importing.take(OFFICIAL, [replace(MAIL, remotes=())])
        assert olga.get(page_of(only())).status_code == 302
        for server in (cast.payments, cast.vault):
            assert olga.post(page_of(server)).status_code == 404
        own = replace(OFFICIAL, owner_tenant_id=cast.acme.pk, visibility="org")
        importing.take(own, [replace(MAIL, name="com.example/own")])
        assert olga.post(page_of(only("com.example/own"))).status_code == 404
