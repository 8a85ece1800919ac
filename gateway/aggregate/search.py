"""Finding tools by words: a small ranking in memory, good enough to find one tool among thousands by what it is for.

Each word of the question is looked for in the name, the title, the description and the server of a tool; names weigh most, exact
words more than beginnings, beginnings more than look-alikes. A tool that answers more of the words comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_WORD = re.compile(r"[a-z0-9]+", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NAME, _TITLE, _SERVER, _TEXT = 8.0, 5.0, 4.0, 2.0
_EXACT, _BEGINNING, _LIKE = 1.0, 0.7, 0.5
_LIKE_ENOUGH = 0.45
_MAX_WORDS = 200
AT_ONCE = 32  # definitions that are read or judged before others get their turn
_COMMON = frozenset(
    (
        "a",
        "an",
        "and",
        "are",
        "as",
        "by",
        "for",
        "from",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "that",
        "the",
        "this",
        "to",
        "with",
    )
)


@dataclass(frozen=True, slots=True)
class Document:
    """A tool's words, each with the weight of the best place it stands in."""

    words: dict[str, float]
    names: frozenset[str]  # those of its name and title, among which look-alikes are sought


def document(slug: str, tool: dict[str, Any]) -> Document:
    name, title = words_of(tool.get("name")), words_of(tool.get("title"))
    weights = dict.fromkeys(words_of(tool.get("description")), _TEXT)
    weights |= dict.fromkeys(words_of(slug), _SERVER)
    weights |= dict.fromkeys(title, _TITLE)
    weights |= dict.fromkeys(name, _NAME)
    return Document(weights, frozenset(name + title))


def words_of(text: Any) -> list[str]:
    """Lower-case words; `camelCase` and `snake_case` are two, and a plural is its singular."""
    if not isinstance(text, str):
        return []
    found = _WORD.findall(_HUMP.sub(" ", text[:4000]))
    return [_singular(word.lower()) for word in found[:_MAX_WORDS] if word.lower() not in _COMMON]


def score(document: Document, words: Iterable[str]) -> float:
    """How well a tool answers the words; 0 when it answers none."""
    total, answered, asked = 0.0, 0, 0
    for word in words:
        asked += 1
        points = _points(document, word)
        total += points
        answered += points > 0
    return total * answered / asked if answered else 0.0


def _points(document: Document, word: str) -> float:
    exact = document.words.get(word)
    if exact is not None:
        return exact * _EXACT
    if len(word) < 3:
        return 0.0
    best = max((weight for each, weight in document.words.items() if each.startswith(word)), default=0.0)
    if best or len(word) < 4:
        return best * _BEGINNING
    alike = max((_likeness(word, each) for each in document.names), default=0.0)
    return _NAME * _LIKE * alike if alike >= _LIKE_ENOUGH else 0.0


@lru_cache(maxsize=65_536)
def _likeness(one: str, other: str) -> float:
    """Shared pairs of letters (Dice's coefficient): 1 for equal words, about a half for one wrong letter in six."""
    if abs(len(one) - len(other)) > 3:
        return 0.0
    first, second = _pairs(one), _pairs(other)
    return 2 * len(first & second) / (len(first) + len(second)) if first and second else 0.0


def _pairs(word: str) -> set[str]:
    return {word[index : index + 2] for index in range(len(word) - 1)}


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
