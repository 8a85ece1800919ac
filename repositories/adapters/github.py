"""A repository on GitHub, or on a GitHub of one's own: releases with `server.json` or `.mcpb` files, and files in the tree.

Addresses: `https://github.com/<owner>/<name>`, optionally `/tree/<ref>/<folder>` for a folder of listings. github.com has its
API at api.github.com; any other host at its own `/api/v3`, as GitHub Enterprise Server does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from catalog.formats.normal import CodeRepository, Entry, Problem
from core.errors import MarketplaceError
from repositories.adapters import addresses, documents
from repositories.adapters.fetching import Reply, place
from repositories.adapters.registry import Batch, Reading
from repositories.errors import SourceInvalidError, SourceLaterError, SourceRefusedError

RELEASES_PER_PAGE = 20
RELEASE_PAGES_MAX = 5
FILES_MAX = 500
_ROOT_FILES = ("server.json", "manifest.json", "mcp.json", "mcpserver.yaml", "mcpserver.yml", "server.yaml")
_FOLDERS = (".mcp",)
# Names that other programs use for files of their own.
_SHARED_NAMES = frozenset({"manifest.json", "mcp.json"})
_RAW = {"accept": "application/vnd.github.raw+json"}
_API = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
_FILES = "files"


@dataclass(frozen=True, slots=True)
class Place:
    """A repository and what of it is read."""

    origin: str
    api: str
    owner: str
    name: str
    ref: str = ""
    folder: str = ""

    @property
    def repo(self) -> str:
        return f"{self.api}/repos/{quote(self.owner)}/{quote(self.name)}"

    @property
    def url(self) -> str:
        return f"{self.origin}/{self.owner}/{self.name}"


class GitHub:
    kind = "github"
    label = "GitHub"
    hint = "https://github.com/<owner>/<name>, with /tree/<branch>/<folder> for one folder; or the same on your own GitHub."
    switch = "enable_github_repositories"
    platform_only = False
    incremental = False
    pause_s = 0

    def check_url(self, url: str, roots: tuple[Path, ...]) -> str:
        url = addresses.web(url).removesuffix(".git")
        place_of(url)
        return url

    def read(self, reading: Reading) -> Iterator[Batch]:
        where = place_of(reading.url)
        api = _Api(reading, where)
        if not where.folder:
            begin = int(reading.cursor) if reading.cursor.isdecimal() else 1
            pages = () if reading.cursor == _FILES else range(begin, RELEASE_PAGES_MAX + 1)
            for page in pages:
                releases = api.list(f"releases?per_page={RELEASES_PER_PAGE}&page={page}")
                is_last = len(releases) < RELEASES_PER_PAGE or page == RELEASE_PAGES_MAX
                yield api.batch(_assets(api, releases), _FILES if is_last else str(page + 1))
                if is_last:
                    break
        yield api.batch(_files(api), "")


def place_of(url: str) -> Place:
    """Raises SourceInvalidError for what is no address of a repository."""
    parts = addresses.segments(url)
    if len(parts) < 2 or (len(parts) > 2 and (parts[2] != "tree" or len(parts) < 4)):
        raise SourceInvalidError("This is not the address of a GitHub repository.", next_step=GitHub.hint, field="url")
    origin = addresses.origin(url)
    is_public = (urlsplit(url).hostname or "").lower() in {"github.com", "www.github.com"}
    api = "https://api.github.com" if is_public else f"{origin}/api/v3"
    ref = parts[3] if len(parts) > 3 else ""
    return Place(origin, api, parts[0], parts[1], ref, "/".join(parts[4:]) or ("." if ref else ""))


class _Api:
    """Questions to the API; what cannot be read becomes a problem, what cannot be reached an error."""

    def __init__(self, reading: Reading, where: Place) -> None:
        self._fetcher, self.where = reading.fetcher, where
        self.problems: list[Problem] = []
        self.certain = True

    def get(self, path: str, headers: dict[str, str] = _API) -> Reply:
        url = path if path.startswith("http") else f"{self.where.repo}/{path}"
        # The API of github.com is another origin than its pages: the source's credential is meant for it.
        return self._fetcher.get(url, headers=headers, authorization=self._fetcher.authorization_for(self.where.origin))

    def list(self, path: str) -> list[dict[str, Any]]:
        reply = self.get(path)
        if reply.status == 404:
            raise SourceRefusedError(
                f"There is no repository {self.where.owner}/{self.where.name} for these credentials."
            )
        found = reply.json()
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    def raw(self, path: str, headers: dict[str, str], name: str) -> bytes | None:
        """A file, or None with a problem: one file that cannot be had does not end the reading."""
        try:
            reply = self.get(path, headers)
        except SourceLaterError:
            raise
        except MarketplaceError as error:
            self.problems.append(Problem(name, "", "", error.message))
            self.certain = False
            return None
        return reply.body if reply.status == 200 else None

    def batch(self, found: Iterator[documents.type_found], cursor: str) -> Batch:
        entries: list[Entry] = []
        for read, problems in found:
            entries += [_with_origin(entry, self.where) for entry in read]
            self.problems += problems
        batch = Batch(tuple(entries), tuple(self.problems), cursor, certain=self.certain)
        self.problems, self.certain = [], True
        return batch


def _assets(api: _Api, releases: list[dict[str, Any]]) -> Iterator[documents.type_found]:
    for release in releases:
        if release.get("draft"):
            continue
        tag = str(release.get("tag_name", ""))[:100]
        for asset in release.get("assets") or []:
            name = str(asset.get("name", "")) if isinstance(asset, dict) else ""
            if name.lower() not in {"server.json", "manifest.json"} and not name.lower().endswith(documents.BUNDLES):
                continue
            body = api.raw(f"releases/assets/{asset.get('id')}", {**_API, "accept": "application/octet-stream"}, name)
            if body is not None:
                yield documents.read(body, f"{tag}/{name}", identifier=str(asset.get("browser_download_url", "")))


def _files(api: _Api) -> Iterator[documents.type_found]:
    where = api.where
    query = f"?ref={quote(where.ref, safe='')}" if where.ref else ""
    if where.folder:
        folder = "" if where.folder == "." else where.folder
        paths = _listed(api, folder, query)
        if not paths:
            raise SourceRefusedError(f"There are no listings in {place(where.url)}/{folder} at {where.ref}.")
    else:
        tops = {
            item["name"]: item.get("type")
            for item in api.list(f"contents/{query}")
            if isinstance(item.get("name"), str)
        }
        paths = [name for name in _ROOT_FILES if tops.get(name) == "file"]
        paths += [path for folder in _FOLDERS if tops.get(folder) == "dir" for path in _listed(api, folder, query)]
    for path in paths[:FILES_MAX]:
        body = api.raw(f"contents/{quote(path)}{query}", {**_API, **_RAW}, path)
        if body is not None:
            yield documents.read(body, path, optional=path in _SHARED_NAMES)


def _listed(api: _Api, folder: str, query: str) -> list[str]:
    reply = api.get(f"contents/{quote(folder)}{query}")
    found = reply.json() if reply.status == 200 else []
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return sorted(
        item["path"]
        for item in items
        if item.get("type") == "file"
        and isinstance(item.get("path"), str)
        and item["path"].lower().endswith((*documents.SUFFIXES, *documents.BUNDLES))
    )


def _with_origin(entry: Entry, where: Place) -> Entry:
    """Where the listing was found is where its code is, if it says nothing else."""
    if entry.repository is not None:
        return entry
    return replace(entry, repository=CodeRepository(where.url, source="github"))


ADAPTER = GitHub()
