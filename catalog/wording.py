"""From what somebody types to what is looked for. Pure: text in, terms out.

A term is one typed word with everything that counts as it: its beginning of longer words, words of the same meaning, and, when
nobody uses the word, the words that it was probably meant to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

TERMS_MAX = 8
_TERM_CHARS_MAX = 60
# A shorter beginning is that of too many words to say anything.
_PREFIX_CHARS_MIN = 2
_CORRECTIONS_MAX = 3

_WORD = re.compile(r"[^\W_]+")

# Nearly every entry says these of itself, so they narrow nothing.
_NOISE = frozenset({"mcp", "server", "servers", "tool", "tools"})
# Groups of words that people use for the same thing.
_SAME = (
    ("mail", "email"),
    ("db", "database"),
    ("k8s", "kubernetes"),
    ("postgres", "postgresql"),
    ("repo", "repository"),
    ("pr", "pull"),
    ("docs", "documentation"),
    ("js", "javascript"),
    ("ts", "typescript"),
    ("img", "image"),
    ("picture", "image"),
    ("photo", "image"),
    ("ticket", "issue"),
    ("crypto", "cryptocurrency"),
    ("gcp", "google"),
    ("scrape", "crawl"),
    ("scraping", "crawl"),
    ("auth", "authentication"),
)


@dataclass(frozen=True, slots=True)
class Term:
    """One typed word, and other words that count as it."""

    word: str
    others: tuple[str, ...] = ()

    @property
    def tsquery(self) -> str:
        """The term in the language of `to_tsquery`; its words are letters and digits only, so nothing needs quoting."""
        return "(" + " | ".join(dict.fromkeys(map(_beginning, (self.word, *self.others)))) + ")"

    @property
    def ranked(self) -> str:
        """The same for ranking, where the very word counts beside its longer forms."""
        return f"{self.word} | {self.tsquery}"


def terms_of(text: str) -> list[Term]:
    """The words of a search. Words that every entry has are left out unless there is nothing else."""
    words = list(dict.fromkeys(word.lower()[:_TERM_CHARS_MAX] for word in _WORD.findall(text)))
    telling = [word for word in words if word not in _NOISE] or words
    return [Term(word, _same_as(word)) for word in telling[:TERMS_MAX]]


def all_of(terms: Iterable[Term]) -> str:
    return " & ".join(term.tsquery for term in terms)


def any_of(terms: Iterable[Term]) -> str:
    return " | ".join(term.tsquery for term in terms)


def in_names(terms: Iterable[Term]) -> str:
    """All of the terms, each in what a document calls by name (weight A)."""
    return " & ".join(
        "("
        + " | ".join(f"{word}:{'*' if len(word) >= _PREFIX_CHARS_MIN else ''}A" for word in (term.word, *term.others))
        + ")"
        for term in terms
    )


def ranking_of(terms: Iterable[Term]) -> str:
    return " | ".join(term.ranked for term in terms)


def corrected(terms: Iterable[Term], similar: Mapping[str, Iterable[str]]) -> list[Term]:
    """Terms with what they were probably meant to be: of `similar` words, by the word typed, the ones fewest slips away."""
    return [replace(term, others=(*term.others, *closest(term.word, similar.get(term.word, ())))) for term in terms]


def closest(word: str, candidates: Iterable[str]) -> tuple[str, ...]:
    allowed = slips_allowed(word)
    ranked = sorted((slips(word, each, allowed), position, each) for position, each in enumerate(candidates))
    near = [(distance, each) for distance, _, each in ranked if distance <= allowed]
    return tuple(each for distance, each in near if distance == near[0][0])[:_CORRECTIONS_MAX]


def slips_allowed(word: str) -> int:
    """In a short word every letter counts."""
    return 0 if len(word) < 4 else 1 if len(word) < 6 else 2 if len(word) < 10 else 3


def slips(one: str, other: str, most: int) -> int:
    """How many letters were added, left out, changed or swapped with the next between two words; `most` + 1 for more.

    Optimal string alignment: one row of the table at a time, with the one before the last for swaps.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row = [i]
        for j, right in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return min(last[-1], most + 1)


def _same_as(word: str) -> tuple[str, ...]:
    return tuple(other for group in _SAME if word in group for other in group if other != word)


def _beginning(word: str) -> str:
    return f"{word}:*" if len(word) >= _PREFIX_CHARS_MIN else word
