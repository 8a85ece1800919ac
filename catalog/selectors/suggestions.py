"""What a search box offers for some letters: servers, then tools, then tags. Nothing that the viewer may not see."""

from __future__ import annotations

from dataclasses import dataclass

from catalog import facets, wording
from catalog.facets import Query
from catalog.models import Server, Tool
from catalog.selectors import documents
from catalog.selectors.listing import visible_to
from catalog.selectors.search import Scene, search

TOOLS_MAX = 3
_TAGS_MIN = 1
# With fewer letters nearly every tool would be offered.
_TOOL_CHARS_MIN = 3


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`kind` is server, tool or tag; `server` the slug of what a server or tool leads to, `hint` whose it is."""

    kind: str
    label: str
    server: str = ""
    hint: str = ""


def suggest(scene: Scene, text: str, most: int = 8) -> list[Suggestion]:
    text = facets.clean(text)
    if not wording.terms_of(text):
        return []
    tools = _tools(scene, text, TOOLS_MAX)
    servers = search(scene, Query(text=text))[: most - len(tools) - _TAGS_MIN]
    tags = documents.tags_beginning(text.lower(), most - len(tools) - len(servers))
    return [
        *(Suggestion("server", row.name, row.slug, row.publisher) for row in servers),
        *(Suggestion("tool", tool.name, server.slug, server.name) for tool, server in tools),
        *(Suggestion("tag", tag) for tag in tags),
    ]


def _tools(scene: Scene, text: str, most: int) -> list[tuple[Tool, Server]]:
    """Tools that have these words in their names, those whose names begin so first."""
    if len(text) < _TOOL_CHARS_MIN:
        return []
    source = documents.readable(scene.viewer, documents.TOOLS)
    found = documents.rows(
        f"SELECT d.tool_id, d.server_id FROM {source.text} WHERE d.words @@ to_tsquery('english', %(named)s)"
        " ORDER BY d.name_key = %(whole)s DESC, starts_with(d.name_key, %(whole)s) DESC, d.popularity DESC,"
        " d.name_key, d.tool_id LIMIT %(most)s",
        source.values
        | {
            "named": wording.in_names(wording.terms_of(text)),
            "whole": "_".join(text.lower().split()),
            "most": most,
        },
    )
    tools = Tool.objects.in_bulk([tool_id for tool_id, _ in found])
    servers = visible_to(scene.viewer).in_bulk([server_id for _, server_id in found])
    return [
        (tools[tool_id], servers[server_id])
        for tool_id, server_id in found
        if tool_id in tools and server_id in servers
    ]
