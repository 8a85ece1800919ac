"""Images in a container registry (the registry's HTTP API v2), and Docker's `server.yaml` catalogs.

An image is a server when its label `io.modelcontextprotocol.server.name` says so. Addresses: a registry
(`https://registry.example`), one repository of it (`https://registry.example/team/image`), or a catalog file (`….yaml`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from catalog.formats.normal import REGISTRY_NAME, CodeRepository, Entry, Package, Problem, Transport
from core.egress import DEFAULT_PORTS
from core.errors import MarketplaceError
from repositories.adapters import addresses, documents
from repositories.adapters.fetching import Fetcher, Reply, place
from repositories.adapters.http_index import read_document
from repositories.adapters.registry import Batch, Reading
from repositories.errors import SourceError, SourceLaterError, SourceRefusedError

NAME_LABEL = "io.modelcontextprotocol.server.name"
PAGE = 5
IMAGES_MAX = 5000
TAGS_MAX = 10
_TAGS_ASKED = 1000
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_SEMVER = re.compile(r"v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?([-+].*)?\Z")


class Docker:
    kind = "docker"
    label = "Container registry"
    hint = "A registry (https://registry.example), one image of it (…/team/image), or a catalog file (….yaml)."
    switch = "enable_docker_repositories"
    platform_only = False
    incremental = False
    pause_s = 0

    def check_url(self, url: str, roots: tuple[Path, ...]) -> str:
        return addresses.web(url)

    def read(self, reading: Reading) -> Iterator[Batch]:
        if reading.url.lower().endswith(documents.SUFFIXES):
            yield from read_document(reading)
            return
        registry = _Registry(reading)
        path = "/".join(addresses.segments(reading.url))
        if path and path != "v2":
            entries, problems = registry.image(path)
            yield Batch(tuple(entries), tuple(problems), certain=registry.certain)
            return
        yield from _catalog(registry, reading.cursor)


def _catalog(registry: _Registry, cursor: str) -> Iterator[Batch]:
    """The list of repositories, page by page; the cursor is the last repository that was kept."""
    last, count = cursor, 0
    while True:
        names, is_more = registry.names(last)
        entries: list[Entry] = []
        problems: list[Problem] = []
        registry.certain = True
        for name in names:
            found, met = registry.image(name)
            entries += found
            problems += met
        count += len(names)
        following = names[-1] if names and is_more else ""
        if following and following <= last and last:
            problems.append(Problem("_catalog", following, "", "the list of repositories goes in circles"))
            registry.certain, following = False, ""
        if following and count >= IMAGES_MAX:
            problems.append(Problem("_catalog", "", "", f"only {IMAGES_MAX} images are read"))
            registry.certain, following = False, ""
        yield Batch(tuple(entries), tuple(problems), following, certain=registry.certain)
        if not following:
            return
        last = following


class _Registry:
    """Questions to one registry. Tokens are asked for where the registry's challenge says, once per scope."""

    def __init__(self, reading: Reading) -> None:
        self._fetcher: Fetcher = reading.fetcher
        self._base = addresses.origin(reading.url)
        self._tokens: dict[str, str] = {}
        self.certain = True

    def names(self, last: str) -> tuple[list[str], bool]:
        """A page of repositories after one, and whether more follow."""
        query = {"n": str(PAGE), **({"last": last} if last else {})}
        reply = self._get(f"/v2/_catalog?{urlencode(query)}", "registry:catalog:*")
        if reply.status != 200:
            raise SourceRefusedError(
                f"{place(self._base)} does not list its images.", next_step="Give the address of one image instead."
            )
        answer = _mapping(reply)
        names = [name for name in answer.get("repositories") or [] if isinstance(name, str) and _REPOSITORY.match(name)]
        return names, 'rel="next"' in reply.headers.get("link", "")

    def image(self, name: str) -> tuple[list[Entry], list[Problem]]:
        """The versions of one image that say they are servers."""
        entries: list[Entry] = []
        problems: list[Problem] = []
        try:
            reply = self._get(f"/v2/{quote(name)}/tags/list?n={_TAGS_ASKED}", f"repository:{name}:pull")
            tags = _mapping(reply).get("tags") if reply.status == 200 else None
        except SourceLaterError:
            raise
        except MarketplaceError as error:
            self.certain = False
            return [], [Problem(name, "", "tags", error.message)]
        newest = sorted(
            (tag for tag in tags or [] if isinstance(tag, str) and _TAG.match(tag)), key=_order, reverse=True
        )
        for tag in newest[:TAGS_MAX]:
            try:
                entry = self._entry(name, tag, is_latest=not entries)
            except SourceLaterError:
                raise
            except MarketplaceError as error:
                self.certain = False
                problems.append(Problem(name, tag, "", error.message))
                continue
            if isinstance(entry, Problem):
                problems.append(entry)
            elif entry is not None:
                entries.append(entry)
            elif tag == newest[0]:
                # The newest says that it is no server: older ones need not be asked.
                break
        return entries, problems

    def _entry(self, name: str, tag: str, *, is_latest: bool) -> Entry | Problem | None:
        config = self._config(name, tag)
        settings = config.get("config")
        labels = settings.get("Labels") if isinstance(settings, dict) else None
        labels = (
            {key: text for key, text in labels.items() if isinstance(text, str)} if isinstance(labels, dict) else {}
        )
        server = labels.get(NAME_LABEL, "").strip()
        if not server:
            return None
        if not REGISTRY_NAME.match(server) or len(server) > 200:
            return Problem(name, tag, NAME_LABEL, f"{server[:60]!r} is no server name (namespace/name)")
        return self._made(name, tag, server, labels, config, is_latest=is_latest)

    def _made(
        self, name: str, tag: str, server: str, labels: dict[str, str], config: dict[str, Any], *, is_latest: bool
    ) -> Entry:
        label = {key.removeprefix("org.opencontainers.image."): text[:2000] for key, text in labels.items()}
        source = label.get("source", "")
        package = Package("oci", f"{self._host}/{name}:{tag}", Transport("stdio"))
        return Entry(
            name=server,
            format="oci-image",
            title=label.get("title", "")[:100],
            description=label.get("description", ""),
            version=label.get("version", "")[:100] or tag,
            website_url=_web(label.get("url", "")),
            documentation_url=_web(label.get("documentation", "")),
            repository=CodeRepository(_web(source), "github" if "github.com/" in source else "")
            if _web(source)
            else None,
            license=label.get("licenses", "")[:100],
            publisher=label.get("vendor", "")[:100],
            packages=(package,),
            published_at=_moment(config.get("created")),
            updated_at=_moment(config.get("created")),
            is_latest=is_latest,
        )

    @property
    def _host(self) -> str:
        parts = urlsplit(self._base)
        is_default = parts.port in (None, DEFAULT_PORTS[parts.scheme])
        host = parts.hostname or ""
        return ("docker.io" if host == "registry-1.docker.io" else host) if is_default else f"{host}:{parts.port}"

    def _config(self, name: str, tag: str) -> dict[str, Any]:
        """The image's configuration; of an image for several platforms that of linux/amd64, else of the first."""
        scope = f"repository:{name}:pull"
        manifest = _mapping(self._get(f"/v2/{quote(name)}/manifests/{quote(tag)}", scope, _MANIFESTS))
        choices = manifest.get("manifests")
        if isinstance(choices, list):
            chosen = _digest(_platform(choices))
            manifest = _mapping(self._get(f"/v2/{quote(name)}/manifests/{chosen}", scope, _MANIFESTS))
        blob = _digest(manifest.get("config"))
        return _mapping(self._get(f"/v2/{quote(name)}/blobs/{blob}", scope, "*/*"))

    def _get(self, path: str, scope: str, accept: str = "application/json") -> Reply:
        url = urljoin(self._base, path)
        token = self._tokens.get(scope)
        sent = f"Bearer {token}" if token else None
        reply = self._fetcher.get(
            url, headers={"accept": accept}, authorization=sent, passes=frozenset({401, 403, 405})
        )
        if reply.status == 401 and token is None:
            self._tokens[scope] = self._token(reply, scope)
            return self._get(path, scope, accept)
        if reply.status == 401:
            raise SourceRefusedError(f"{place(url)} refuses these credentials.")
        return reply

    def _token(self, reply: Reply, scope: str) -> str:
        """Follow the challenge (`WWW-Authenticate: Bearer realm=…`). The source's own credential goes to the realm if the
        realm is on TLS or of the same origin: the registry itself has named it."""
        challenge = reply.headers.get("www-authenticate", "")
        values = dict(_CHALLENGE.findall(challenge))
        realm = values.get("realm", "")
        if not challenge.lower().startswith("bearer") or not realm:
            raise SourceRefusedError(f"{place(self._base)} asks for credentials that this source does not have.")
        is_safe = realm.startswith("https://") or addresses.origin(realm) == self._base
        query = urlencode({"service": values.get("service", ""), "scope": values.get("scope") or scope})
        answer = self._fetcher.get(
            f"{realm}{'&' if '?' in realm else '?'}{query}",
            authorization=self._fetcher.authorization_for(self._base) if is_safe else "",
        ).json()
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise SourceRefusedError(f"{place(realm)} gave no token for {scope}.")
        return token


def _mapping(reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        raise SourceError(f"{place(reply.url)} answered with HTTP {reply.status}.")
    found = reply.json()
    if not isinstance(found, dict):
        raise SourceError(f"{place(reply.url)} did not answer with an object.")
    return found


def _platform(choices: list[Any]) -> Any:
    known = [each for each in choices if isinstance(each, dict) and isinstance(each.get("platform"), dict)]
    wanted = [e for e in known if (e["platform"].get("os"), e["platform"].get("architecture")) == ("linux", "amd64")]
    return next(iter([*wanted, *known, *choices]), None)


def _digest(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise SourceError("A manifest names no usable digest.")
    return digest


def _order(tag: str) -> tuple[bool, tuple[int, ...], bool, str]:
    """Versions after anything else, by number; a pre-release before its release."""
    found = _SEMVER.match(tag)
    if found is None:
        return (False, (), False, tag)
    numbers = tuple(int(part or 0) for part in found.groups()[:3])
    return (True, numbers, not (found[4] or "").startswith("-"), tag)


def _web(text: str) -> str:
    return text if text.startswith(("https://", "http://")) else ""


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo else None


ADAPTER = Docker()
