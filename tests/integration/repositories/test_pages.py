from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.urls import reverse

from audit.models import AuditEvent
from catalog.choices import Visibility
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.types import PUBLIC_VIEWER, Viewer
from repositories.choices import RunState
from repositories.models import Repository
from repositories.services import settling, sync
from tenants.context import platform_scope, tenant_scope, viewer
from tenants.models import Membership
from tenants.services import settings as values
from tenants.services import teams
from tests.integration.repositories.conftest import add, keeper_of, read

FORM = {
    "name": "Registry",
    "trust_level": "enterprise",
    "visibility": "public",
    "priority": "100",
    "sync_interval_hours": "",
    "enabled": "on",
}


@pytest.fixture
def olga(cast, signed_in):
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return signed_in(cast.olga)


@pytest.fixture
def alice(cast, signed_in):
    return signed_in(cast.alice)


def org_url(page, *args, org="acme"):
    return reverse(f"org:{page}", args=[org, *args])


def only_source(**given) -> Repository:
    with platform_scope():
        return Repository.objects.get(**given)


def work_all():
    with platform_scope():
        for run_id in sync.resumable():
            sync.work(run_id)


class TestOrganisation:
    def test_an_owner_adds_a_private_source_whose_entries_only_the_organisation_finds(self, alice, cast, official):
        answer = alice.post(
            f"{org_url('source-create')}?kind=official", {**FORM, "url": official.url, "auto_sync": "on"}
        )
        source = only_source(name="Registry")
        assert answer.url == org_url("source", source.pk)
        work_all()
        page = alice.get(answer.url).content.decode()

        assert "14 entries read" in page
        assert "io.github.sample/server-000" in page
        with viewer(cast.acme.pk):
            assert visible_to(Viewer(tenant_id=cast.acme.pk)).filter(source_id=source.pk).count() == 7
        for who in (Viewer(tenant_id=cast.globex.pk), PUBLIC_VIEWER):
            with viewer(who.tenant_id or ""):
                assert not visible_to(who).filter(source_id=source.pk).exists()
                assert not Server.objects.filter(source_id=source.pk).exists()
                assert not Repository.objects.exists()

    def test_whoever_saves_without_looking_vouches_for_nothing(self, alice):
        page = alice.get(f"{org_url('source-create')}?kind=official").content.decode()

        assert '<option value="community" selected' in page
        assert '<option value="enterprise" selected' not in page

    def test_every_change_is_audited_without_the_credential(self, alice, cast, official):
        url = f"{org_url('source-create')}?kind=official&auth=token"
        alice.post(url, {**FORM, "url": official.url, "token": "very-secret-token"})
        source = only_source(name="Registry")
        page = alice.get(org_url("source", source.pk)).content.decode()
        form = alice.get(org_url("source-change", source.pk)).content.decode()
        alice.post(f"{org_url('source-change', source.pk)}?auth=none", {**FORM, "url": official.url})

        assert "Token, entered" in page
        assert "very-secret-token" not in page + form
        assert b"very-secret-token" not in bytes(source.credentials)
        with tenant_scope(cast.acme):
            events = list(AuditEvent.objects.filter(action__startswith="repositories:").order_by("sequence"))
        assert [event.action for event in events] == ["repositories:source:added", "repositories:source:changed"]
        assert "very-secret-token" not in str([event.data for event in events])
        assert not only_source(pk=source.pk).credentials

    def test_a_credential_is_not_sent_to_another_address_than_it_was_entered_for(self, alice, official):
        url = f"{org_url('source-create')}?kind=official&auth=token"
        alice.post(url, {**FORM, "url": official.url, "token": "secret"})
        source = only_source(name="Registry")

        answer = alice.post(org_url("source-change", source.pk), {**FORM, "url": "https://elsewhere.example"})

        assert answer.status_code == 422
        assert "Enter the credential again" in answer.content.decode()
        assert only_source(pk=source.pk).url == official.url

    def test_a_name_is_used_once_in_an_organisation(self, alice, official):
        add_one = {**FORM, "url": official.url}
        alice.post(f"{org_url('source-create')}?kind=official", add_one)

        answer = alice.post(f"{org_url('source-create')}?kind=official", add_one)

        assert answer.status_code == 422
        assert "There is a source named" in answer.content.decode()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"url": "ftp://x"}, "begins with https"),
            ({"url": "https://user:pw@x.example"}, "user name or password"),
            ({"trust_level": "community"}, "nobody vouches"),
            ({"sync_interval_hours": "0"}, "greater than or equal to 1"),
            ({"visibility": "group"}, "group"),
        ],
    )
    def test_odd_input_is_refused_beside_its_field(self, alice, official, change, message):
        answer = alice.post(f"{org_url('source-create')}?kind=official", {**FORM, "url": official.url, **change})

        assert answer.status_code == 422
        assert message in answer.content.decode()

    def test_folders_of_the_machine_are_not_for_organisations(self, alice):
        page = alice.get(org_url("source-create")).content.decode()

        assert "Container registry" in page
        assert "Folder of this machine" not in page

    def test_a_member_reads_and_changes_nothing(self, signed_in, cast, official):
        source = add("official", official.url, keeper=keeper_of(cast.acme))
        bob = signed_in(cast.bob)

        page = bob.get(org_url("source", source.pk)).content.decode()

        assert "alice@acme.example" in bob.get(org_url("sources")).content.decode()
        assert "Read it again" not in page
        assert bob.get(org_url("source-change", source.pk)).status_code == 403
        assert bob.post(org_url("source-sync", source.pk)).status_code == 403
        assert bob.post(org_url("source-remove", source.pk)).status_code == 403

    def test_staged_entries_are_shown_to_managers_only_until_they_are_released(self, alice, cast, official):
        source = add("official", official.url, keeper=keeper_of(cast.acme), staged=True)
        read(source)

        assert "io.github.sample/server-000" in alice.get(org_url("source", source.pk)).content.decode()
        with viewer(cast.acme.pk):
            assert not visible_to(Viewer(tenant_id=cast.acme.pk)).filter(source_id=source.pk).exists()
        alice.post(org_url("source-release", source.pk))
        with platform_scope():
            settling.settle(source.pk)

        with viewer(cast.acme.pk):
            assert visible_to(Viewer(tenant_id=cast.acme.pk)).filter(source_id=source.pk).count() == 7
        with viewer(cast.globex.pk):
            assert not visible_to(Viewer(tenant_id=cast.globex.pk)).filter(source_id=source.pk).exists()

    def test_entries_for_chosen_teams_are_found_by_these_teams_only(self, cast, official):
        actor = Membership.objects.select_related("tenant", "user").get(tenant=cast.acme, user=cast.alice)
        team = teams.create(actor=actor, name="Platform team")
        source = add(
            "official", official.url, keeper=keeper_of(cast.acme), visibility="group", allowed_teams=(team.pk,)
        )
        read(source)

        with viewer(cast.acme.pk):
            inside = visible_to(Viewer(tenant_id=cast.acme.pk, team_ids=frozenset({team.pk})))
            assert inside.filter(source_id=source.pk).count() == 7
            assert not visible_to(Viewer(tenant_id=cast.acme.pk)).filter(source_id=source.pk).exists()

    def test_a_removed_source_takes_what_only_it_listed_along(self, alice, cast, official):
        source = add("official", official.url, keeper=keeper_of(cast.acme))
        read(source)

        answer = alice.post(org_url("source-remove", source.pk))
        with platform_scope():
            settling.settle(source.pk)

        assert answer.url == org_url("sources")
        assert alice.get(org_url("source", source.pk)).status_code == 404
        with viewer(cast.acme.pk):
            assert not visible_to(Viewer(tenant_id=cast.acme.pk)).filter(source_id=source.pk).exists()
        with platform_scope():
            assert not Repository.objects.exists()

    def test_a_source_that_is_turned_off_and_on_again_is_listed_again(self, alice, cast, official):
        source = add("official", official.url, keeper=keeper_of(cast.acme))
        read(source)
        form = {**FORM, "name": "Source", "url": official.url}
        alice.post(org_url("source-change", source.pk), {**form, "enabled": ""})
        with platform_scope():
            settling.settle(source.pk)
        with viewer(cast.acme.pk):
            assert not visible_to(Viewer(tenant_id=cast.acme.pk)).filter(source_id=source.pk).exists()

        alice.post(org_url("source-change", source.pk), form)
        with platform_scope():
            settling.settle(source.pk)
            Repository.objects.update(last_sync=None)
        read(source)

        with viewer(cast.acme.pk):
            assert visible_to(Viewer(tenant_id=cast.acme.pk)).filter(source_id=source.pk).count() == 7

    def test_problems_are_shown_with_entry_field_and_reason_and_never_as_markup(self, alice, cast, official):
        official.rows[0]["server"]["name"] = "<script>alert(1)</script>"
        source = add("official", official.url, keeper=keeper_of(cast.acme))
        read(source)

        page = alice.get(org_url("source", source.pk)).content.decode()

        assert "Problems of the last reading" in page
        assert "&lt;script&gt;" in page
        assert "<script>alert" not in page


