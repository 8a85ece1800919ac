from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import facets
from catalog.facets import Query


def parse(address: str, *, personal: bool = True) -> Query:
    return facets.parse(parse_qs(address), personal=personal)


class TestParse:
    def test_an_empty_address_asks_for_everything_by_name(self):
        query = parse("")

        assert query == Query()
        assert not query.narrowed
        assert query.order == "name"

    def test_words_and_choices_are_read(self):
        query = parse("q=find+me&trust=low&trust=high&category=data&sort=updated&page=3")

        assert query.words == ["find", "me"]
        assert query.chosen == {"trust": ("low", "high"), "category": ("data",)}
        assert (query.order, query.page) == ("updated", 3)

    @pytest.mark.parametrize(
        "address", ["trust=enormous", "nonsense=1", "sort=price", "page=-1", "page=two", "page=٣", "page=" + "9" * 400]
    )
    def test_what_is_not_known_is_ignored(self, address):
        assert parse(address) == Query()

    def test_a_page_number_has_an_end(self):
        assert parse("page=99999999").page == facets.PAGES_MAX

    def test_personal_facets_mean_nothing_without_an_organisation(self):
        assert parse("owner=ours&access=usable", personal=False).chosen == {}
        assert parse("owner=ours").chosen == {"owner": ("ours",)}

    def test_text_is_bounded_and_free_of_what_a_database_cannot_hold(self):
        query = facets.parse({"q": ["a\x00b  " + "x " * 500]}, personal=False)

        assert query.words[0] == "ab"
        assert len(query.text) <= facets.QUERY_CHARS_MAX
        assert len(query.words) <= facets.WORDS_MAX

    def test_a_search_is_ordered_by_the_best_match_and_best_match_needs_a_search(self):
        assert parse("q=text").order == "relevance"
        assert parse("sort=relevance").order == "name"


def value_of(facet: facets.Facet) -> st.SearchStrategy[str]:
    return st.text(max_size=300) if facet.open else st.sampled_from([value for value, _ in facet.choices])


class TestAddresses:
    def test_a_choice_is_switched_on_and_off(self):
        on = parse("q=a&page=4").toggled("trust", "low")

        assert on.url == "?q=a&trust=low"
        assert on.toggled("trust", "low").url == "?q=a"

    def test_one_choice_replaces_the_others(self):
        query = parse("category=data&category=security")

        assert query.only("category", "ai-ml").url == "?category=ai-ml"
        assert query.only("category", "").url == "?"

    @given(
        st.fixed_dictionaries(
            {"q": st.lists(st.text(max_size=40), max_size=1)},
            optional={facet.name: st.lists(value_of(facet)) for facet in facets.ALL},
        ),
        st.sampled_from([name for name, _ in facets.SORTS]),
    )
    def test_an_address_says_exactly_what_was_asked(self, given_values, sort):
        query = facets.parse({**given_values, "sort": [sort]}, personal=True)

        again = facets.parse(parse_qs(query.url.removeprefix("?"), keep_blank_values=True), personal=True)

        assert again == query


class TestBits:
    def test_every_closed_facet_of_servers_has_its_bits_and_none_is_shared(self):
        from catalog.selectors import documents

        live = {"access", "health", "owner"}
        assert set(documents.BITS) == {one.name for one in facets.ALL if not one.open} - live
        bits = [bit for values in documents.BITS.values() for bit in values.values()]
        assert len(bits) == len(set(bits))
        assert max(bits) < 1 << 63
