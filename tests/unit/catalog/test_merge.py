"""Which entries of which sources are one server: the rules, tried with claims in any order."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.categories import category_of
from catalog.choices import Category
from catalog.formats.normal import CodeRepository, Entry, Package, Remote, Transport
from catalog.merge import listings, rules, versions
from catalog.merge.identity import address_of, keys_of, repository_of
from catalog.merge.rules import Claim, group
from catalog.merge.versions import Candidate

MOMENTS = [None, datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]


@st.composite
def claims(draw) -> list[Claim]:
    """Claims of few sources, names and keys, so that they meet often."""
    found = {}
    for _ in range(draw(st.integers(1, 8))):
        source = draw(st.integers(1, 4))
        name = draw(st.sampled_from(["", "", "com.example/a", "com.example/b", "io.github.eve/a"]))
        external_id = name or draw(st.sampled_from(["a", "b", "c"]))
        keys = draw(st.frozensets(st.sampled_from(["p1", "p2", "u1", "u2"]), max_size=3))
        found[source, external_id] = Claim(
            source_id=UUID(int=source),
            source_name=f"s{source}",
            external_id=external_id,
            registry_name=name,
            keys=keys | ({f"n{name}"} if name else frozenset()),
            priority=draw(st.integers(0, 2)),
            is_proven=bool(name) and draw(st.booleans()),
            published_at=draw(st.sampled_from(MOMENTS)),
            is_alive=draw(st.booleans()),
        )
    return list(found.values())


def shape(groups) -> set[tuple]:
    return {tuple((claim.source_name, claim.external_id) for claim in each.claims) for each in groups}


class TestGrouping:
    @given(claims(), st.randoms())
    def test_the_order_of_sources_means_nothing(self, given_claims, random):
        mixed = list(given_claims)
        random.shuffle(mixed)

        assert shape(group(mixed)) == shape(group(given_claims))

    @given(claims())
    def test_every_claim_is_in_one_group(self, given_claims):
        found = [(claim.source_name, claim.external_id) for each in group(given_claims) for claim in each.claims]

        assert sorted(found) == sorted((claim.source_name, claim.external_id) for claim in given_claims)

    @given(claims())
    def test_a_name_is_one_server_and_two_names_are_two(self, given_claims):
        groups = group(given_claims)

        for each in groups:
            assert len({claim.registry_name for claim in each.claims if claim.registry_name}) <= 1
        names = [each.registry_name for each in groups if each.registry_name]
        assert len(names) == len(set(names))

    @given(claims())
    def test_who_lives_wins_then_proof_then_priority_then_age(self, given_claims):
        for each in group(given_claims):
            for loser in each.claims[1:]:
                winner = each.winner
                assert winner.is_alive >= loser.is_alive
                if winner.is_alive == loser.is_alive:
                    assert winner.is_proven >= loser.is_proven
                    if winner.is_proven == loser.is_proven:
                        assert winner.priority >= loser.priority
                        if winner.priority == loser.priority and loser.published_at:
                            assert winner.published_at
                            assert winner.published_at <= loser.published_at

    @given(claims())
    def test_one_source_never_lists_a_server_twice_but_for_a_name(self, given_claims):
        for each in group(given_claims):
            unnamed = [claim for claim in each.claims if not claim.registry_name]
            named = {claim.source_id for claim in each.claims if claim.registry_name}
            assert len({claim.source_id for claim in unnamed}) == len(unnamed)
            assert not named & {claim.source_id for claim in unnamed}

    def test_a_claim_with_a_proven_namespace_beats_one_of_a_better_source(self):
        proven = make("official", priority=0, is_proven=True)
        loud = make("mirror", priority=99)

        (found,) = group([loud, proven])

        assert found.winner is proven

    def test_a_package_says_more_than_an_address(self):
        by_package = make("a", name="com.example/a", keys={"p1"})
        by_address = make("b", name="com.example/b", keys={"u1"}, is_proven=True)
        unnamed = make("c", name="", keys={"p1", "u1"})

        found = group([by_address, unnamed, by_package])

        assert shape(found) == {(("a", "com.example/a"), ("c", "thing")), (("b", "com.example/b"),)}


def make(source: str, *, name: str = "com.example/a", keys=(), priority: int = 0, is_proven: bool = False) -> Claim:
    return Claim(UUID(int=sum(source.encode())), source, name or "thing", name, frozenset(keys), priority, is_proven)


class TestIdentity:
    @pytest.mark.parametrize(
        "url",
        [
            "https://github.com/Acme/Mail",
            "git+https://github.com/acme/mail.git",
            "https://www.github.com/acme/mail/",
            "https://github.com/acme/mail/tree/main/src",
        ],
    )
    def test_a_repository_is_known_in_every_spelling(self, url):
        assert repository_of(url) == "github.com/acme/mail"

    def test_a_template_is_no_address(self):
        assert address_of("https://{host}/mcp") == ""
        assert address_of("https://Mail.example/mcp/") == "mail.example/mcp"

    def test_the_tag_of_an_image_is_not_part_of_what_it_is(self):
        first, second = (image(tag) for tag in ("docker.io/acme/mail:1.0", "acme/mail:2.0@sha256:00"))

        assert keys_of(first) == keys_of(second)

    def test_broken_addresses_are_no_keys(self):
        entry = Entry("x", "f", remotes=(Remote("sse", "http://[::1"), Remote("sse", "")))

        assert keys_of(entry) == []


def image(identifier: str) -> Entry:
    package = Package("oci", identifier, Transport("stdio"))
    return Entry("x", "f", repository=CodeRepository("https://github.com/acme/mail"), packages=(package,))


class TestLatest:
    @pytest.mark.parametrize(
        ("candidates", "label"),
        [
            ([Candidate("1.0.0"), Candidate("1.10.0"), Candidate("1.9.0")], "1.10.0"),
            ([Candidate("1.0.0"), Candidate("1.0.0-rc.1")], "1.0.0"),
            ([Candidate("1.0.0-rc.2"), Candidate("1.0.0-rc.10")], "1.0.0-rc.10"),
            ([Candidate("2024-12-31", published_at=MOMENTS[2]), Candidate("0.0.1", published_at=MOMENTS[1])], "0.0.1"),
            ([Candidate("b", published_at=MOMENTS[1]), Candidate("a", published_at=MOMENTS[2])], "a"),
            ([Candidate("1.0.0", says_latest=True), Candidate("2.0.0", says_latest=False)], "1.0.0"),
            ([Candidate("2.0.0", says_latest=True, is_deleted=True), Candidate("1.0.0")], "1.0.0"),
        ],
    )
    def test_the_flag_then_semver_then_the_moment_and_never_what_is_deleted(self, candidates, label):
        for order in (candidates, candidates[::-1]):
            assert order[versions.latest(order)].version == label


class TestCategories:
    @pytest.mark.parametrize(
        ("said", "tags", "ours"),
        [
            ("devops", (), Category.DEVELOPMENT),
            ("Software Development", (), Category.DEVELOPMENT),
            ("Databases", (), Category.DATA),
            ("Data Analytics", (), Category.DATA),
            ("AI Systems", (), Category.AI_ML),
            ("RAG-as-a-Service", (), Category.AI_ML),
            ("Authentication", (), Category.SECURITY),
            ("Project Management", (), Category.PRODUCTIVITY),
            ("Airlines", ("travel", "calendar"), Category.PRODUCTIVITY),
            ("Airlines", (), ""),
            ("", (), ""),
            ("\x00 / , ", (), ""),
        ],
    )
    def test_words_of_sources_become_ours_or_nothing(self, said, tags, ours):
        assert category_of(said, tags) == ours


class TestListing:
    @pytest.mark.parametrize(
        "url",
        [
            "javascript:alert(1)",
            "//x.example",
            "http:///x",
            "https://u:p@x.example/",
            "data:text/html,x",
            "https://x\n.example",
        ],
    )
    def test_what_is_no_web_address_is_left_out(self, url):
        assert listings.web_url(url) == ""

    @given(st.text(max_size=60))
    def test_every_name_gives_names_for_paths(self, name):
        from tenants.models.tenant import slug_validator

        found = list(listings.slugs(name))

        assert len(found) >= 2
        for slug in found:
            slug_validator(slug)

    def test_the_nicest_name_comes_first(self):
        assert list(listings.slugs("io.github.acme/mail"))[:2] == ["mail", "acme-mail"]
        assert next(listings.slugs("io.github.acme/mcp")) == "acme-mcp"

    def test_what_a_source_does_not_say_is_unknown(self):
        said = listings.columns(Entry("com.example/a", "f", repository=CodeRepository("javascript:x")))

        assert (said["auth_mode"], said["required_trust"], said["category"]) == ("", "", "")
        assert (said["tool_count"], said["resource_count"], said["url"], said["repository_url"]) == (None, None, "", "")

    def test_an_effect_that_is_not_declared_needs_high_trust(self):
        from catalog.formats.normal import ToolClaim

        (tool,) = listings.tool_columns(Entry("a", "f", tools=(ToolClaim("x"), ToolClaim("x"), ToolClaim(" "))))

        assert (tool["side_effect"], tool["required_trust"]) == ("", "high")


def test_a_group_knows_its_name_from_any_of_its_claims():
    found = rules.group([make("a", name="", keys={"u1"}), make("b", keys={"u1"})])

    assert [each.registry_name for each in found] == ["com.example/a"]
