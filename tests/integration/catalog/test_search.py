from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from catalog import facets
from catalog.choices import Health, Status
from catalog.models import Server
from catalog.selectors import search
from catalog.selectors.search import Scene
from catalog.services import servers
from catalog.types import PUBLIC_VIEWER, Viewer
from core import clock
from tenants.context import platform_scope, viewer
from tests.support.cast import PAYMENTS_TOOLS, make_server


@pytest.fixture
def listed(cast):
    """A few servers besides the cast's; every one of globex and of initech."""
    with platform_scope():
        return {
            "words": make_server(
                cast.initech, "words", "Word tools", category="data", tags=("counting",), tools=[PAYMENTS_TOOLS[0]]
            ),
            "scan": make_server(cast.globex, "scan", "Scanner", category="security", required_trust="high"),
            "secret": make_server(cast.globex, "secret", "Globex only", visibility="org"),
        }


def found(scene: Scene, **asked) -> list[str]:
    query = facets.parse({name: [value] for name, value in asked.items()}, personal=True)
    with viewer(scene.viewer.tenant_id or ""):
        return [row.slug for row in search.search(scene, query)]


PUBLIC = Scene(PUBLIC_VIEWER)


class TestSearch:
    @pytest.mark.parametrize(
        ("text", "slugs"),
        [
            ("word", ["words"]),
            ("COUNTING", ["words"]),
            ("refund", ["payments", "scan"]),
            ("globex", ["scan"]),
            ("word invoices", ["payments", "scan", "words"]),  # few have both, so others follow
            ("word refund", ["payments", "scan", "words"]),  # nothing has both, so one will do
            ("%", []),
            ("'; DROP TABLE x; --", []),
        ],
    )
    def test_every_word_is_found_in_names_texts_tags_tools_or_provider(self, listed, text, slugs):
        assert sorted(found(PUBLIC, q=text)) == slugs

    def test_a_name_comes_before_a_mention(self, cast, listed):
        with platform_scope():
            make_server(cast.initech, "aaa", "Aaa", summary="Also knows the scanner.")

        assert found(PUBLIC, q="scanner") == ["scan", "aaa"]

    def test_without_words_the_order_is_by_name_or_by_the_newest_version(self, listed):
        assert found(PUBLIC) == ["payments", "scan", "words"]
        assert found(PUBLIC, sort="updated")[-1] == "payments"

    @pytest.mark.parametrize(
        ("asked", "slugs"),
        [
            ({"category": "security"}, ["scan"]),
            ({"trust": "high"}, ["scan"]),
            ({"trust": "medium"}, []),
            ({"gateway": "closed"}, []),
            ({"policy": "allow-list"}, ["payments", "scan", "words"]),
            ({"health": "ready", "category": "data"}, ["words"]),
        ],
    )
    def test_choices_narrow(self, listed, asked, slugs):
        assert found(PUBLIC, **asked) == slugs

    def test_servers_of_others_are_never_found_whatever_is_asked(self, cast, listed):
        acme = Scene(Viewer(cast.acme.pk))
        assert "secret" not in found(acme)
        assert found(acme, q="globex only") == ["scan"]
        assert "secret" in found(Scene(Viewer(cast.globex.pk)))

    def test_own_and_usable_servers_can_be_asked_for(self, cast, listed):
        acme = Scene(Viewer(cast.acme.pk), frozenset({cast.payments.pk}))
        assert found(acme, owner="ours") == ["vault"]
        assert found(acme, access="usable") == ["payments"]
        assert "payments" not in found(acme, access="required")

    def test_an_old_health_measurement_counts_as_unknown(self, listed):
        with platform_scope():
            Server.objects.filter(slug="scan").update(
                health=Health.READY, health_checked_at=clock.now() - timedelta(hours=1)
            )
            servers.record_health(server=listed["words"], health=Health.DOWN)

        assert found(PUBLIC, health="unknown") == ["scan"]
        assert found(PUBLIC, health="down") == ["words"]
        assert found(PUBLIC, health="ready") == ["payments"]


class TestCounts:
    def test_a_facet_counts_what_each_choice_would_show(self, listed):
        query = facets.parse({"trust": ["high"], "q": ["refund"]}, personal=False)
        trust = next(facet for facet in facets.FACETS if facet.name == "trust")

        assert search.count_choices(PUBLIC, query, trust) == {"low": 1, "medium": 0, "high": 1, "unknown": 0}
        assert search.count_choices(PUBLIC, query, facets.CATEGORY)["security"] == 1
        assert search.count_choices(PUBLIC, query, facets.CATEGORY)["productivity"] == 0

    @pytest.mark.parametrize("organisation", [None, "globex"])
    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"trust": ["high"]},
            {"health": ["unknown"], "trust": ["low"], "category": ["security", "data"]},
            {"gateway": ["ready"], "publisher": ["globex"], "inventory": ["tools"], "namespace": ["initech"]},
            {"access": ["usable"], "owner": ["others"], "repository": ["nobody"]},
            {"q": ["refund"], "health": ["ready"], "auth": ["none"]},
            {"q": ["tools"], "publisher": ["initech"], "scope": ["public"]},
        ],
    )
    def test_every_count_is_what_a_search_for_that_choice_finds(self, cast, listed, asked, organisation):
        with platform_scope():
            servers.record_health(server=listed["words"], health=Health.READY)
        tenant = getattr(cast, organisation).pk if organisation else None
        scene = Scene(Viewer(tenant), frozenset({listed["words"].pk, listed["secret"].pk}))
        query = facets.parse(asked, personal=tenant is not None)

        with viewer(tenant or ""):
            counted = search.search(scene, query)
            for facet in facets.ALL if tenant else [each for each in facets.ALL if not each.personal]:
                for value, number in counted.counts(facet).items():
                    alone = replace(query, chosen=query.chosen | {facet.name: (value,)})
                    assert number == len(search.search(scene, alone)[:]), (facet.name, value)

    def test_what_is_frequent_is_offered_first_and_all_of_it_is_there(self, cast, listed):
        with platform_scope():
            make_server(cast.initech, "more", "More tools")
        publisher = facets.BY_NAME["publisher"]

        offered = search.search(PUBLIC, facets.parse({}, personal=False)).counts(publisher)
        measured = search.search(PUBLIC, facets.parse({"health": ["unknown", "ready"]}, personal=False)).counts(
            publisher
        )

        assert list(offered.values()) == sorted(offered.values(), reverse=True)
        assert sum(offered.values()) == 4
        assert offered == measured

    def test_totals_are_of_what_this_viewer_may_see(self, cast, listed):
        everybody = search.totals(PUBLIC_VIEWER)
        assert (everybody.servers, everybody.tools, everybody.providers) == (3, 5, 2)
        with viewer(cast.acme.pk):
            assert search.totals(Viewer(cast.acme.pk)).servers == 4


class TestGovernance:
    def test_side_effects_and_undeclared_tools_come_from_the_current_version(self, cast):
        rows = {row.slug: row for row in search.search(PUBLIC, facets.Query())}

        assert sorted(rows["payments"].side_effects) == ["destructive", "read"]
        assert rows["payments"].undeclared_count == 0

    def test_what_is_not_approved_is_not_listed(self, cast, listed):
        with platform_scope():
            Server.objects.filter(slug="scan").update(status=Status.SUBMITTED)

        assert "scan" not in found(PUBLIC)