class TestOperators:
    def test_an_operator_adds_a_source_to_the_shared_catalog_and_watches_it(self, olga, official):
        official.page_max = 4
        url = reverse("operations-source-create")
        answer = olga.post(
            f"{url}?kind=official", {**FORM, "trust_level": "verified", "url": official.url, "auto_sync": "on"}
        )
        source = only_source(name="Registry")
        with platform_scope():
            sync.work(source.runs.get().pk, step_s=0)
        part = olga.get(answer.url, headers={"HX-Request": "true"})
        work_all()
        last = olga.get(answer.url, headers={"HX-Request": "true"})

        assert 'hx-trigger="every 2s"' in part.content.decode()
        assert "4 entries read" in part.content.decode()
        assert last["HX-Refresh"] == "true"
        assert "hx-trigger" not in last.content.decode()
        with viewer(""):
            assert visible_to(PUBLIC_VIEWER).filter(source_id=source.pk).count() == 7
            assert visible_to(PUBLIC_VIEWER).filter(namespace_proven=True).count() == 7

    def test_staged_entries_are_for_operators_until_released(self, olga, official):
        source = add("official", official.url, staged=True)
        read(source)
        with viewer(""):
            assert not visible_to(PUBLIC_VIEWER).filter(source_id=source.pk).exists()

        olga.post(reverse("operations-source-release", args=[source.pk]))
        with platform_scope():
            settling.settle(source.pk)

        with viewer(""):
            found = visible_to(PUBLIC_VIEWER).filter(source_id=source.pk)
            assert {server.visibility for server in found} == {Visibility.PUBLIC}
            assert found.count() == 7

    def test_reading_again_within_the_hour_says_when(self, olga, official):
        source = add("official", official.url)
        read(source)

        page = olga.post(reverse("operations-source-sync", args=[source.pk]), follow=True).content.decode()

        assert "once an hour" in page

    def test_a_reading_can_be_stopped(self, olga, official):
        source = add("official", official.url)
        olga.post(reverse("operations-source-sync", args=[source.pk]))
        olga.post(reverse("operations-source-stop", args=[source.pk]))

        with platform_scope():
            assert source.runs.get().state == RunState.CANCELLED

    def test_an_organisations_source_is_not_the_platforms(self, olga, cast, official):
        source = add("official", official.url, keeper=keeper_of(cast.acme), name="Private things")

        assert "Private things" not in olga.get(reverse("operations-sources")).content.decode()
        assert olga.get(reverse("operations-source", args=[source.pk])).status_code == 404
        assert b"Private things" in olga.get(reverse("admin:repositories_repository_changelist")).content

    def test_operators_raise_an_organisations_source_to_verified_and_both_sides_keep_it(self, olga, cast, official):
        source = add("official", official.url, keeper=keeper_of(cast.acme), name="Looked at")
        chosen = {"action": "verify", "_selected_action": [str(source.pk)]}

        page = olga.post(reverse("admin:repositories_repository_changelist"), chosen, follow=True).content.decode()

        assert "Looked at is verified" in page
        with platform_scope():
            source.refresh_from_db()
            assert source.trust_level == "verified"
            assert AuditEvent.objects.get(action="repositories:source:verified").data["trust_level"] == {
                "from": "enterprise",
                "to": "verified",
            }
        with tenant_scope(cast.acme):
            assert AuditEvent.objects.get(action="repositories:source:verified").actor_label == cast.olga.email

    def test_the_admin_shows_no_credential(self, olga, official):
        source = add("official", official.url, auth_type="token", secret={"token": "very-secret-token"})

        page = olga.get(reverse("admin:repositories_repository_change", args=[source.pk])).content.decode()

        assert "credentials:" not in page.lower()
        assert "very-secret" not in page


