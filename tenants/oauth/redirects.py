"""Where an authorization may lead back to: exactly a registered address, with the port of a loopback address left open.

RFC 8252, 7.3: a native application listens on a port that it gets at run time. `localhost` is treated like the addresses
because that is what most of these clients register.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError

MAX_URIS = 20
MAX_LENGTH = 2000
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z")
# Schemes that a browser runs, opens locally or sends elsewhere by itself.
_DENIED = frozenset(
    {
        "about",
        "blob",
        "data",
        "file",
        "filesystem",
        "ftp",
        "javascript",
        "mailto",
        "tel",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    }
)


def check_all(uris: Iterable[str], *, application_type: str | None = None) -> None:
    """Raises ValidationError, naming the first address that is not acceptable."""
    found = list(uris)
    if not 0 < len(found) <= MAX_URIS:
        raise ValidationError(f"Register 1 to {MAX_URIS} redirect addresses.")
    for uri in found:
        if not is_acceptable(uri, application_type):
            raise ValidationError(f"{uri[:200]!r} cannot be a redirect address.")


def is_acceptable(uri: str, application_type: str | None = None) -> bool:
    parts = _parts(uri)
    if parts is None or not _SCHEME.match(parts.scheme) or parts.scheme in _DENIED or "*" in parts.netloc:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    if application_type == "web":
        return False
    return is_loopback(uri) if parts.scheme == "http" else True


def matches(uri: str, registered: Iterable[str]) -> bool:
    """Whether the address is one of these, to the letter; a loopback address may have any port."""
    return any(uri == one or (is_loopback(one) and _portless(uri) == _portless(one)) for one in registered)


def is_loopback(uri: str) -> bool:
    parts = _parts(uri)
    return parts is not None and parts.scheme == "http" and parts.hostname in _LOOPBACK


def shown(uri: str) -> str:
    """The part of the address that tells a person who gets the answer."""
    parts = _parts(uri)
    if parts is None:
        return uri[:100]
    return parts.netloc if parts.scheme in {"http", "https"} else f"{parts.scheme}:"


def form_action(uri: str) -> str:
    """The source expression of a content policy under which a form may lead there."""
    parts = _parts(uri)
    if parts is None:
        return "'self'"
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} else f"{parts.scheme}:"


def _portless(uri: str) -> tuple[str, str | None, str, str] | None:
    parts = _parts(uri)
    return None if parts is None else (parts.scheme, parts.hostname, parts.path, parts.query)


def _parts(uri: str) -> SplitResult | None:
    """None for what two readers could take apart differently."""
    if len(uri) > MAX_LENGTH or not uri.isascii() or not uri.isprintable() or set(uri) & set(" \\\"'<>`;,{}|^"):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return None if parts.fragment or "#" in uri or "@" in parts.netloc else parts
