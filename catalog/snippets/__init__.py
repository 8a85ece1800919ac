"""Configuration of MCP clients for one server, through the gateway or direct. Pure; every text is made by a serialiser."""

from __future__ import annotations

import json

from catalog.snippets.clients import SHELL, WRITERS, Client, Snippet
from catalog.snippets.targets import KEY_PLACEHOLDER, Target, through_gateway
from catalog.snippets.texts import as_command

__all__ = ["KEY_PLACEHOLDER", "Client", "Snippet", "for_server", "for_target", "invoke_with_curl"]


def for_target(target: Target) -> list[Client]:
    """Every client, with its snippets for this target."""
    return [write(target) for write in WRITERS]


def for_server(public_url: str, slug: str, key: str = KEY_PLACEHOLDER) -> list[Snippet]:
    """One snippet for each client, through the gateway with a key; for Docker, which needs more than one, see `for_target`."""
    return [
        Snippet(client.label, first.code, first.caption, first.language)
        for client in for_target(through_gateway(public_url, slug, key))
        for first in client.snippets[:1]
        if client.id != "docker"
    ]


def invoke_with_curl(public_url: str, slug: str, tool: str, key: str = KEY_PLACEHOLDER) -> Snippet:
    """A first call without any client."""
    body = json.dumps({"server": slug, "tool": tool, "arguments": {}})
    lines = [
        ["curl", "--fail-with-body", f"{public_url.rstrip('/')}/v1/invoke"],
        ["--header", f"Authorization: Bearer {key}"],
        ["--header", "Content-Type: application/json"],
        ["--data", body],
    ]
    return Snippet("curl", as_command(lines), "shell", SHELL)
