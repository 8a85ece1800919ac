"""Entries of sources become servers: what is stored, what is merged, what is hidden, and who sees it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from django.db import connection

from catalog.choices import Status, UpstreamStatus, Visibility
from catalog.formats.normal import CodeRepository, Entry, Package, Remote, ToolClaim, Transport
from catalog.models import Server, ServerVersion, SourceEntry, Tool
from catalog.selectors.listing import find_server, visible_to
from catalog.services import importing, servers
from catalog.services.importing import SourceRef
from catalog.types import PUBLIC_VIEWER, Inventory, Viewer
from core.errors import InvalidError
from gateway.services.entries import server_entries
from tenants.context import platform_scope, tenant_scope, viewer
from tests.support.cast import PAYMENTS_TOOLS, make_server

pytestmark = pytest.mark.django_db

DAY = datetime(2026, 1, 1, tzinfo=UTC)
OFFICIAL = SourceRef(UUID(int=1), "Official", "official", "verified")
MIRROR = SourceRef(UUID(int=2), "Mirror", "http", priority=50)
DOCKER = SourceRef(UUID(int=3), "Docker", "docker", priority=10)
MAIL = Entry(
    "com.example/mail",
    "server_json",
    title="Mail",
    description="Sends mail.",
    version="1.0.0",
    website_url="https://mail.example",
    repository=CodeRepository("https://github.com/example/mail"),
    packages=(Package("npm", "@example/mail", Transport("stdio")),),
    remotes=(Remote("streamable-http", "https://mail.example/mcp"),),
    tools=(ToolClaim("send_mail", description="Sends one mail."),),
    published_at=DAY,
)


def only(name: str = "com.example/mail") -> Server:
    with platform_scope():
        return Server.objects.select_related("current_version").get(registry_name=name)


def listed() -> list[Server]:
    with platform_scope():
        return list(Server.objects.filter(origin="imported", status=Status.LISTED).order_by("pk"))


class TestTaking:
    def test_an_entry_becomes_a_listed_server_with_a_version_and_declared_tools(self):
        report = importing.take(OFFICIAL, [MAIL])

        server = only()
        assert (report.created, report.servers, report.problems) == (1, 1, [])
        assert (server.status, server.slug, server.owner_tenant, server.provider) == (Status.LISTED, "mail", None, None)
        assert (server.name, server.url, server.repository_url) == (
            "Mail", "https://mail.example/mcp", "https://github.com/example/mail",
        )  # fmt: skip
        assert (server.tool_count, server.resource_count, server.package_types) == (1, None, ["npm"])
        assert (server.source_name, server.namespace_proven, server.published_at) == ("Official", True, DAY)
        with platform_scope():
            version = ServerVersion.objects.get(server=server)
            assert server.current_version == version
            assert (version.is_latest, version.protocol, version.released_at) == (True, "", DAY)
            assert Entry.from_dict(version.manifest) == MAIL
            tool = Tool.objects.get(version=version)
        assert (tool.name, tool.seen, tool.side_effect, tool.required_trust) == ("send_mail", "declared", "", "high")

    def test_the_same_again_changes_nothing(self):
        importing.take(OFFICIAL, [MAIL])
        before = only()
        report = importing.take(OFFICIAL, [MAIL])

        assert (report.created, report.updated, report.unchanged) == (0, 0, 1)
        assert only().updated_at == before.updated_at

    def test_what_changed_makes_a_version_and_keeps_the_old_one(self):
        importing.take(OFFICIAL, [MAIL])
        report = importing.take(OFFICIAL, [replace(MAIL, description="Sends and reads mail.")])

        server = only()
        assert (report.updated, report.servers, server.summary) == (1, 0, "Sends and reads mail.")
        with platform_scope():
            found = ServerVersion.objects.filter(server=server).order_by("created_at")
            assert [(each.version, each.is_latest) for each in found] == [("1.0.0", False), ("1.0.0", True)]
        assert len(listed()) == 1

    @pytest.mark.parametrize("at_once", [True, False])
    def test_several_versions_are_one_server_with_a_history(self, at_once):
        later = replace(MAIL, version="1.10.0", title="Mail 1.10", published_at=DAY + timedelta(days=9))
        old = replace(MAIL, version="1.9.0", title="Mail 1.9", published_at=DAY + timedelta(days=20))
        entries = [MAIL, later, old]
        for batch in [entries] if at_once else [[each] for each in entries]:
            importing.take(OFFICIAL, batch)

        server = only()
        assert (server.name, server.published_at) == ("Mail 1.10", DAY)
        assert server.current_version is not None
        assert server.current_version.version == "1.10.0"
        with platform_scope():
            found = ServerVersion.objects.filter(server=server)
            assert {each.version: each.is_latest for each in found} == {"1.0.0": False, "1.10.0": True, "1.9.0": False}

    def test_what_cannot_be_stored_is_told_and_the_rest_goes_on(self):
        bad = [
            replace(MAIL, name="com.example/nul", description="a\x00b"),
            replace(MAIL, name="com.example/half", description="\ud800"),
            replace(MAIL, name="com.example/endless", extra={"number": float("inf")}),
            replace(MAIL, name="x" * 301),
            replace(MAIL, name="com.example/large", extra={"text": "x" * 300_000}),
        ]
        report = importing.take(OFFICIAL, [*bad, MAIL])

        assert report.created == 1
        assert [problem.entry[:15] for problem in report.problems] == [each.name[:15] for each in bad]
        assert all(problem.reason for problem in report.problems)

    def test_what_came_before_a_list_broke_off_is_stored(self, monkeypatch):
        monkeypatch.setattr(importing, "BATCH", 2)

        def broken():
            for number in range(5):
                yield replace(MAIL, name=f"com.example/mail-{number}", repository=None, remotes=())
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            importing.take(OFFICIAL, broken())
        assert [server.registry_name for server in listed()] == [f"com.example/mail-{number}" for number in range(4)]

    def test_names_in_paths_stay_apart(self, cast):
        names = ["com.example/mail", "org.example.acme/mail", "net.acme/mail", "com.example/payments"]
        importing.take(OFFICIAL, [replace(MAIL, name=name, repository=None, remotes=()) for name in names])

        slugs = {server.registry_name: server.slug for server in listed()}
        assert len(set(slugs.values())) == 4
        assert slugs["com.example/payments"] != "payments"

    def test_a_provider_gets_the_name_of_what_is_only_listed(self, cast):
        importing.take(OFFICIAL, [MAIL])
        with platform_scope():
            own = make_server(cast.initech, "mail", "Mail")

        assert own.slug == "mail"
        assert only().slug == "example-mail"


class TestUpstream:
    def test_a_deprecated_entry_is_shown_as_such_and_a_deleted_one_is_hidden(self):
        importing.take(OFFICIAL, [MAIL])
        importing.take(OFFICIAL, [replace(MAIL, status="deprecated", status_message="Use com.example/post.")])
        server = only()
        assert (server.status, server.upstream_status) == (Status.LISTED, UpstreamStatus.DEPRECATED)
        with platform_scope():
            version = ServerVersion.objects.get(server=server)
        assert (version.upstream_status, version.status_message) == ("deprecated", "Use com.example/post.")

        report = importing.take(OFFICIAL, [replace(MAIL, status="deleted")])

        assert report.removed == 1
        assert only().status == Status.REMOVED
        assert find_server(PUBLIC_VIEWER, "mail") is None

    def test_what_is_withdrawn_comes_back_when_it_is_listed_again(self):
        importing.take(OFFICIAL, [MAIL])
        before = only()
        assert importing.names_of(OFFICIAL.source_id) == {"com.example/mail"}
        report = importing.withdraw(OFFICIAL, ["com.example/mail", "com.example/never"])
        assert (report.removed, importing.names_of(OFFICIAL.source_id)) == (1, set())
        assert listed() == []
        assert importing.withdraw(OFFICIAL, ["com.example/mail"]).removed == 0

        importing.take(OFFICIAL, [MAIL])

        assert [(server.pk, server.slug) for server in listed()] == [(before.pk, before.slug)]

    def test_an_operators_removal_stands(self):
        importing.take(OFFICIAL, [MAIL])
        with platform_scope():
            Server.objects.filter(pk=only().pk).update(status=Status.REMOVED)

        importing.take(OFFICIAL, [replace(MAIL, description="Again.")])

        assert listed() == []

    def test_the_next_source_takes_over_when_the_winner_is_withdrawn(self):
        importing.take(OFFICIAL, [MAIL, replace(MAIL, version="0.9.0")])
        importing.take(MIRROR, [replace(MAIL, title="Mail of the mirror", version="0.8.0")])
        importing.withdraw(OFFICIAL, ["com.example/mail"])

        server = only()
        assert (server.status, server.name, server.source_name) == (Status.LISTED, "Mail of the mirror", "Mirror")
        assert not server.namespace_proven


class TestMerging:
    def test_proof_wins_in_any_order_and_the_loser_stays_visible(self):
        for sources in permutations([OFFICIAL, MIRROR]):
            with platform_scope():
                SourceEntry.objects.all().delete()
                Server.objects.filter(origin="imported").update(status=Status.REMOVED, registry_name="")
            for source in sources:
                report = importing.take(source, [replace(MAIL, title=f"Mail of {source.name}")])

            assert report.merged == 1
            server = only()
            assert (server.name, server.source_name) == ("Mail of Official", "Official")
            with viewer(""):
                found = SourceEntry.objects.filter(server=server)
                assert {each.source_name: each.wins for each in found} == {"Official": True, "Mirror": False}

    def test_the_order_of_three_sources_means_nothing(self):
        image = replace(MAIL, name="mail-image", title="Mail in a box", version="", tools=(ToolClaim("send"),))
        quiet = replace(MAIL, tools=())
        seen = set()
        for order in permutations([(OFFICIAL, quiet), (MIRROR, replace(MAIL, title="Other")), (DOCKER, image)]):
            with platform_scope():
                SourceEntry.objects.all().delete()
                Server.objects.filter(origin="imported").update(status=Status.REMOVED, registry_name="")
            for source, entry in order:
                importing.take(source, [entry])
            (server,) = listed()
            with platform_scope():
                entries = SourceEntry.objects.filter(server=server).order_by("source_name")
                words = [(each.source_name, each.wins) for each in entries]
                tools = list(Tool.objects.filter(version=server.current_version_id).values_list("name", flat=True))
            seen.add((server.name, server.registry_name, server.source_name, *words, *tools))

        assert seen == {
            (
                "Mail",
                "com.example/mail",
                "Official",
                ("Docker", False),
                ("Mirror", False),
                ("Official", True),
                "send_mail",
            )
        }

    def test_an_entry_that_becomes_another_leaves_no_empty_server(self):
        importing.take(DOCKER, [replace(MAIL, name="box", repository=None, packages=(), remotes=())])
        importing.take(OFFICIAL, [MAIL])
        assert len(listed()) == 2
        report = importing.take(DOCKER, [replace(MAIL, name="box")])

        assert (report.merged, report.removed) == (1, 1)
        assert [server.registry_name for server in listed()] == ["com.example/mail"]

    def test_two_entries_of_one_source_are_two_servers(self):
        importing.take(DOCKER, [replace(MAIL, name="mail"), replace(MAIL, name="mail-remote")])

        assert len(listed()) == 2

    def test_a_governed_server_keeps_what_its_approval_rests_on(self, cast):
        importing.take(OFFICIAL, [MAIL])
        with platform_scope():
            live = servers.publish_version(
                server=only(), inventory=Inventory("2026-07-28", {"version": "1.0.0"}, "", {}, PAYMENTS_TOOLS)
            )
            Server.objects.filter(registry_name="com.example/mail").update(
                status=Status.APPROVED, approved_at=DAY, required_trust="high"
            )
        stolen = replace(MAIL, remotes=(Remote("sse", "https://eve.example/mcp"),), website_url="https://eve.example")
        importing.take(OFFICIAL, [stolen])

        server = only()
        assert (server.url, server.transport, server.current_version) == (
            "https://mail.example/mcp", "streamable-http", live,
        )  # fmt: skip
        assert (server.website_url, server.required_trust, server.tool_count) == ("https://eve.example", "high", 2)


class TestAudience:
    @pytest.fixture
    def own(self, cast) -> SourceRef:
        return SourceRef(UUID(int=7), "Acme", "http", owner_tenant_id=cast.acme.pk, visibility=Visibility.ORG)

    def seen_by(self, who: Viewer) -> set[str]:
        with viewer(who.tenant_id or ""):
            return set(visible_to(who).filter(origin="imported").values_list("registry_name", flat=True))

    def in_sql(self, who: object) -> tuple[int, int, int, int]:
        """How many servers, versions, tools and entries of sources Postgres itself shows."""
        counts = []
        with viewer(str(who)), connection.cursor() as cursor:
            for query in (
                "SELECT count(*) FROM catalog_server WHERE origin = 'imported'",
                "SELECT count(*) FROM catalog_serverversion WHERE protocol = ''",
                "SELECT count(*) FROM catalog_tool WHERE seen = 'declared'",
                "SELECT count(*) FROM catalog_sourceentry",
            ):
                cursor.execute(query)
                counts.append(cursor.fetchone()[0])
        return tuple(counts)

    def test_what_an_organisation_reads_is_its_own(self, cast, own):
        importing.take(own, [MAIL])

        assert self.seen_by(Viewer(cast.acme.pk)) == {"com.example/mail"}
        assert self.seen_by(Viewer(cast.globex.pk)) == set()
        assert self.seen_by(PUBLIC_VIEWER) == set()
        assert self.in_sql(cast.acme.pk) == (1, 1, 1, 1)
        assert self.in_sql(cast.globex.pk) == (0, 0, 0, 0)
        assert self.in_sql("") == (0, 0, 0, 0)

    def test_what_chosen_teams_see_is_theirs(self, cast, own):
        team = UUID(int=42)
        source = replace(own, visibility=Visibility.GROUP, allowed_teams=(team,))
        importing.take(source, [MAIL])

        assert self.seen_by(Viewer(cast.acme.pk, frozenset({team}))) == {"com.example/mail"}
        assert self.seen_by(Viewer(cast.acme.pk, frozenset({UUID(int=43)}))) == set()
        assert self.seen_by(Viewer(cast.acme.pk)) == set()
        assert self.seen_by(Viewer(cast.globex.pk, frozenset({team}))) == set()
        assert self.in_sql(cast.globex.pk) == (0, 0, 0, 0)

    def test_entries_for_different_people_are_never_merged(self, cast, own):
        narrow = replace(own, source_id=UUID(int=8), visibility=Visibility.GROUP, allowed_teams=(UUID(int=42),))
        for source in (own, narrow, MIRROR):
            importing.take(source, [replace(MAIL, title=f"Mail for {source.visibility}")])

        with viewer(""):
            assert list(visible_to(PUBLIC_VIEWER).filter(origin="imported").values_list("name", flat=True)) == [
                "Mail for public"
            ]
        assert len(listed()) == 3

    def test_a_source_that_is_narrowed_takes_its_entries_along(self, cast, own):
        importing.take(own, [MAIL])
        narrow = replace(own, visibility=Visibility.GROUP, allowed_teams=(UUID(int=42),))
        importing.take_again(narrow)

        assert self.seen_by(Viewer(cast.acme.pk)) == set()
        assert self.seen_by(Viewer(cast.acme.pk, frozenset({UUID(int=42)}))) == {"com.example/mail"}
        assert len(listed()) == 1

    def test_a_source_that_is_narrowed_leaves_what_others_list(self, cast, own):
        other = replace(own, source_id=UUID(int=8), name="Other")
        importing.take(own, [replace(MAIL, title="A")])
        importing.take(other, [replace(MAIL, title="B")])
        narrow = replace(own, visibility=Visibility.GROUP, allowed_teams=(UUID(int=42),))
        importing.take_again(narrow)

        names = {server.visibility: server.name for server in listed()}
        assert names == {"group": "A", "org": "B"}

    def test_a_source_cannot_show_more_than_its_owner_may(self, own):
        for wrong in (Visibility.PUBLIC, Visibility.TENANT):
            with pytest.raises(InvalidError):
                importing.take(replace(own, visibility=wrong), [MAIL])

    def test_the_public_cannot_write_entries_of_sources(self, cast, own):
        importing.take(MIRROR, [MAIL])
        with viewer(cast.acme.pk):
            assert SourceEntry.objects.update(wins=False) == 0


class TestGateway:
    def test_what_is_only_listed_is_nothing_that_a_call_could_reach(self, cast):
        importing.take(OFFICIAL, [MAIL])

        assert server_entries(slug="mail") == []
        assert server_entries(server_id=only().pk) == []

    def test_nor_is_it_once_somebody_approves_it_unread(self, cast):
        importing.take(OFFICIAL, [MAIL])
        server = only()
        with platform_scope():
            Server.objects.filter(pk=server.pk).update(status=Status.APPROVED, approved_at=DAY, required_trust="low")

        (entry,) = server_entries(slug="mail")

        assert not entry.callable

    def test_a_server_of_chosen_teams_has_them_in_its_entry(self, cast):
        team = UUID(int=42)
        with tenant_scope(cast.acme):
            Server.objects.filter(pk=cast.vault.pk).update(visibility=Visibility.GROUP, allowed_teams=[team])

        (entry,) = server_entries(server_id=cast.vault.pk)

        assert (entry.visibility, entry.allowed_teams) == ("group", frozenset({team}))


def test_the_counts_of_a_governed_server_follow_its_version(cast):
    with platform_scope():
        server = Server.objects.get(pk=cast.payments.pk)
        version = server.current_version
        assert version is not None
        assert version.is_latest
        assert (server.tool_count, server.published_at is not None) == (2, True)
        servers.make_current(server, version)
        assert ServerVersion.objects.filter(server=server, is_latest=True).count() == 1
