"""The overview of a server: what it is, who stands behind it and how that is known, what it needs, which sources know it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from catalog.choices import ClaimState, Origin, ProofMethod
from catalog.formats.normal import Entry
from catalog.models import ListingClaim, Server, ServerVersion
from catalog.selectors import detail, health

SCREENSHOTS_MAX = 12
REQUIREMENTS_MAX = 20
_WORD_LENGTH = 200
_PROOFS: dict[str, str] = {
    ProofMethod.DNS: "proved by a TXT record that it holds {claim.domain}",
    ProofMethod.FILE: "proved by a file on its web server that it holds {claim.domain}",
    ProofMethod.EARLIER: "proved with another listing that it holds {claim.domain}",
    ProofMethod.OPERATOR: "is its publisher, confirmed by an operator",
}


def build(server: Server) -> dict[str, Any]:
    version = server.current_version
    entry = manifest_of(version)
    return {
        "effects": [
            {"effect": effect, "trust": trust, "number": number} for effect, trust, number in detail.count_needs(server)
        ],
        "version": version,
        "about": version.server_info if version else {},
        "tag_urls": [(tag, "/?" + urlencode({"q": tag})) for tag in server.tags],
        "links": _links(server),
        "proof": _proof(server),
        "sources": detail.list_sources(server) if server.origin == Origin.IMPORTED else [],
        "screenshots": [url for url in (entry.screenshots if entry else ()) if is_web(url)][:SCREENSHOTS_MAX],
        "requirements": _requirements(entry) if entry else [],
        "dependencies": _dependencies(entry) if entry else [],
        "measured": health.of_server(server),
        "settings_schema": entry.configuration_schema if entry else None,
    }


def manifest_of(version: ServerVersion | None) -> Entry | None:
    return Entry.from_dict(version.manifest) if version and version.manifest else None


def is_web(url: str) -> bool:
    """Whether an address that a stranger gave may be a link."""
    return urlsplit(url).scheme in {"http", "https"} and bool(urlsplit(url).netloc)


def _links(server: Server) -> list[tuple[str, str]]:
    given = (
        ("Website", server.website_url),
        ("Documentation", server.documentation_url),
        ("Source code", server.repository_url),
    )
    return [(label, url) for label, url in given if url and is_web(url)]


def _proof(server: Server) -> tuple[bool, str]:
    """Whether it is known who publishes the server, and how."""
    claim = ListingClaim.objects.select_related("tenant").filter(server=server, state=ClaimState.PROVEN).first()
    if claim is not None:
        return True, f"{claim.tenant.name} {_PROOFS[claim.method].format(claim=claim)}, {claim.proven_at:%-d %B %Y}"
    if server.provider is not None:
        if server.provider.verified_at is not None:
            return True, f"verified by the operator on {server.provider.verified_at:%-d %B %Y}"
        return False, "an organisation here, not verified"
    if server.namespace_proven:
        return True, "the source proves that the publisher holds the namespace"
    if server.is_verified:
        return True, "verified by the operator"
    return False, "a claim of the source, not proven"


def _requirements(entry: Entry) -> list[tuple[str, str]]:
    """What the user's machine needs, in words."""
    found = [(str(name)[:60].replace("_", " "), _words(value)) for name, value in entry.requirements.items()]
    return [(name, words) for name, words in found if words][:REQUIREMENTS_MAX]


def _dependencies(entry: Entry) -> list[dict[str, str]]:
    """The packages that an installation brings."""
    return [
        {
            "kind": package.registry_type[:_WORD_LENGTH],
            "name": package.identifier[:_WORD_LENGTH],
            "version": package.version[:60],
            "digest": package.file_sha256[:64],
        }
        for package in entry.packages[:REQUIREMENTS_MAX]
    ]


def _words(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(each) for each in value)[:_WORD_LENGTH]
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(each)}".strip() for key, each in value.items())[:_WORD_LENGTH]
    return "" if value is None else str(value)[:_WORD_LENGTH]
