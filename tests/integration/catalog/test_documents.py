"""Search documents: always what the servers are, and never more than the viewer may see."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from catalog import facets
from catalog.choices import Origin, Status, Visibility
from catalog.facets import Query
from catalog.formats.normal import Entry, ToolClaim
from catalog.models import Provider, Server, ToolDrift
from catalog.selectors import documents, search, tool_directory
from catalog.selectors.listing import visible_to
from catalog.selectors.search import Scene
from catalog.selectors.suggestions import suggest
from catalog.services import importing, indexing, servers
from catalog.services.importing import SourceRef
from catalog.types import PUBLIC_VIEWER, Viewer
from core import clock
from core.ids import uuid7
from tenants.context import PLATFORM, platform_scope, viewer
from tenants.models import Team
from tests.support.cast import make_server

PUBLIC = Scene(PUBLIC_VIEWER)


def found(scene: Scene, text: str = "", **chosen: str) -> list[str]:
    query = Query(text=text, chosen={name: (value,) for name, value in chosen.items()})
    with viewer(PLATFORM if scene.viewer.platform else scene.viewer.tenant_id or ""):
        return [row.slug for row in search.search(scene, query)]


def tools(scene: Scene, text: str = "", **chosen: str) -> list[tuple[str, str]]:
    query = Query(text=text, chosen={name: (value,) for name, value in chosen.items()}, known=facets.TOOL_FACETS)
    with viewer(PLATFORM if scene.viewer.platform else scene.viewer.tenant_id or ""):
        return [(row.server.slug, row.tool.name) for row in tool_directory.tools(scene, query)]


def asked(viewer_: Viewer) -> set:
    source = documents.readable(viewer_)
    with viewer(PLATFORM if viewer_.platform else viewer_.tenant_id or ""):
        return {row[0] for row in documents.rows(f"SELECT d.server_id FROM {source.text}", source.values)}


def allowed(viewer_: Viewer) -> set:
    with viewer(PLATFORM if viewer_.platform else viewer_.tenant_id or ""):
        return set(visible_to(viewer_).values_list("pk", flat=True))


@pytest.fixture
def every_kind(cast) -> list[Viewer]:
    """A server of acme and of globex in every status and visibility, and everybody who may look."""
    viewers = [PUBLIC_VIEWER, Viewer(platform=True)]
    with platform_scope():
        for tenant in (cast.acme, cast.globex):
            team, other = (Team.objects.create(tenant=tenant, name=name, slug=name) for name in ("red", "blue"))
            for visibility in Visibility.values:
                for number, status in enumerate(Status.values):
                    made = make_server(
                        tenant, f"{tenant.slug}-{visibility}-{number}", "Kind", visibility="org", tools=[]
                    )
                    Server.objects.filter(pk=made.pk).update(
                        visibility=visibility, status=status, owner_team=team, allowed_teams=[other.pk]
                    )
            viewers += [
                Viewer(tenant.pk),
                Viewer(tenant.pk, frozenset({team.pk})),
                Viewer(tenant.pk, frozenset({other.pk})),
            ]
    return viewers


class TestRights:
    def test_documents_show_exactly_the_servers_behind_the_one_door(self, every_kind):
        for each in every_kind:
            assert asked(each) == allowed(each)
            assert allowed(each)

    def test_postgres_itself_hides_private_documents_of_others(self, cast):
        with platform_scope():
            make_server(cast.globex, "hidden", "Hidden", visibility="org")
        with viewer(cast.acme.pk), connection.cursor() as cursor:
            for table in (documents.SERVERS, documents.TOOLS):
                for part in (table, f"{table}_private"):
                    cursor.execute(f"SELECT count(*) FROM public.{part} WHERE owner_tenant_id = %s", [cast.globex.pk])
                    assert cursor.fetchone()[0] == 0

    def test_the_public_part_cannot_hold_what_is_not_public(self, cast):
        from django.db import IntegrityError, transaction

        with platform_scope(), pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE public.catalog_searchdocument SET is_public = true WHERE server_id = %s", [cast.vault.pk]
            )

    def test_counts_suggestions_tools_and_corrections_tell_nothing_of_others(self, cast):
        with platform_scope():
            make_server(cast.globex, "zanzibar", "Zanzibar", visibility="org", tags=("zanzitag",), category="security")
            indexing.refresh_words()
        acme, globex = Scene(Viewer(cast.acme.pk)), Scene(Viewer(cast.globex.pk))
        with viewer(cast.acme.pk):
            assert suggest(acme, "zanzi") == []
            assert {one.server for one in suggest(acme, "list_invoices") if one.kind == "tool"} == {"vault", "payments"}
            assert search.search(acme, Query()).counts(facets.CATEGORY)["security"] == 0
            assert "globex" not in search.search(acme, Query()).counts(facets.BY_NAME["namespace"])
            assert documents.similar_words(["zanzibra"]) == {}
        assert tools(acme, "zanzibar") == []
        assert found(acme, "zanzibar") == []
        assert found(globex, "zanzibar") == ["zanzibar"]
        assert len(tools(globex, "zanzibar")) == 2


class TestFollowing:
    def test_a_listing_that_ceases_to_be_public_is_gone_at_once_with_its_tools(self, cast):
        assert found(PUBLIC, "payments") == ["payments"]
        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(visibility=Visibility.ORG)

        assert found(PUBLIC, "payments") == []
        assert tools(PUBLIC) == []
        assert found(Scene(Viewer(cast.initech.pk)), "payments") == ["payments"]

    def test_words_follow_the_server_its_tools_and_its_provider(self, cast):
        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(description="Speaks to quasars.")
            assert found(PUBLIC, "quasar") == ["payments"]
            Provider.objects.filter(tenant=cast.initech).update(name="Umbrella")
        assert found(PUBLIC, "umbrella") == ["payments"]
        assert found(PUBLIC, "refund") == ["payments"]

    def test_facts_are_the_states_that_cards_show(self, cast):
        assert found(PUBLIC, gateway="ready") == ["payments"]
        assert found(PUBLIC, decidable="ready") == ["payments"]
        with platform_scope():
            Server.objects.filter(pk=cast.payments.pk).update(gateway_enabled=False)
        assert found(PUBLIC, gateway="ready") == []
        assert found(PUBLIC, gateway="closed") == ["payments"]

    def test_a_server_that_is_only_known_from_a_source_is_found(self, cast):
        with platform_scope():
            Server.objects.create(
                name="Weather from afar", slug="weather", registry_name="io.github.somebody/weather", status=Status.LISTED,
                visibility=Visibility.PUBLIC, origin=Origin.IMPORTED, source_kind="official", source_name="Registry",
                source_trust="community", required_trust="", auth_mode="", package_types=["npm", "oci"],
            )  # fmt: skip
        for chosen in (
            {"source": "official"}, {"standing": "community"}, {"trust": "unknown"}, {"package": "oci"},
            {"namespace": "io.github.somebody"}, {"publisher": "io.github.somebody"}, {"repository": "Registry"},
        ):  # fmt: skip
            assert found(PUBLIC, **chosen) == ["weather"]
        assert found(PUBLIC, "weather", namespace="initech") == []


class TestWords:
    @pytest.fixture(autouse=True)
    def listed(self, cast):
        with platform_scope():
            for number, name in enumerate(["GitHub", "PostgreSQL database", "Slack messages", "Google calendar"]):
                make_server(cast.initech, f"s{number}", name, tools=[])
            indexing.refresh_words()

    @pytest.mark.parametrize(
        ("text", "first"),
        [
            ("gith", "s0"), ("gihtub", "s0"), ("githb", "s0"), ("postgres", "s1"), ("postgers", "s1"), ("databse", "s1"),
            ("slakc", "s2"), ("calender", "s3"), ("db", "s1"), ("list_invoices", "payments"), ("invoce refund", "payments"),
        ],
    )  # fmt: skip
    def test_beginnings_and_mistyped_words_are_found(self, text, first):
        assert found(PUBLIC, text)[0] == first

    def test_what_was_corrected_and_loosened_is_said(self):
        assert search.search(PUBLIC, Query(text="gihtub")).corrected == ("github",)
        assert search.search(PUBLIC, Query(text="slack github")).loose
        assert not search.search(PUBLIC, Query(text="slack")).loose

    @pytest.mark.parametrize("text", ["%", "the", "' OR 1=1 --", "a & | ! ( ) : *", "\\", "🎉", "x" * 500])
    def test_odd_text_is_no_failure(self, text):
        found(PUBLIC, text)
        tools(PUBLIC, text)
        suggest(PUBLIC, text)

    def test_tools_are_suggested_by_their_names_with_the_server_that_has_them(self, cast):
        offered = [(one.label, one.server, one.hint) for one in suggest(PUBLIC, "refund inv") if one.kind == "tool"]
        assert offered == [("refund_invoice", "payments", "Payments")]
        assert [one for one in suggest(PUBLIC, "pay") if one.kind == "tool"] == []

    def test_suggestions_are_servers_and_tags(self, cast):
        with platform_scope():
            make_server(cast.initech, "tagged", "Ledger", tags=("bookkeeping",), tools=[])
            indexing.refresh_words()
        assert [(one.kind, one.label) for one in suggest(PUBLIC, "book")] == [
            ("server", "Ledger"), ("tag", "bookkeeping"),
        ]  # fmt: skip


class TestPages:
    def test_pages_together_hold_every_server_once_whatever_the_order(self, cast):
        with platform_scope():
            for number in range(23):
                make_server(cast.initech, f"same{number}", "One ledger", tools=[])
        for sort in [name for name, _ in facets.SORTS]:
            rows = search.search(PUBLIC, Query(text="ledger", sort=sort))
            pages = [row.pk for start in range(0, 30, 7) for row in rows[start : start + 7]]
            assert len(pages) == len(set(pages)) == len(rows) == 23


class TestTools:
    def test_tools_are_found_by_what_they_do_need_and_cost(self, cast):
        assert tools(PUBLIC) == [("payments", "list_invoices"), ("payments", "refund_invoice")]
        assert tools(PUBLIC, "refund") == [("payments", "refund_invoice")]
        assert tools(PUBLIC, effect="destructive") == [("payments", "refund_invoice")]
        assert tools(PUBLIC, trust="high", seen="live", price="paid") == [("payments", "refund_invoice")]
        assert tools(PUBLIC, price="free") == []
        assert tools(Scene(Viewer(cast.acme.pk)), price="free") == [("vault", "list_invoices")]
        assert tools(Scene(Viewer(cast.acme.pk), frozenset({cast.payments.pk})), "list", access="usable") == [
            ("payments", "list_invoices")
        ]

    def test_a_tool_in_quarantine_shows_as_drifted(self, cast):
        with platform_scope():
            ToolDrift.objects.create(
                id=uuid7(), server=cast.payments, tool_name="list_invoices", approved_digest="a", found_digest="b",
                found_definition={}, found_at=clock.now(), found_by="health",
            )  # fmt: skip
        assert tools(PUBLIC, seen="drifted") == [("payments", "list_invoices")]
        assert tools(PUBLIC, seen="live") == [("payments", "refund_invoice")]

    def test_counts_leave_out_the_facet_s_own_choice(self, cast):
        rows = tool_directory.tools(PUBLIC, Query(chosen={"effect": ("read",)}, known=facets.TOOL_FACETS))
        effect, trust = facets.TOOL_FACETS[:2]
        assert rows.counts(effect) == {"read": 1, "write": 0, "destructive": 1, "unknown": 0}
        assert rows.counts(trust)["high"] == 0
        assert len(rows) == 1


class TestHealth:
    def test_a_health_check_changes_the_document_in_place(self, cast):
        with platform_scope():
            servers.record_health(server=cast.payments, health="down")
        assert found(PUBLIC, health="down") == ["payments"]
        assert found(PUBLIC, "refund", health="down") == ["payments"]


def arriving(word: str, count: int) -> list[Entry]:
    return [
        Entry(f"com.{word}/one-{number}", "server_json", title=f"{word} {number}", tools=(ToolClaim(f"{word}_go"),))
        for number in range(count)
    ]


def put_off() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('marketplace.documents', 'later', true)")


class TestManyAtOnce:
    def test_a_long_import_ends_with_every_document_made(self, durable_db, monkeypatch):
        monkeypatch.setattr(importing, "BATCH", 3)
        source, word = SourceRef(uuid7(), "Many", "http"), f"many{uuid7().hex[-12:]}"
        waiting: list[int] = []
        with monkeypatch.context() as patched:
            build = indexing.build_documents
            patched.setattr(indexing, "build_documents", lambda: waiting.append(pending()) or build())
            report = importing.take(source, arriving(word, 8))
        try:
            assert report.created == 8
            assert any(waiting), "nothing was put off"
            assert (pending(), len(found(PUBLIC, word)), len(tools(PUBLIC, word))) == (0, 8, 8)
        finally:
            forget(word)

    def test_what_an_import_left_behind_is_found_once_it_is_made(self, db):
        put_off()
        importing.take(SourceRef(uuid7(), "Left", "http"), arriving("leftover", 3))

        assert (pending(), found(PUBLIC, "leftover")) == (3, [])
        indexing.build_documents()
        assert (pending(), len(found(PUBLIC, "leftover")), len(tools(PUBLIC, "leftover"))) == (0, 3, 3)

    def test_what_was_hidden_before_its_documents_were_made_stays_hidden(self, db, cast):
        put_off()
        importing.take(SourceRef(uuid7(), "Left", "http"), arriving("leftover", 2))
        with platform_scope():
            hidden, moved = Server.objects.filter(registry_name__startswith="com.leftover/").order_by("pk")
            Server.objects.filter(pk=hidden.pk).update(status=Status.REMOVED)
            Server.objects.filter(pk=moved.pk).update(owner_tenant=cast.globex, visibility=Visibility.ORG)
        indexing.build_documents()

        assert found(PUBLIC, "leftover") == found(Scene(Viewer(cast.acme.pk)), "leftover") == []
        assert found(Scene(Viewer(cast.globex.pk)), "leftover") == [moved.slug]

    def test_documents_go_with_their_server(self, db, cast):
        with platform_scope():
            made = Server.objects.create(
                name="Shortlived", slug="shortlived", status=Status.LISTED, visibility=Visibility.PUBLIC,
                origin=Origin.IMPORTED, required_trust="",
            )  # fmt: skip
            assert found(PUBLIC, "shortlived") == ["shortlived"]
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM catalog_server WHERE id = %s", [made.pk])
        assert documents.rows("SELECT FROM catalog_searchdocument WHERE server_id = %(pk)s", {"pk": made.pk}) == []


def forget(word: str) -> None:
    """Take out what a test committed, so that no other test counts it; releases refuse that in the product."""
    guarded = ("catalog_serverversion", "catalog_tool")
    chosen = "SELECT id FROM catalog_server WHERE registry_name LIKE %(name)s"
    releases = f"SELECT id FROM catalog_serverversion WHERE server_id IN ({chosen})"
    name = {"name": f"com.{word}/%"}
    with platform_scope(), connection.cursor() as cursor:
        for table in guarded:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        try:
            with transaction.atomic():
                cursor.execute(f"UPDATE catalog_server SET current_version_id = NULL WHERE id IN ({chosen})", name)
                cursor.execute(f"DELETE FROM catalog_sourceentry WHERE server_id IN ({chosen})", name)
                cursor.execute(f"DELETE FROM catalog_tool WHERE version_id IN ({releases})", name)
                cursor.execute(f"DELETE FROM catalog_serverversion WHERE server_id IN ({chosen})", name)
                cursor.execute(f"DELETE FROM catalog_server WHERE id IN ({chosen})", name)
        finally:
            for table in guarded:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def pending() -> int:
    return int(documents.rows("SELECT count(*) FROM public.catalog_searchpending", {})[0][0])
