"""Listings as strangers may write them: one whose every text attacks, one of great length, one with a history, a private one."""

from __future__ import annotations

from catalog.formats.normal import Package, Remote, ToolClaim, Transport
from tenants.context import platform_scope
from tenants.models import Tenant
from tests.support.imported import add_version, mail_entry, make_imported
from tests.support.xss import CORPUS


def stock() -> None:
    """Commit them to the current database; the private one belongs to acme."""
    with platform_scope():
        _attacker()
        make_imported(
            "long",
            mail_entry(name="io.example/long", title="W" * 200, description="x" * 3000),
            publisher_name="P" * 190,
        )
        mail = make_imported("mail")
        tools = (ToolClaim("send_mail", description="Sends mail to many."), ToolClaim("read_mail"))
        add_version(mail, mail_entry(version="1.3.0", tools=tools))
        make_imported(
            "inside",
            mail_entry(name="corp.acme/inside", title="Inside tool of acme", tools=(ToolClaim("inside_only"),)),
            visibility="org",
            owner_tenant=Tenant.objects.get(slug="acme"),
        )


def _attacker() -> None:
    texts = [text.replace("\x00", "") for text in CORPUS]
    entry = mail_entry(
        name="io.evil/x",
        title=texts[0],
        description="\n\n".join(texts),
        version=texts[23][:80],
        tools=tuple(_tool(number, text) for number, text in enumerate(texts)),
        screenshots=tuple(texts),
        requirements={text[:50]: text for text in texts},
        packages=tuple(Package("npm", text, Transport("stdio")) for text in texts[:8]),
        remotes=(Remote("streamable-http", "https://evil.example/" + texts[0]),),
    )
    make_imported(
        "evil",
        entry,
        publisher_name=texts[3][:190],
        tags=[text[:40] for text in texts[:12]],
        website_url="javascript:alert(1)",
        source_name=texts[2][:90],
        license=texts[5][:90],
    )


def _tool(number: int, text: str) -> ToolClaim:
    properties = {text[:60]: {"type": "string", "default": text}}
    return ToolClaim(f"tool_{number}", description=text, input_schema={"type": "object", "properties": properties})
