"""Proving that somebody holds a domain: a text that we gave them stands in its name records or on its web server."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from core import dns, http
from core.egress import AllowList
from core.errors import MarketplaceError, UpstreamError

LABEL = "_mcp-marketplace"
FILE_PATH = "/.well-known/mcp-marketplace-verification"
_PREFIX = "mcp-marketplace-verification="
_FILE_BYTES = 4096
_DOMAIN = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])\Z")


class ProofMissingError(UpstreamError):
    code = "core.domain_proof_missing"
    default_message = "The proof was not found."
    default_next_step = "Publish it as shown, wait until it can be seen, then check again."


@dataclass(frozen=True, slots=True)
class Challenge:
    """What somebody has to publish for a domain. The token is no secret: it is worth something only where it is published."""

    domain: str
    token: str

    @property
    def text(self) -> str:
        return f"{_PREFIX}{self.token}"

    @property
    def record_name(self) -> str:
        return f"{LABEL}.{self.domain}"

    @property
    def file_url(self) -> str:
        return f"https://{self.domain}{FILE_PATH}"


def new_token() -> str:
    return secrets.token_urlsafe(24)


def normalised(text: str) -> str:
    """A domain in one spelling; blank for what is none, such as an address or a name without a dot."""
    domain = text.strip().rstrip(".").lower()
    try:
        domain = domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        return ""
    return domain if _DOMAIN.match(domain) else ""


def check_record(challenge: Challenge, servers: Sequence[str] = ()) -> None:
    """Raises ProofMissingError, saying what was found instead, and NameServerError."""
    found = dns.txt_records(challenge.record_name, servers)
    if challenge.text in {text.strip() for text in found}:
        return
    other = any(text.strip().startswith(_PREFIX) for text in found)
    raise ProofMissingError(
        f"{challenge.record_name} holds another organisation's text." if other
        else f"{challenge.record_name} holds no such TXT record."
    )  # fmt: skip


def check_file(challenge: Challenge, allow: AllowList = frozenset(), *, url: str = "") -> None:
    """Ask the domain's web server, never following a redirect and never inside: the address is checked as any other.

    Raises ProofMissingError with what was found instead. `url` replaces the address, where a test serves it.
    """
    url = url or challenge.file_url
    try:
        with http.client(allow, max_reply_bytes=_FILE_BYTES) as client:
            answer = client.get(url, headers={"accept": "text/plain"})
    except MarketplaceError as error:
        raise ProofMissingError(f"{url} could not be read: {error.message}") from error
    except httpx.HTTPError as error:
        raise ProofMissingError(f"{url} could not be read: {_words(error)}") from error
    if answer.status_code != httpx.codes.OK:
        raise ProofMissingError(f"{url} answers with HTTP {answer.status_code}.")
    lines = {line.strip() for line in answer.content.decode("utf-8", "replace").splitlines()}
    if challenge.text not in lines:
        raise ProofMissingError(f"{url} does not hold the line.")


def _words(error: httpx.HTTPError) -> str:
    return "it did not answer in time." if isinstance(error, httpx.TimeoutException) else "it could not be reached."
