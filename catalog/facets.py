"""What can be asked of the catalog, as the address of the page says it. Pure: text in, values out, text again.

Unknown names and values in an address are ignored, so that an old link still shows something. Within one facet choices add up
(or), between facets they narrow (and).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from catalog.choices import AuthMode, Category, Health, PolicyMode, SideEffect, Transport, TrustLevel, Visibility

QUERY_CHARS_MAX = 200
WORDS_MAX = 8
PAGES_MAX = 10_000
# Of a facet whose values are not known beforehand: how many may be chosen, how long one may be, how many are offered.
OPEN_VALUES_MAX = 8
OPEN_VALUE_CHARS_MAX = 200
OPEN_OFFERED_MAX = 12

Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Facet:
    """`personal` facets mean something only to somebody who looks through an organisation.

    An `open` facet takes what there is (publishers, namespaces): it has no `choices`, and a value is its own label. Of a
    `several` facet one server may have more than one value.
    """

    name: str
    label: str
    choices: Choices = ()
    personal: bool = False
    folded: bool = False
    open: bool = False
    several: bool = False

    def label_of(self, value: str) -> str:
        return dict(self.choices).get(value, value)


# The words of components/_status.html, which the cards show.
_HEALTH: Choices = (
    (Health.READY, "Healthy"),
    (Health.DEGRADED, "Degraded"),
    (Health.DOWN, "Down"),
    (Health.UNKNOWN, "Unknown"),
)
_READY: Choices = (("ready", "Ready"), ("closed", "Not ready"))
_INVENTORY: Choices = (("tools", "Tools"), ("resources", "Resources"), ("prompts", "Prompts"), ("tasks", "Tasks"))
_SOURCES: Choices = (
    ("published", "Published here"),
    ("official", "MCP registry"),
    ("http", "HTTP index"),
    ("github", "GitHub"),
    ("docker", "Docker"),
    ("local", "Local files"),
)
_SOURCE_TRUST: Choices = (("enterprise", "Enterprise"), ("verified", "Verified"), ("community", "Community"))
_PACKAGES: Choices = (
    ("npm", "npm"),
    ("pypi", "PyPI"),
    ("oci", "Container image"),
    ("mcpb", "MCP bundle"),
    ("nuget", "NuGet"),
    ("cargo", "Cargo"),
    ("binary", "Program"),
)
CATEGORY = Facet("category", "Category", tuple(Category.choices))
FACETS: tuple[Facet, ...] = (
    Facet("access", "Access", (("usable", "Usable"), ("required", "Access required")), personal=True),
    Facet("health", "Health", _HEALTH),
    Facet("trust", "Required trust", (*TrustLevel.choices, ("unknown", "Not said"))),
    Facet("owner", "Owner", (("ours", "Our organisation"), ("others", "Others")), personal=True),
    Facet("auth", "Sign-in to the server", (*AuthMode.choices, ("unknown", "Unknown"))),
    Facet("gateway", "Gateway", _READY),
    Facet("source", "Source", _SOURCES),
    Facet("inventory", "Offers", _INVENTORY, several=True),
    Facet("team", "Team", personal=True, folded=True, open=True),
    Facet("scope", "Visible to", tuple(Visibility.choices), personal=True, folded=True),
    Facet("policy", "Policy mode", tuple(PolicyMode.choices), folded=True),
    Facet("decidable", "Policy", (("ready", "Ready"), ("incomplete", "Incomplete")), folded=True),
    Facet("transport", "Transport", tuple(Transport.choices), folded=True),
    Facet("package", "Package", _PACKAGES, folded=True, several=True),
    Facet("standing", "Source trust", _SOURCE_TRUST, folded=True),
    Facet("verified", "Verified", (("yes", "Verified"), ("no", "Not verified")), folded=True),
    Facet("featured", "Featured", (("yes", "Featured"),), folded=True),
    Facet("publisher", "Published by", folded=True, open=True),
    Facet("namespace", "Namespace", folded=True, open=True),
    Facet("repository", "Repository", folded=True, open=True),
)
ALL: tuple[Facet, ...] = (CATEGORY, *FACETS)
BY_NAME: dict[str, Facet] = {facet.name: facet for facet in ALL}

SORTS: Choices = (
    ("relevance", "Best match"),
    ("popularity", "Most used"),
    ("trend", "Rising"),
    ("rating", "Best rated"),
    ("updated", "Recently updated"),
    ("name", "Name"),
)
# Of the directory of tools.
TOOL_FACETS: tuple[Facet, ...] = (
    Facet("effect", "Side effect", (*SideEffect.choices, ("unknown", "Not declared"))),
    Facet("trust", "Required trust", tuple(TrustLevel.choices)),
    Facet("price", "Price", (("free", "Free"), ("paid", "Paid"))),
    Facet(
        "seen", "Definition", (("live", "Read live"), ("declared", "Declared"), ("drifted", "Changed since approval"))
    ),
    Facet("access", "Access", (("usable", "Usable"), ("required", "Access required")), personal=True),
)
TOOL_SORTS: Choices = (("relevance", "Best match"), ("name", "Name"))


@dataclass(frozen=True, slots=True)
class Query:
    """`known` are the facets that the page has."""

    text: str = ""
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sort: str = ""
    page: int = 1
    known: tuple[Facet, ...] = field(default=ALL, repr=False)

    @property
    def words(self) -> list[str]:
        return self.text.split()[:WORDS_MAX]

    @property
    def narrowed(self) -> bool:
        return bool(self.text or self.chosen)

    @property
    def order(self) -> str:
        """The sort in force: the chosen one, else the best match of a search, else the name."""
        if self.sort and not (self.sort == "relevance" and not self.text):
            return self.sort
        return "relevance" if self.text else "name"

    def toggled(self, facet: str, value: str) -> Query:
        now = self.chosen.get(facet, ())
        values = tuple(each for each in now if each != value) if value in now else (*now, value)
        return replace(self, chosen=_without_empty({**self.chosen, facet: values}), page=1)

    def only(self, facet: str, value: str) -> Query:
        """The query with this as the facet's one choice; no value clears the facet."""
        return replace(self, chosen=_without_empty({**self.chosen, facet: (value,) if value else ()}), page=1)

    def sorted_by(self, sort: str) -> Query:
        return replace(self, sort=sort, page=1)

    def pairs(self) -> list[tuple[str, str]]:
        """Name and value of everything but the page, in one order, so that equal queries have equal addresses."""
        found = [("q", self.text)] if self.text else []
        found += [(facet.name, value) for facet in self.known for value in self.chosen.get(facet.name, ())]
        return found + ([("sort", self.sort)] if self.sort else [])

    @property
    def url(self) -> str:
        """The address relative to the page."""
        return "?" + urlencode(self.pairs())


