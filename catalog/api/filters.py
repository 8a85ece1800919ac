"""The parameters of the catalog's lists, made of its facets: the same words as in the addresses of pages.

A page forgives an old link; a program is told that its filter does not exist.
"""

from __future__ import annotations

from typing import Any

import django_filters

from catalog import facets
from catalog.facets import Choices, Facet, Query
from core.errors import InvalidError


class CatalogFilter(django_filters.FilterSet):
    """What is asked, checked. `query` gives it as the selectors want it; rows are not filtered here but by the search."""

    known: tuple[Facet, ...] = ()
    sorts: Choices = ()

    def query(self) -> Query:
        """Raises InvalidError that names the parameter and its values."""
        if not self.is_valid():
            field, problems = next(iter(self.form.errors.items()))
            known = self._known_values(field)
            words = f"it is one of {', '.join(known)}" if known else problems[0]
            raise InvalidError(f"{field} cannot be that; {words}.", code="catalog.filter_unknown", field=field)
        return facets.parse(dict(self.data.lists()), personal=True, known=self.known, sorts=self.sorts)

    def _known_values(self, field: str) -> list[str]:
        choices = self.sorts if field == "sort" else next((one.choices for one in self.known if one.name == field), ())
        return [value for value, _ in choices]


def filter_of(name: str, known: tuple[Facet, ...], sorts: Choices) -> type[CatalogFilter]:
    """A set of filters for a list that has these facets and orders."""
    declared: dict[str, Any] = {
        "q": django_filters.CharFilter(max_length=2000),
        "sort": django_filters.ChoiceFilter(choices=sorts),
    }
    for facet in known:
        kind = django_filters.CharFilter() if facet.open else django_filters.MultipleChoiceFilter(choices=facet.choices)
        declared[facet.name] = kind
    made: type[CatalogFilter] = type(name, (CatalogFilter,), {**declared, "known": known, "sorts": sorts})
    return made


ServerFilter = filter_of("ServerFilter", facets.ALL, facets.SORTS)
ToolFilter = filter_of("ToolFilter", facets.TOOL_FACETS, facets.TOOL_SORTS)
