"""How things of many servers are called at one endpoint: `<server>__<name>`, and URIs as `mcp://<server>/<uri>`.

A name that would not fit the protocol's rule (1 to 128 of `[A-Za-z0-9_.-]`), or that could be read as another server's, is
shortened and ends in a mark with a digest of server and name. No other name may end so, therefore no two can be the same.
"""

from __future__ import annotations

import base64
import hashlib
import re

MAX_LENGTH = 128
OWN_PREFIX = "marketplace_"
SEPARATOR = "__"

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+\Z")
_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")
_MARKED = re.compile(r"__x[a-z2-7]{16}\Z")
_URI = "mcp://"


def expose(slug: str, name: str) -> str:
    """The name at this endpoint of what a server calls `name`; always the same for the same two."""
    full = f"{slug}{SEPARATOR}{name}"
    if len(full) <= MAX_LENGTH and SEPARATOR not in slug and _PLAIN.match(name) and not _MARKED.search(full):
        return full
    digest = hashlib.sha256(slug.encode() + b"\x00" + name.encode("utf-8", "surrogatepass")).digest()[:10]
    mark = f"{SEPARATOR}x{base64.b32encode(digest).decode().lower()}"
    readable = _OTHER.sub("_", full)[: MAX_LENGTH - len(mark)]
    return f"{readable}{mark}"


def is_marked(exposed: str) -> bool:
    """Whether the name was shortened: it then has to be looked up among the names of the servers."""
    return _MARKED.search(exposed) is not None


def split(exposed: str) -> tuple[str, str] | None:
    """Server and name of a name that was not shortened; None for what is no name of this endpoint."""
    slug, separator, name = exposed.partition(SEPARATOR)
    return (slug, name) if slug and separator and name and not is_marked(exposed) else None


def expose_uri(slug: str, uri: str) -> str:
    """A resource's URI, or the template of one, at this endpoint."""
    return f"{_URI}{slug}/{uri}"


def split_uri(exposed: str) -> tuple[str, str] | None:
    """Server and URI, or None when the URI is none of this endpoint."""
    if not exposed.startswith(_URI):
        return None
    slug, slash, uri = exposed[len(_URI) :].partition("/")
    return (slug, uri) if slug and slash and uri else None