def parse(
    given: Mapping[str, Iterable[str]],
    *,
    personal: bool,
    known: tuple[Facet, ...] = ALL,
    sorts: Choices = SORTS,
) -> Query:
    """A query from the parameters of an address: names with all their values."""

    def first(name: str) -> str:
        return next(iter(given.get(name, ())), "")

    chosen = {
        facet.name: _values(facet, list(given.get(facet.name, ()))) for facet in known if personal or not facet.personal
    }
    page = first("page")
    sort = first("sort")
    return Query(
        text=clean(first("q")),
        chosen=_without_empty(chosen),
        sort=sort if sort in dict(sorts) else "",
        page=min(int(page), PAGES_MAX) if page.isascii() and page.isdecimal() and len(page) < 9 and int(page) else 1,
        known=known,
    )


def clean(text: str) -> str:
    """Text of a search box: bounded, in one line, free of what a database cannot hold."""
    readable = text.encode("utf-8", "ignore").decode("utf-8").replace("\x00", "")
    return " ".join(readable.split())[:QUERY_CHARS_MAX].rstrip()


def _values(facet: Facet, given: list[str]) -> tuple[str, ...]:
    if not facet.open:
        return tuple(value for value, _ in facet.choices if value in set(given))
    values = dict.fromkeys(clean(each)[:OPEN_VALUE_CHARS_MAX] for each in given)
    return tuple(value for value in values if value)[:OPEN_VALUES_MAX]


def _without_empty(chosen: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: values for name, values in chosen.items() if values}
