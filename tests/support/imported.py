"""Servers that are only known from a source, as rows: what an import leaves behind."""

from __future__ import annotations

from typing import Any

from catalog.formats.normal import Entry, Package, Remote, ToolClaim, Transport
from catalog.models import Server, ServerVersion, Tool
from core import clock
from core.ids import uuid7


def mail_entry(**fields: Any) -> Entry:
    """A manifest with a package, an address, a tool, a picture and links."""
    given: dict[str, Any] = {
        "name": "io.example.mail/mail",
        "format": "server.json",
        "title": "Mail",
        "description": "Reads and sends mail.",
        "version": "1.2.0",
        "packages": (Package("npm", "@example/mail", Transport("stdio"), "1.2.0"),),
        "remotes": (Remote("streamable-http", "https://mail.example/mcp"),),
        "tools": (ToolClaim("send_mail", description="Sends a mail."),),
    }
    return Entry(**given | fields)


def make_imported(slug: str, entry: Entry | None = None, **fields: Any) -> Server:
    """The caller has opened the platform's scope."""
    entry = entry or mail_entry()
    now = clock.now()
    given: dict[str, Any] = {
        "name": entry.title or entry.name,
        "registry_name": entry.registry_name,
        "summary": entry.description[:300],
        "description": entry.description,
        "visibility": "public",
        "status": "listed",
        "origin": "imported",
        "auth_mode": "",
        "required_trust": "",
        "source_id": uuid7(),
        "source_name": "Example registry",
        "source_kind": "official",
        "source_trust": "community",
        "package_types": list(entry.package_types),
        "tool_count": len(entry.tools) or None,
        "content_updated_at": now,
    }
    server = Server.objects.create(slug=slug, **given | fields)
    add_version(server, entry)
    return server


def add_version(server: Server, entry: Entry) -> ServerVersion:
    version = ServerVersion.objects.create(
        id=uuid7(),
        server=server,
        version=entry.version,
        inventory_digest=uuid7().hex.ljust(64, "0"),
        tool_count=len(entry.tools) or None,
        manifest=entry.to_dict(),
        created_at=clock.now(),
        is_latest=True,
    )
    for position, claim in enumerate(entry.tools):
        Tool.objects.create(
            id=uuid7(),
            version=version,
            position=position,
            name=claim.name,
            description=claim.description,
            definition=claim.definition(),
            definition_digest="0" * 64,
            required_trust=claim.required_trust or "low",
            side_effect=claim.side_effect,
            seen="declared",
        )
    server.current_version = version
    server.save(update_fields=["current_version"])
    return version
