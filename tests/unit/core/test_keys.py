from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import keys

PEPPER = b"p" * 32
KEY = keys.mint("test")
TEXT = str(KEY)


class TestMint:
    def test_a_key_survives_being_written_and_read(self):
        for env in ("live", "dev", "test"):
            key = keys.mint(env)
            assert keys.parse(str(key)) == key

    def test_keys_differ_in_both_parts(self):
        made = [keys.mint("test") for _ in range(500)]

        assert len({key.key_id for key in made}) == 500
        assert len({key.secret for key in made}) == 500

    def test_the_secret_does_not_show_in_what_is_logged(self):
        assert KEY.secret not in repr(KEY)
        assert KEY.secret not in f"{[KEY]}"


class TestParse:
    @pytest.mark.parametrize("position", range(len(TEXT)))
    def test_a_single_changed_character_is_noticed(self, position):
        for other in string.ascii_letters + string.digits + "_- é":
            if other != TEXT[position]:
                assert keys.parse(TEXT[:position] + other + TEXT[position + 1 :]) is None

    @pytest.mark.parametrize("position", range(len(TEXT) - 1))
    def test_two_swapped_neighbours_are_noticed(self, position):
        one, other = TEXT[position], TEXT[position + 1]
        if one != other:
            assert keys.parse(TEXT[:position] + other + one + TEXT[position + 2 :]) is None

    @pytest.mark.parametrize("length", range(len(TEXT)))
    def test_a_cut_key_is_noticed(self, length):
        assert keys.parse(TEXT[:length]) is None

    @pytest.mark.parametrize(
        "text",
        ["", " ", TEXT + "\n", " " + TEXT, TEXT + "x", "x" * 10_000, TEXT.upper(), "mk_____"],
        # The key is random; names of tests have to be the same in every worker.
        ids=["empty", "blank", "newline", "space before", "character after", "long", "upper case", "underscores"],
    )
    def test_anything_around_or_instead_of_a_key_is_refused(self, text):
        assert keys.parse(text) is None

    @given(st.text(max_size=200))
    def test_no_text_makes_it_fail(self, text):
        assert keys.parse(text) is None


class TestMatches:
    def test_only_the_secret_that_was_stored_matches(self):
        stored = keys.digest(KEY.secret, PEPPER)

        assert keys.matches(KEY.secret, PEPPER, stored)
        assert not keys.matches(keys.mint("test").secret, PEPPER, stored)
        assert not keys.matches("", PEPPER, stored)

    @given(st.integers(1, 42))
    def test_a_secret_with_an_equal_beginning_does_not_match(self, length):
        stored = keys.digest(KEY.secret, PEPPER)
        lookalike = KEY.secret[:length] + ("0" if KEY.secret[length] != "0" else "1") + KEY.secret[length + 1 :]

        assert not keys.matches(lookalike, PEPPER, stored)
        assert not keys.matches(KEY.secret[:length], PEPPER, stored)

    def test_another_pepper_does_not_match(self):
        assert not keys.matches(KEY.secret, b"q" * 32, keys.digest(KEY.secret, PEPPER))

    def test_what_is_stored_does_not_contain_the_secret(self):
        stored = keys.digest(KEY.secret, PEPPER)

        assert len(stored) == 32
        assert KEY.secret.encode() not in stored
