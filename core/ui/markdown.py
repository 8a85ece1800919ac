"""Markdown that strangers wrote, as HTML that may stand in our pages.

Raw HTML is text. What remains is cleaned a second time by a sanitiser that knows a short list of elements. Links go out to web
and mail addresses only, never to pages of ours, and say that we do not vouch for them. Pictures become links, so that nobody's
server hears who reads a page here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

LENGTH_MAX = 60_000
_HEADING_SHIFT = 2  # a page has its own first and second level
_TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a", "h3", "h4", "h5", "h6",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_LINK_STARTS = ("https://", "http://", "mailto:")


def render(text: str) -> SafeString:
    """HTML of a text; what is longer than 60,000 characters ends with a note."""
    shown = text.replace("\x00", "")[:LENGTH_MAX]
    html = nh3.clean(
        _MARKDOWN.render(shown),
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}},
        attribute_filter=_kept,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener nofollow ugc",
    )
    if len(text) > LENGTH_MAX:
        html += "<p>The text goes on; it is cut here.</p>"
    return mark_safe(html)  # noqa: S308 - sanitised just above


def _kept(tag: str, attribute: str, value: str) -> str | None:
    if attribute == "href":
        return value if value.strip().lower().startswith(_LINK_STARTS) else None
    return value if attribute == "rel" or value.isdecimal() else None


def _image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    words = renderer.renderInlineAsText(token.children, options, env) if token.children else ""
    return (
        f'<a href="{escape(str(token.attrs.get("src", "")))}">Picture: {escape(words or "without a description")}</a>'
    )


def _shift_headings(state: Any) -> None:
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1:]) + _HEADING_SHIFT)}"


def _build() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.core.ruler.push("shift_headings", _shift_headings)
    parser.add_render_rule("image", _image)
    return parser


_MARKDOWN = _build()
