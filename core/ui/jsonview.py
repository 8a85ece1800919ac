"""A JSON value as nested, collapsible HTML that works without JavaScript.

Bounded in depth and in entries, because the value comes from strangers; whatever is left out is counted in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

DEPTH_MAX = 16
ENTRIES_MAX = 1_000
TEXT_MAX_CHARS = 4_000
OPEN_DEPTH = 2


@dataclass(slots=True)
class _Budget:
    left: int = ENTRIES_MAX


def render(value: object) -> SafeString:
    return _node(value, 0, _Budget(), mark_safe(""))


def _node(value: object, depth: int, budget: _Budget, name: SafeString) -> SafeString:
    if isinstance(value, Mapping):
        entries = [(_key(str(key)), item) for key, item in value.items()]
        return _branch(entries, ("{", "}"), depth, budget, name)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return _branch([(mark_safe(""), item) for item in value], ("[", "]"), depth, budget, name)
    return format_html('<div class="json__leaf">{}{}</div>', name, _scalar(value))


def _branch(
    entries: list[tuple[SafeString, object]],
    ends: tuple[str, str],
    depth: int,
    budget: _Budget,
    name: SafeString,
) -> SafeString:
    if not entries:
        return format_html('<div class="json__leaf">{}{}{}</div>', name, *ends)
    shown = entries[: max(budget.left, 0)] if depth < DEPTH_MAX else []
    budget.left -= len(shown)
    body = format_html_join("", "{}", ((_node(item, depth + 1, budget, key),) for key, item in shown))
    return format_html(
        '<details class="json__branch"{}><summary>{}{}<span class="json__count">{}</span>{}</summary>'
        '<div class="json__body">{}{}</div></details>',
        mark_safe(" open") if depth < OPEN_DEPTH else "",
        name,
        ends[0],
        len(entries),
        ends[1],
        body,
        _omitted(len(entries) - len(shown)),
    )


def _omitted(count: int) -> SafeString:
    if not count:
        return mark_safe("")
    return format_html('<div class="json__leaf json__omitted">{} more not shown</div>', count)


def _key(text: str) -> SafeString:
    return format_html('<span class="json__key">{}</span>: ', text)


def _scalar(value: object) -> SafeString:
    if isinstance(value, str):
        cut = value if len(value) <= TEXT_MAX_CHARS else value[:TEXT_MAX_CHARS] + "…"
        return format_html('<span class="json__string">"{}"</span>', cut)
    if value is None or isinstance(value, bool):
        word = {None: "null", True: "true", False: "false"}[value]
        return format_html('<span class="json__word">{}</span>', word)
    return format_html('<span class="json__number">{}</span>', str(value))
