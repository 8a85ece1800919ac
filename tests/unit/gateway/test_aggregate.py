"""Names, pages and search of the aggregated endpoint."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import names
from gateway.aggregate import paging, search
from gateway.mcp import params
from gateway.mcp.errors import RefusedError

_SLUGS = st.from_regex(r"\A[a-z0-9](?:[a-z0-9._-]{0,60}[a-z0-9])?\Z")
_NAMES = (
    st.text(min_size=1, max_size=160)
    | st.from_regex(r"\A[A-Za-z0-9_.-]{1,128}\Z")
    | st.from_regex(r"\A__x[a-z2-7]{16}\Z")
)


@given(_SLUGS, _NAMES)
def test_a_name_fits_the_protocol_and_leads_back(slug: str, name: str) -> None:
    exposed = names.expose(slug, name)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", exposed)
    assert exposed == names.expose(slug, name)
    assert names.is_marked(exposed) or names.split(exposed) == (slug, name)


@given(_SLUGS, _NAMES, _SLUGS, _NAMES)
def test_two_things_never_share_a_name(one: str, first: str, other: str, second: str) -> None:
    if (one, first) != (other, second):
        assert names.expose(one, first) != names.expose(other, second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b__c"), ("a__b", "c")),
        (("a", "x" * 200), ("a", "x" * 201)),
        (("a", "ä"), ("a", "ö")),
        (("a", names.expose("a", "ä").removeprefix("a__")), ("a", "ä")),
    ],
)
def test_names_that_could_be_taken_for_one_another_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert names.expose(*one) != names.expose(*other)


@pytest.mark.parametrize("text", ["", "a", "__b", "a__", "marketplace_search_tools", names.expose("a", "ä")])
def test_what_is_no_name_of_a_server_is_not_split(text: str) -> None:
    assert names.split(text) is None


@pytest.mark.parametrize("uri", ["test://template/{id}/data", "file:///a/b?c#d", "ui://x/y", "odd uri"])
def test_a_uri_leads_back(uri: str) -> None:
    assert names.split_uri(names.expose_uri("my.server_1", uri)) == ("my.server_1", uri)
    assert names.split_uri(uri) is None


def test_pages_hold_everything_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_ITEMS", 3)
    places = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0), ("c", 1), ("c", 2)]
    seen, cursor, rounds = [], None, 0
    while cursor is not None or not rounds:
        start, end, cursor = paging.page(places, [10] * 7, cursor)
        seen += places[start:end]
        rounds += 1
    assert (seen, rounds) == (places, 3)


def test_a_page_ends_before_it_is_too_large_but_is_never_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_BYTES", 100)
    assert paging.page([("a", 0), ("a", 1), ("a", 2)], [60, 60, 1000], None)[:2] == (0, 1)
    assert paging.page([("a", 2)], [1000], None) == (0, 1, None)


def test_a_page_goes_on_after_something_that_has_gone() -> None:
    cursor = paging.write_cursor(("b", 5))
    assert paging.page([("a", 0), ("b", 1), ("c", 0)], [1, 1, 1], cursor)[:2] == (2, 3)


@pytest.mark.parametrize("cursor", ["", "!", "bm9wZQ", 7, ["a"], "WzEsMl0", "W10"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: object) -> None:
    with pytest.raises(RefusedError):
        paging.read_cursor(cursor)


TOOLS = [
    {"name": "create_issue", "description": "Open an issue in a repository"},
    {"name": "listRepositories", "description": "Repositories of an owner"},
    {"name": "send_mail", "title": "Send an e-mail", "description": "Delivers a message; mentions an issue by the way"},
    {"name": "weather", "description": "Forecast for a place"},
]


def best(query: str) -> list[str]:
    words = search.words_of(query)
    scored = [
        (search.score(search.document("github" if i < 2 else "tools", tool), words), tool["name"])
        for i, tool in enumerate(TOOLS)
    ]
    return [name for points, name in sorted(scored, reverse=True) if points]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("issue", "create_issue"),
        ("create an issue", "create_issue"),
        ("issues", "create_issue"),
        ("repository", "listRepositories"),
        ("repos", "listRepositories"),
        ("email", "send_mail"),
        ("forecast", "weather"),
        ("wether", "weather"),
        ("github list", "listRepositories"),
    ],
)
def test_the_search_finds_what_is_meant(query: str, first: str) -> None:
    assert best(query)[0] == first


def test_the_search_finds_nothing_for_words_that_nobody_has() -> None:
    assert best("zebra crossing") == []


def test_marked_arguments_are_mirrored_and_no_others() -> None:
    schema = {
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "on": {"type": "boolean", "x-mcp-header": "On"},
            "gone": {"type": "string", "x-mcp-header": "Gone"},
            "plain": {"type": "string"},
            "odd": {"type": "string"},
            "inner": {"properties": {"deep": {"type": "string", "x-mcp-header": "Deep"}}},
            "list": {"items": {"properties": {"x": {"x-mcp-header": "X"}}}},
        }
    }
    arguments = {
        "region": "Zürich",
        "count": 7,
        "on": False,
        "gone": None,
        "plain": "p",
        "odd": "b",
        "inner": {"deep": "d"},
        "list": [{"x": "1"}],
    }
    assert params.header_lines(schema, arguments).split(b"\r\n") == [
        b"Mcp-Param-Region: =?base64?WsO8cmljaA==?=",
        b"Mcp-Param-Count: 7",
        b"Mcp-Param-On: false",
        b"Mcp-Param-Deep: d",
        b"",
    ]
    assert params.header_lines(None, {}) == params.header_lines({"properties": []}, {"a": 1}) == b""


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "string", "x-mcp-header": "a b"},
        {"type": "string", "x-mcp-header": "region"},
        {"type": "number", "x-mcp-header": "Amount"},
        {"type": ["string", "null"], "x-mcp-header": "Amount"},
    ],
)
def test_of_a_schema_with_a_bad_mark_no_mark_counts(bad: dict[str, Any]) -> None:
    good = {"type": "string", "x-mcp-header": "Region"}
    assert params.places_of({"properties": {"a": good}}) == {"/a": "Region"}
    assert params.places_of({"properties": {"a": good, "b": bad}}) == {}
