"""What a server is called in the registry API: the name that it has in registries, or one of our own namespace.

A server of this marketplace is `<namespace>/<slug>` when it is public, else `<namespace>/<organisation>.<slug>`; slugs hold no
dot, so the two are told apart. The namespace is the host of this installation, the largest part first.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from catalog.choices import Visibility
from catalog.models import Server


@dataclass(frozen=True, slots=True)
class OwnName:
    """A name of our namespace, taken apart; `owner` is blank for public servers."""

    owner: str
    slug: str


def namespace() -> str:
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    return ".".join(reversed(host.split(".")))


def name_of(server: Server) -> str:
    if server.registry_name:
        return server.registry_name
    is_public = server.visibility == Visibility.PUBLIC or server.owner_tenant is None
    return f"{namespace()}/{server.slug if is_public else f'{server.owner_tenant.slug}.{server.slug}'}"  # type: ignore[union-attr]  # not public, so owned


def own_name(name: str) -> OwnName | None:
    """The parts of a name of our namespace; None for names of others."""
    space, slash, rest = name.partition("/")
    if not slash or space != namespace():
        return None
    owner, dot, slug = rest.rpartition(".")
    return OwnName(owner if dot else "", slug)
