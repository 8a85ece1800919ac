"""What can be asked of the catalog, as the address of the page says it. Pure: text in, values out, text again.

Unknown names and values in an address are ignored, so that an old link still shows something. Within one facet choices add up
(or), between facets they narrow (and).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from catalog.choices import AuthMode, Category, Health, PolicyMode, Transport, TrustLevel

QUERY_CHARS_MAX = 200
WORDS_MAX = 8
PAGES_MAX = 10_000

Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Facet:
    """`personal` facets mean something only to somebody who looks through an organisation."""

    name: str
    label: str
    choices: Choices
    personal: bool = False
    folded: bool = False


# The words of components/_status.html, which the cards show.
_HEALTH: Choices = (
    (Health.READY, "Healthy"),
    (Health.DEGRADED, "Degraded"),
    (Health.DOWN, "Down"),
    (Health.UNKNOWN, "Unknown"),
)
CATEGORY = Facet("category", "Category", tuple(Category.choices))
FACETS: tuple[Facet, ...] = (
    Facet("access", "Access", (("usable", "Usable"), ("required", "Access required")), personal=True),
    Facet("health", "Health", _HEALTH),
    Facet("trust", "Required trust", tuple(TrustLevel.choices)),
    Facet("owner", "Owner", (("ours", "Our organisation"), ("others", "Others")), personal=True),
    Facet("auth", "Sign-in to the server", tuple(AuthMode.choices)),
    Facet("gateway", "Gateway", (("ready", "Ready"), ("closed", "Not ready"))),
    Facet("policy", "Policy mode", tuple(PolicyMode.choices), folded=True),
    Facet("transport", "Transport", tuple(Transport.choices), folded=True),
)
ALL: tuple[Facet, ...] = (CATEGORY, *FACETS)

SORTS: Choices = (("relevance", "Best match"), ("name", "Name"), ("updated", "Recently updated"))


@dataclass(frozen=True, slots=True)
class Query:
    text: str = ""
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sort: str = ""
    page: int = 1

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
        found += [(facet.name, value) for facet in ALL for value in self.chosen.get(facet.name, ())]
        return found + ([("sort", self.sort)] if self.sort else [])

    @property
    def url(self) -> str:
        """The address relative to the page."""
        return "?" + urlencode(self.pairs())


def parse(given: Mapping[str, Iterable[str]], *, personal: bool) -> Query:
    """A query from the parameters of an address: names with all their values."""

    def first(name: str) -> str:
        return next(iter(given.get(name, ())), "")

    chosen = {
        facet.name: tuple(value for value, _ in facet.choices if value in set(given.get(facet.name, ())))
        for facet in ALL
        if personal or not facet.personal
    }
    page = first("page")
    sort = first("sort")
    return Query(
        text=" ".join(first("q").replace("\x00", "").split())[:QUERY_CHARS_MAX],
        chosen=_without_empty(chosen),
        sort=sort if sort in dict(SORTS) else "",
        page=min(int(page), PAGES_MAX) if page.isascii() and page.isdecimal() and len(page) < 9 and int(page) else 1,
    )


def _without_empty(chosen: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: values for name, values in chosen.items() if values}
