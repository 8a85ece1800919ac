from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import wording


def words(text: str) -> list[str]:
    return [term.word for term in wording.terms_of(text)]


class TestTerms:
    def test_words_are_letters_and_digits_in_small(self):
        assert words("list_invoices: GitHub!") == ["list", "invoices", "github"]

    def test_what_every_entry_says_narrows_nothing_unless_it_is_all_there_is(self):
        assert words("slack mcp server") == ["slack"]
        assert words("mcp server") == ["mcp", "server"]

    def test_words_of_one_meaning_count_as_each_other(self):
        assert wording.terms_of("k8s")[0].others == ("kubernetes",)

    @given(st.text(max_size=300))
    def test_whatever_is_typed_needs_no_quoting(self, text):
        for term in wording.terms_of(text):
            assert all(each.isalnum() for each in (term.word, *term.others))

    def test_the_number_of_words_is_bounded(self):
        assert len(words(" ".join(f"w{number}" for number in range(100)))) == wording.TERMS_MAX


class TestSlips:
    @pytest.mark.parametrize(
        ("one", "other", "count"),
        [
            ("github", "github", 0),
            ("gihtub", "github", 1),
            ("githb", "github", 1),
            ("slakc", "slack", 1),
            ("a", "bcd", 3),
        ],
    )
    def test_letters_added_left_out_changed_or_swapped_count_one_each(self, one, other, count):
        assert wording.slips(one, other, 3) == count

    @given(st.text(max_size=12), st.text(max_size=12))
    def test_the_count_is_the_same_both_ways_and_bounded(self, one, other):
        assert wording.slips(one, other, 2) == wording.slips(other, one, 2) <= 3

    def test_the_fewest_slips_win_and_short_words_are_not_corrected(self):
        assert wording.closest("postgers", ["postgres", "posters", "progress"]) == ("postgres", "posters")
        assert wording.closest("gti", ["git"]) == ()
        assert wording.closest("zzzzzz", ["github"]) == ()
