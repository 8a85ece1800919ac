"""What a server's row says when a source's entry is what we know of it: the normal form as columns. Pure.

Texts and addresses come from strangers. Addresses that are no web addresses are left out, texts are cut to what fits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from catalog import icons
from catalog.categories import category_of
from catalog.choices import AuthMode, PackageType, SideEffect, Transport, TrustLevel
from catalog.formats.normal import Entry, Remote

URL_CHARS = 500
TAGS_MAX = 20
TAG_CHARS = 40
SLUG_CHARS = 40
# Looked up once: the class makes a list of its values each time.
_AUTH_MODES, _TRUSTS = frozenset(AuthMode.values), frozenset(TrustLevel.values)
_EFFECTS, _PACKAGES, _TRANSPORTS = (frozenset(each.values) for each in (SideEffect, PackageType, Transport))
# Last parts of names that say nothing of the server.
_EMPTY_NAMES = {"mcp", "server", "mcp-server", "servers", "api", "remote", "mcp-remote", "main", "app", "index"}


def columns(entry: Entry) -> dict[str, Any]:
    """The columns of `Server` that a source fills. What the entry does not say is blank or None, which means unknown."""
    remote = best_remote(entry)
    return {
        "name": display_name(entry),
        "summary": entry.description[:300],
        "description": entry.description,
        "category": category_of(entry.category, entry.tags),
        "tags": _tags(entry),
        "transport": _transport(entry, remote),
        "auth_mode": entry.auth_mode if entry.auth_mode in _AUTH_MODES else "",
        "required_trust": entry.required_trust if entry.required_trust in _TRUSTS else "",
        "url": web_url(remote.url) if remote else "",
        "publisher_name": entry.publisher[:200],
        "website_url": web_url(entry.website_url),
        "documentation_url": web_url(entry.documentation_url),
        "repository_url": web_url(entry.repository.url) if entry.repository else "",
        "icon_url": next((url for icon in entry.icons if (url := web_url(icon.src))), ""),
        "icon_digest": _icon_digest(entry),
        "license": entry.license[:100],
        "package_types": [kind for kind in entry.package_types if kind in _PACKAGES],
        "tool_count": len(entry.tools) or None,
        "resource_count": len(entry.resources) or None,
        "prompt_count": len(entry.prompts) or None,
        "has_tasks": bool(entry.tasks),
    }


def _icon_digest(entry: Entry) -> str:
    """Of the first picture that came with the entry itself; what is elsewhere is not fetched."""
    for icon in entry.icons:
        if icons.is_inside(icon.src):
            with suppress(ValueError):  # stored by a release that took more
                return icons.from_address(icon.src).digest
    return ""


def display_name(entry: Entry) -> str:
    return (entry.title.strip() or entry.name.rpartition("/")[2] or entry.name)[:200]


def best_remote(entry: Entry) -> Remote | None:
    """The address that can be asked as it is: no template, Streamable HTTP before HTTP+SSE."""
    usable = [remote for remote in entry.remotes if "{" not in remote.url and web_url(remote.url)]
    return min(usable, key=lambda remote: remote.type != Transport.STREAMABLE_HTTP, default=None)


def web_url(text: str) -> str:
    """The text when it is an absolute http or https address that fits, else blank."""
    text = text.strip()
    if not 0 < len(text) <= URL_CHARS or not text.isprintable() or " " in text:
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc else ""


def slugs(name: str) -> Iterator[str]:
    """Names in paths for a server that has none, the nicest first; the last one is unlike any other server's."""
    namespace, _, last = name.rpartition("/")
    short = _slug(last)
    words = [word for word in namespace.split("/")[-1].split(".") if word] if namespace else []
    long = _slug("-".join([*words[-1:], last]))
    if short and short not in _EMPTY_NAMES:
        yield short
    if long and long != short:
        yield long
    mark = hashlib.sha256(name.encode()).hexdigest()
    base = (long if short in _EMPTY_NAMES else short)[: SLUG_CHARS - 9].strip("-") or "server"
    yield f"{base}-{mark[:8]}"
    yield f"server-{mark[:32]}"


def tool_columns(entry: Entry) -> Iterator[dict[str, Any]]:
    """The columns of `Tool` for what the entry declares. Silence about effects is no promise, so it needs high trust."""
    seen: set[str] = set()
    for tool in entry.tools:
        name = tool.name.strip()[:128]
        if not name or name in seen:
            continue
        seen.add(name)
        effect = tool.side_effect if tool.side_effect in _EFFECTS else ""
        trust = tool.required_trust if tool.required_trust in _TRUSTS else TrustLevel.HIGH
        yield {
            "position": len(seen) - 1,
            "name": name,
            "title": tool.title[:200],
            "description": tool.description,
            "definition": {**tool.definition(), "name": name},
            "required_trust": trust,
            "side_effect": effect,
        }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:SLUG_CHARS].strip("-")


def _tags(entry: Entry) -> list[str]:
    cut = (" ".join(tag.split())[:TAG_CHARS].strip() for tag in entry.tags)
    return list(dict.fromkeys(tag for tag in cut if tag))[:TAGS_MAX]


def _transport(entry: Entry, remote: Remote | None) -> str:
    kinds = [remote.type] if remote else []
    kinds += [each.type for each in entry.remotes]
    kinds += [package.transport.type for package in entry.packages]
    return next((kind for kind in kinds if kind in _TRANSPORTS), Transport.STDIO)
