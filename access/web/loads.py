"""How much of a model's context each form of a key takes: whole definitions, counted as the aggregated endpoint lists them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from access.selectors import ListedTool
from tenants.choices import ListForm

# As the aggregated endpoint estimates it.
BYTES_PER_TOKEN = 4
# Searching, describing and calling: listed in every form.
OWN_TOOLS = 3


@dataclass(frozen=True, slots=True)
class Loads:
    """Of one key: its form, the tools that it may call, and those that its form lists, beside our own three."""

    form: str
    available: int
    available_bytes: int
    listed: int
    listed_bytes: int

    @classmethod
    def of(cls, form: str, tools: Sequence[ListedTool], chosen: Iterable[str]) -> Loads:
        names = frozenset(chosen)
        listed = [tool for tool in tools if form == ListForm.ALL or (form == ListForm.CHOSEN and tool.name in names)]
        return cls(form, len(tools), _size(tools), len(listed), _size(listed))

    @property
    def definitions(self) -> int:
        return self.listed + OWN_TOOLS

    @property
    def in_all(self) -> int:
        return self.available + OWN_TOOLS

    @property
    def saved_tokens(self) -> int:
        """What the form saves against listing everything."""
        return (self.available_bytes - self.listed_bytes) // BYTES_PER_TOKEN

    @property
    def search_saves_tokens(self) -> int:
        """What search would save against what is listed."""
        return self.listed_bytes // BYTES_PER_TOKEN


def _size(tools: Iterable[ListedTool]) -> int:
    return sum(tool.definition_bytes for tool in tools)
