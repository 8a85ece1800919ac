from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import chain
from audit.chain import Link

KEY = b"k" * 32
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef"), inner, max_size=3),
    max_leaves=6,
)


def forge(contents: list[dict], key: bytes = KEY) -> list[Link]:
    links, previous = [], chain.GENESIS
    for sequence, content in enumerate(contents, start=1):
        digest = chain.digest(key, previous, content)
        links.append(Link(sequence, content, previous, digest))
        previous = digest
    return links


def renumbered(links: list[Link]) -> list[Link]:
    return [replace(link, sequence=sequence) for sequence, link in enumerate(links, start=1)]


def broken_at(links: list[Link]) -> int | None:
    found = chain.first_break(KEY, links)
    return found[0] if found else None


@st.composite
def chains(draw) -> tuple[list[Link], int]:
    """A chain of at least two events, and the position of one of them."""
    data = draw(st.lists(JSON, min_size=2, max_size=8))
    contents = [{"sequence": number, "action": "test:thing:done", "data": item} for number, item in enumerate(data)]
    return forge(contents), draw(st.integers(0, len(contents) - 1))


class TestFirstBreak:
    @given(chains())
    def test_a_chain_that_nobody_touched_holds(self, drawn):
        links, _ = drawn

        assert chain.first_break(KEY, links) is None
        assert chain.first_break(KEY, []) is None

    @given(chains(), JSON)
    def test_an_edited_row_is_found_where_it_is(self, drawn, other):
        links, at = drawn
        edited = {**links[at].content, "data": {"was": links[at].content["data"], "is": other}}
        links[at] = replace(links[at], content=edited)

        assert broken_at(links) == at + 1
        assert "changed" in chain.first_break(KEY, links)[1]

    @given(chains())
    def test_an_edited_row_with_a_hash_of_another_key_is_found(self, drawn):
        links, at = drawn
        content = {**links[at].content, "action": "test:thing:undone"}
        links[at] = replace(links[at], content=content, hash=chain.digest(b"x" * 32, links[at].previous_hash, content))

        assert broken_at(links) == at + 1

    @given(chains())
    def test_a_row_deleted_before_the_end_is_found_as_a_gap(self, drawn):
        links, at = drawn
        at = min(at, len(links) - 2)
        del links[at]

        assert broken_at(links) == at + 1
        assert "missing" in chain.first_break(KEY, links)[1]

    @given(chains())
    def test_closing_the_gap_does_not_hide_a_deletion(self, drawn):
        links, at = drawn
        at = min(at, len(links) - 2)
        del links[at]

        assert broken_at(renumbered(links)) == at + 1

    @given(chains())
    def test_two_swapped_rows_are_found_at_the_first(self, drawn):
        links, at = drawn
        at = min(at, len(links) - 2)
        links[at], links[at + 1] = links[at + 1], links[at]

        assert broken_at(links) == at + 1
        assert broken_at(renumbered(links)) == at + 1

    @given(chains())
    def test_an_inserted_row_is_found(self, drawn):
        links, at = drawn
        content = {"action": "test:thing:forged"}
        forged = Link(
            at + 1, content, links[at].previous_hash, chain.digest(b"x" * 32, links[at].previous_hash, content)
        )
        links.insert(at, forged)

        assert broken_at(renumbered(links)) == at + 1

    @given(chains(), st.integers(1, 3))
    def test_rows_cut_out_of_the_middle_are_found(self, drawn, count):
        links, at = drawn
        longer = forge([link.content for link in links * 3])
        del longer[at + 1 : at + 1 + count]

        assert broken_at(longer) == at + 2
        assert broken_at(renumbered(longer)) == at + 2

    @given(chains())
    def test_a_chain_of_another_key_does_not_hold(self, drawn):
        links, _ = drawn

        assert chain.first_break(b"other" * 8, links)[0] == 1

    @given(chains())
    def test_the_first_row_must_follow_nothing(self, drawn):
        links, _ = drawn

        assert broken_at(renumbered(links[1:])) == 1


class TestCanonical:
    def test_the_order_of_keys_does_not_matter(self):
        assert chain.canonical({"a": 1, "b": {"d": 2, "c": 3}}) == chain.canonical({"b": {"c": 3, "d": 2}, "a": 1})

    def test_a_moment_counts_in_utc_whatever_its_zone(self):
        moment = datetime(2026, 11, 21, 9, tzinfo=UTC)
        elsewhere = moment.astimezone(timezone(timedelta(hours=5)))

        assert chain.canonical({"at": moment}) == chain.canonical({"at": elsewhere})
        assert chain.canonical({"at": moment}) != chain.canonical({"at": moment + timedelta(microseconds=1)})

    @pytest.mark.parametrize("value", [UUID(int=7), "é", None, True, 0, [1, "1"]])
    def test_values_of_rows_have_one_form(self, value):
        assert chain.canonical({"v": value}) == chain.canonical({"v": value})

    @given(JSON, JSON)
    def test_two_different_values_differ(self, one, other):
        # Python counts True and 1 as equal; the canonical form does not.
        assert (chain.canonical({"v": one}) == chain.canonical({"v": other})) == (
            repr(sorted_(one)) == repr(sorted_(other))
        )


def sorted_(value):
    if isinstance(value, dict):
        return {key: sorted_(value[key]) for key in sorted(value)}
    return [sorted_(item) for item in value] if isinstance(value, list) else value