class TestFlags:
    @pytest.mark.parametrize(
        ("flag", "kind"), [("enable_github_repositories", "github"), ("enable_docker_repositories", "docker")]
    )
    def test_a_kind_that_is_turned_off_cannot_be_added_and_is_not_read(self, olga, cast, flag, kind):
        source = add(kind, "https://host.example/a/b")
        values.put(name=flag, value=False, actor=cast.olga)

        page = olga.get(f"{reverse('operations-source-create')}?kind={kind}").content.decode()

        assert f"kind={kind}&" not in page.replace("&amp;", "&")
        with platform_scope():
            source.auto_sync = True
            source.save()
            assert sync.due() == []
        answer = olga.post(reverse("operations-source-sync", args=[source.pk]), follow=True)
        assert "turned off" in answer.content.decode()

    def test_organisations_may_be_allowed_sources_that_nobody_vouches_for(self, alice, cast, official):
        values.put(name="allow_untrusted_repositories", value=True, actor=cast.olga)

        alice.post(
            f"{org_url('source-create')}?kind=official", {**FORM, "trust_level": "community", "url": official.url}
        )

        assert only_source(name="Registry").trust_level == "community"

    def test_the_default_interval_and_the_cache_time_say_when_a_source_is_due(self, cast, official):
        values.put(name="default_repository_sync_interval", value=2, actor=cast.olga)
        values.put(name="marketplace_cache_ttl", value=3 * 3600, actor=cast.olga)
        read(source := add("official", official.url))

        source = only_source(pk=source.pk)
        assert round((source.next_sync - source.last_sync).total_seconds() / 3600) == 3

    def test_the_public_marketplace_of_the_settings_is_a_source_as_long_as_it_is_on(self, cast, official):
        values.put(name="public_marketplace_url", value=official.url, actor=cast.olga)
        with platform_scope():
            settling.follow_settings()
        work_all()
        with viewer(""):
            assert visible_to(PUBLIC_VIEWER).filter(source_name="Public marketplace").count() == 7

        values.put(name="enable_public_marketplace", value=False, actor=cast.olga)
        with platform_scope():
            settling.follow_settings()
            settling.follow_settings()

        with viewer(""):
            assert not visible_to(PUBLIC_VIEWER).filter(source_name="Public marketplace").exists()
        assert not only_source(from_settings=True).enabled

    def test_an_address_in_the_settings_that_is_none_breaks_nothing(self, cast):
        values.put(name="public_marketplace_url", value="not an address", actor=cast.olga)

        with platform_scope():
            settling.follow_settings()
            assert not Repository.objects.exists()
