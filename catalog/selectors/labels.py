"""Labels of tools: what was confirmed, what is suggested, and of which definition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from catalog.labels import LABELS, suggest
from catalog.models import Server, Tool, ToolLabel
from core.errors import InvalidError


def of_server(server_id: UUID) -> dict[str, ToolLabel]:
    """By tool; resources and prompts under an empty name. What is missing nobody has labelled."""
    return {row.tool: row for row in ToolLabel.objects.filter(server_id=server_id)}


def suggested(tool: Tool) -> frozenset[str]:
    return suggest(tool.name, tool.description, tool.definition, tool.side_effect)


def definitions(server: Server) -> dict[str, str]:
    """Digests of what can be labelled, by name: the tools of the approved version, and resources and prompts."""
    tools = server.current_version.tools.values_list("name", "definition_digest") if server.current_version else ()
    return {"": "", **dict(tools)}


def check(wanted: Mapping[str, Collection[str] | None], known: Iterable[str]) -> None:
    """Raises InvalidError for what is no tool or no label."""
    if unknown := sorted(set(wanted) - set(known)):
        raise InvalidError(
            f"The server has no tool named {unknown[0][:60]!r}.", code="access.tool_unknown", field="tools"
        )
    for labels in wanted.values():
        if wrong := sorted(set(labels or ()) - set(LABELS)):
            raise InvalidError(
                f"{wrong[0][:40]!r} is no label; write {', '.join(LABELS)}.",
                code="catalog.label_unknown",
                field="labels",
            )
