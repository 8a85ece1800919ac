"""The resources that tokens may be asked for (RFC 8707): our origin, `/mcp`, and the addresses of servers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.conf import settings
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

MAX_RESOURCES = 10
_SERVER = re.compile(r"/(?:mcp/(?P<name>[a-z0-9][a-z0-9._-]{0,127})|(?P<alias>[a-z0-9][a-z0-9._-]{0,127})/mcp)\Z")
_EVERYTHING = frozenset({"", "/mcp", "/v1/invoke"})


class InvalidTargetError(OAuth2Error):
    error = "invalid_target"
    description = "The resource is not one of this marketplace."


def chosen(resources: Iterable[str]) -> list[str]:
    """The resources of a request, each once; our origin when none is named. Raises InvalidTargetError."""
    found = list(dict.fromkeys(resources))
    if len(found) > MAX_RESOURCES or not all(map(_is_ours, found)):
        raise InvalidTargetError
    return found or [settings.PUBLIC_URL]


def within(wanted: Iterable[str], granted: Iterable[str]) -> list[str]:
    """The audience of a token: what was asked for, when it was granted. Raises InvalidTargetError."""
    named, held = list(dict.fromkeys(wanted)), list(granted)
    if not named:
        return held
    chosen(named)
    if any(_path(one) in _EVERYTHING for one in held):
        return named
    allowed = {server_name(one) for one in held}
    if not all(server_name(one) in allowed for one in named if _path(one) not in _EVERYTHING):
        raise InvalidTargetError
    if any(_path(one) in _EVERYTHING for one in named):
        raise InvalidTargetError
    return named


def server_name(resource: str) -> str:
    """The name of the server whose address this is; empty for everything."""
    match = _SERVER.match(_path(resource) or "")
    return (match["name"] or match["alias"]) if match else ""


def _is_ours(resource: str) -> bool:
    path = _path(resource)
    return path is not None and (path in _EVERYTHING or _SERVER.match(path) is not None)


def _path(resource: str) -> str | None:
    base = settings.PUBLIC_URL
    if resource != base and not resource.startswith(base + "/"):
        return None
    return resource[len(base) :].rstrip("/")


def covers_everything(audiences: Iterable[str]) -> bool:
    """Whether a token of this audience is good for more than single servers."""
    return any(_path(one) in _EVERYTHING for one in audiences)
