"""By what an entry is recognised when another source lists the same server. Pure.

A key is a letter for its kind and a digest: `n` the registry name, `p` repository and package together, `u` a remote address.
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from catalog.formats.normal import Entry, Package

NAME, PACKAGE, ADDRESS = "n", "p", "u"


def keys_of(entry: Entry) -> list[str]:
    """The keys of an entry, without repeats, in one order."""
    found = [_key(NAME, entry.registry_name.lower())] if entry.registry_name else []
    repository = repository_of(entry.repository.url) if entry.repository else ""
    if repository:
        found += [
            _key(PACKAGE, f"{repository}|{_package(package)}") for package in entry.packages if package.identifier
        ]
    found += [_key(ADDRESS, address) for remote in entry.remotes if (address := address_of(remote.url))]
    return sorted(set(found))


def repository_of(url: str) -> str:
    """Host and path of a code repository without what differs between spellings: scheme, case, `.git`, a branch in the path."""
    host, path = _split(url.removeprefix("git+"))
    parts = path.removesuffix(".git").strip("/").split("/")
    return f"{host}/{'/'.join(parts[:2])}".lower() if host and len(parts) >= 2 else ""


def address_of(url: str) -> str:
    """A remote address in one spelling; blank for a template, which is another address for everybody."""
    if "{" in url:
        return ""
    host, path = _split(url)
    return f"{host}{path.rstrip('/')}" if host else ""


def _package(package: Package) -> str:
    identifier = package.identifier
    if package.registry_type == "oci":
        identifier = identifier.removeprefix("docker.io/").partition("@")[0]
        head, _, last = identifier.rpartition("/")
        identifier = f"{head}/{last.partition(':')[0]}"
    return f"{package.registry_type}:{identifier.lower()}"


def _split(url: str) -> tuple[str, str]:
    """Host with port, and path with query."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return "", ""
    host = parts.netloc.rpartition("@")[2].lower().removeprefix("www.")
    return host, parts.path + (f"?{parts.query}" if parts.query else "")


def _key(kind: str, text: str) -> str:
    return kind + hashlib.sha256(text.encode()).hexdigest()[:40]
