from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ui import markdown
from tests.support.xss import CORPUS

ALLOWED = {"p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"} | {
    "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


def elements(html: str) -> set[str]:
    return {name.lower() for name in re.findall(r"</?([A-Za-z][A-Za-z0-9]*)", html)}


def attributes(html: str) -> set[str]:
    return {name.lower() for tag in re.findall(r"<[A-Za-z][^>]*>", html) for name in re.findall(r"\s([a-z-]+)=", tag)}


@pytest.mark.parametrize("text", CORPUS)
def test_nothing_of_the_corpus_becomes_markup(text):
    for form in (
        text,
        f"# {text}",
        f"[{text}]({text})",
        f"![{text}]({text})",
        f"> {text}",
        f"`{text}`",
        f"|{text}|\n|-|\n|{text}|",
    ):
        html = markdown.render(form)
        assert elements(html) <= ALLOWED
        assert attributes(html) <= {"href", "rel", "start"}
        for link in re.findall(r'href="([^"]*)"', html):
            assert re.match(r"(https?://|mailto:)", link, re.IGNORECASE), link


@settings(max_examples=60)
@given(st.text(alphabet="<>[]()!`#*_|-\"'&;:/ jasx\n\t\\", max_size=120))
def test_no_text_leaves_the_short_list_of_elements(text):
    html = markdown.render(text)
    assert elements(html) <= ALLOWED
    assert attributes(html) <= {"href", "rel", "start"}


def test_what_people_write_looks_as_they_meant_it():
    html = markdown.render("# Title\n\n*one* **two** `three`\n\n- a\n- b\n\n| x |\n|---|\n| 1 |\n")
    for piece in (
        "<h3>Title</h3>",
        "<em>one</em>",
        "<strong>two</strong>",
        "<code>three</code>",
        "<li>a</li>",
        "<td>1</td>",
    ):
        assert piece in html


def test_links_say_that_we_do_not_vouch_and_never_lead_into_our_pages():
    html = markdown.render("[out](https://a.example) [in](/accounts/logout/) [path](?tab=x)")
    assert '<a href="https://a.example" rel="noopener nofollow ugc">out</a>' in html
    assert "logout" not in html
    assert "tab=x" not in html


def test_pictures_are_links():
    html = markdown.render("![Screen](https://a.example/x.png)")
    assert "<img" not in html
    assert '<a href="https://a.example/x.png" rel="noopener nofollow ugc">Picture: Screen</a>' in html


def test_long_texts_are_cut_and_say_so():
    assert "it is cut here" in markdown.render("word " * 20_000)
