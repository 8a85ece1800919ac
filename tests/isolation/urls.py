"""Every URL pattern of the product, found by walking, and how to make a path of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^()]*\)")


@dataclass(frozen=True)
class Endpoint:
    name: str  # with its namespaces; for a pattern without a name, the route
    route: str

    @property
    def parameters(self) -> set[str]:
        return {one or other for one, other in _PARAMETER.findall(self.route)}

    def path(self, values: Mapping[str, object]) -> str:
        """The path with these values in place of its parameters."""
        filled = _PARAMETER.sub(lambda found: str(values[found[1] or found[2]]), self.route)
        return "/" + filled.replace("^", "").removesuffix("$")


def walk(patterns=None, route: str = "", space: str = "") -> Iterator[Endpoint]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{space}{pattern.namespace}:" if pattern.namespace else space
            yield from walk(pattern.url_patterns, here, inner)
        elif isinstance(pattern, URLPattern):
            yield Endpoint(f"{space}{pattern.name}" if pattern.name else f"{space}{here}", here)
