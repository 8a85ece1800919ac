"""Addresses of sources as people write them."""

from __future__ import annotations

from urllib.parse import urlsplit

from core.egress import EgressRefusedError, normalise_host
from repositories.errors import SourceInvalidError

URL_MAX = 2000


def web(url: str) -> str:
    """An http(s) address without user names, fragments or trailing slash. Raises SourceInvalidError."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or parts.port == 0 or len(url) > URL_MAX or not url.isprintable():
            raise _refusal("An address begins with https:// (or http://) and a host.")
        normalise_host(parts.hostname or "")
    except (ValueError, EgressRefusedError) as exc:
        raise _refusal("This is not a well-formed address.") from exc
    if "@" in parts.netloc:
        raise _refusal("An address may not carry a user name or password.", "Enter them as credentials.")
    if not url.isascii() or " " in url or "\\" in url:
        raise _refusal("Write characters beyond ASCII percent-encoded.")
    return url.partition("#")[0].rstrip("/")


def segments(url: str) -> list[str]:
    """The parts of the path."""
    return [part for part in urlsplit(url).path.split("/") if part]


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _refusal(message: str, next_step: str = "Correct the address.") -> SourceInvalidError:
    return SourceInvalidError(message, next_step=next_step, field="url")
