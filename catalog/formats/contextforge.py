"""ContextForge's catalog (IBM/mcp-context-forge, `mcp-catalog.yml`): addresses of remote servers, odd spellings included.

Of the 135 entries that it ships, 131 name no transport; then the address tells (`…/sse`). `auth_type` has six spellings of
three things. Entries at localhost describe programs that people run themselves: of those the package counts, when
`install` names one.
"""

from __future__ import annotations

from typing import Any

from catalog.formats.claims import good_name
from catalog.formats.commands import package_of, package_of_line
from catalog.formats.normal import JSON, CodeRepository, Entry, Icon, Package, Problem, Remote, Transport
from catalog.formats.reading import Node, Reading, is_on_this_machine

FORMAT = "contextforge"
_TRANSPORTS = {"sse": "sse", "streamablehttp": "streamable-http", "http": "streamable-http"}
_TRANSPORT_WORDS = {"sse": "SSE", "streamable-http": "STREAMABLEHTTP"}
_AUTH_WORDS = {"oauth": "OAuth2.1", "header": "API Key", "none": "Open"}


def read(data: Any, file: str = "") -> tuple[Entry | None, list[Problem]]:
    """One entry of `catalog_servers`."""
    reading = Reading(file)
    root = reading.begin(data, ("id", "name"))
    if root is None:
        return None, reading.problems
    if "id" in root:
        name = root.text("id", most=200).strip()
        title = root.text("name", most=200)
    else:
        name = title = good_name(root, (), most=200)
    url = root.url("url")
    if not name or not url:
        if not reading.problems:
            root.report("url" if name else "id", "is missing")
        return None, reading.problems
    return _entry(root, name, title, url), reading.problems


def read_all(data: Any, file: str = "") -> tuple[list[Entry], list[Problem]]:
    rows = data
    if isinstance(data, dict):
        rows = data.get("catalog_servers", [data] if "url" in data else None)
    if not isinstance(rows, list):
        return [], [Problem(file, "", "catalog_servers", "is missing, or no list")]
    entries: list[Entry] = []
    problems: list[Problem] = []
    for row in rows:
        entry, found = read(row, file)
        problems += found
        entries += [entry] if entry else []
    return entries, problems


def _entry(root: Node, name: str, title: str, url: str) -> Entry:
    kind = _transport(root, url)
    here = is_on_this_machine(url)
    package = _package(root, Transport(kind or "streamable-http", url=url)) if here else None
    repository, logo = root.url("repo"), root.url("logoUrl")
    needs_key = root.flag("requiresApiKey")
    if here:
        root.report("url", f"{url} is an address of whoever reads it; {_instead(package)}")
    return Entry(
        name=name,
        format=FORMAT,
        title=title,
        description=root.text("description"),
        documentation_url=root.url("documentationUrl"),
        repository=CodeRepository(repository) if repository else None,
        icons=(Icon(logo),) if logo else (),
        publisher=root.text("provider", most=200),
        category=root.text("category", most=100),
        tags=root.texts("tags", most=40),
        packages=(package,) if package else (),
        remotes=() if here or not kind else (Remote(kind, url=url),),
        auth_mode=_auth_mode(root, needs_key=needs_key),
        extra=root.rest() | ({"url": url} if here or not kind else {}) | _kept(root, "install", "requires_api_key"),
    )


def _kept(root: Node, *keys: str) -> JSON:
    return {key: root.data[key] for key in keys if root.data.get(key)}


def _instead(package: Package | None) -> str:
    return f"the package {package.identifier} was taken" if package else "the entry has no address"


def _transport(root: Node, url: str) -> str:
    given = root.text("transport", most=50)
    if not given:
        return "sse" if url.rstrip("/").endswith("/sse") else "streamable-http"
    found = _TRANSPORTS.get("".join(letter for letter in given.lower() if letter.isalnum()), "")
    if not found:
        root.report("transport", f"{given!r} is not a transport of the protocol; the address was left out")
    return found


def _auth_mode(root: Node, *, needs_key: bool) -> str:
    given = root.text("authType", most=100)
    word = given.lower()
    if "oauth" in word:
        return "oauth"
    if "api" in word or "key" in word:
        return "header"
    if word and word != "open":
        root.report("auth_type", f"{given!r} is not known; whether a credential is needed was not taken from it")
    return "header" if needs_key else "none" if word == "open" else ""


def _package(root: Node, transport: Transport) -> Package | None:
    """What `install` names: a whole command, or a package of PyPI alone."""
    line = root.text("install", most=500).strip()
    if not line:
        return None
    return package_of("uvx", [line], (), transport) if " " not in line else package_of_line(line, (), transport)


def write(entry: Entry) -> JSON:
    """The entry of `catalog_servers`. Only what has an address fits the format; raises ValueError for others."""
    own = entry.extra if entry.format == FORMAT else {}
    url = entry.remotes[0].url if entry.remotes else own.get("url", "")
    if not url:
        raise ValueError(f"{entry.name!r} has no address, which the format needs")
    document: JSON = {
        "id": entry.name,
        "name": entry.title or entry.name,
        "category": entry.category,
        "url": url,
        "auth_type": _AUTH_WORDS.get(entry.auth_mode, ""),
        "provider": entry.publisher,
        "description": entry.description,
        "requires_api_key": entry.auth_mode == "header",
        "tags": list(entry.tags),
        "transport": _TRANSPORT_WORDS[entry.remotes[0].type] if entry.remotes else "",
        "repo": entry.repository.url if entry.repository else "",
        "logo_url": entry.icons[0].src if entry.icons else "",
        "documentation_url": entry.documentation_url,
    }
    required = ("id", "name", "url", "requires_api_key")
    return {key: value for key, value in document.items() if value or key in required} | own
