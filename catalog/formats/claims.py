"""What a listing says its server offers: tools, resources, prompts, tasks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from catalog.formats.normal import JSON, Claim, ToolClaim
from catalog.formats.reading import Node

TRUSTS = ("low", "medium", "high")
EFFECTS = ("read", "write", "destructive")
NAME_MAX = 128  # the protocol's rule for tool names
TOOLS_MAX = 1_000


def read_tools(owner: Node, key: str = "tools") -> tuple[ToolClaim, ...]:
    """Tools with a good name, each name once; several ways to write the schema of the arguments are known."""
    found: dict[str, ToolClaim] = {}
    for node in owner.nodes(key, count=TOOLS_MAX):
        name = good_name(node, found)
        if name:
            found[name] = _tool(node, name)
    return tuple(found.values())


def good_name(node: Node, known: Iterable[str], *, most: int = NAME_MAX) -> str:
    """The name, or nothing with a problem when it is missing, too long or taken."""
    name = node.text("name").strip()
    if not name:
        node.report("name", "is missing")
    elif len(name) > most:
        node.report("name", f"has {len(name)} characters; {most} is the most")
    elif name in known:
        node.report("name", f"{name!r} is there twice; the first was taken")
    else:
        return name
    return ""


def _tool(node: Node, name: str) -> ToolClaim:
    annotations = node.mapping("annotations")
    schema = node.mapping("inputSchema", "parameters") or _schema_of(node)
    return ToolClaim(
        name=name,
        title=node.text("title", most=200),
        description=node.text("description"),
        input_schema=schema or None,
        output_schema=node.mapping("outputSchema") or None,
        annotations=annotations,
        required_trust=node.choice("requiredTrust", among=TRUSTS),
        side_effect=node.choice("sideEffect", among=EFFECTS),
        risk_level=node.choice("riskLevel", among=TRUSTS),
        labels=node.mapping("labels"),
        extra=node.rest(),
    )


def _schema_of(node: Node) -> JSON:
    """The JSON Schema of Docker's list of arguments: `{name, type, desc, optional, items}`."""
    properties: JSON = {}
    needed: list[str] = []
    for each in node.nodes("arguments", count=500):
        if name := each.text("name", most=500):
            kind, description = each.text("type", most=50) or "string", each.text("desc", "description")
            properties[name] = {"type": kind} | ({"description": description} if description else {})
            if items := each.mapping("items"):
                properties[name]["items"] = items
            if not each.flag("optional"):
                needed.append(name)
    if not properties:
        return {}
    return {"type": "object", "properties": properties} | ({"required": needed} if needed else {})


def read_claims(owner: Node, key: str, *, most: int = 500) -> tuple[Claim, ...]:
    """Resources, prompts or tasks. What has a URI is told apart by it, anything else by name."""
    found: dict[str, Claim] = {}
    for node in owner.nodes(key, count=TOOLS_MAX):
        uri = node.text("uri", most=2_000)
        name = good_name(node, () if uri else found, most=most)
        if name and (uri or name) not in found:
            found[uri or name] = Claim(
                name=name,
                title=node.text("title", most=200),
                description=node.text("description"),
                uri=uri,
                labels=node.mapping("labels"),
                extra=node.rest(),
            )
    return tuple(found.values())


def write_tools(tools: Iterable[ToolClaim]) -> list[JSON]:
    return [
        tool.definition()
        | _given(
            requiredTrust=tool.required_trust,
            sideEffect=tool.side_effect,
            riskLevel=tool.risk_level,
            labels=tool.labels,
        )
        | tool.extra
        for tool in tools
    ]


def write_claims(claims: Iterable[Claim]) -> list[JSON]:
    return list(_claims_out(claims))


def _claims_out(claims: Iterable[Claim]) -> Iterator[JSON]:
    for claim in claims:
        told = _given(title=claim.title, description=claim.description, uri=claim.uri, labels=claim.labels)
        yield {"name": claim.name} | told | claim.extra


def _given(**members: Any) -> JSON:
    return {name: value for name, value in members.items() if value}
