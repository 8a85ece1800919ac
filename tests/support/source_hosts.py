"""Hosts that sources are read from, as real HTTP servers: documents at paths, a GitHub, a container registry."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.support.gateways import serving

JSON = dict[str, Any]
NAME_LABEL = "io.modelcontextprotocol.server.name"


@dataclass
class Asked:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Answer:
    status: int = 200
    body: Any = b""  # bytes as they are, anything else as JSON
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Host:
    """`answers` hold what is given for paths; `answer` may be replaced by a subclass. `first` are given before, once each."""

    answers: dict[str, Answer] = field(default_factory=dict)
    first: list[Answer] = field(default_factory=list)
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [each.path for each in self.asked]

    def answer(self, asked: Asked) -> Answer:
        found = self.answers.get(asked.path)
        if found is None:
            return Answer(404, {"message": "Not Found"})
        etag = found.headers.get("etag")
        if etag and asked.headers.get("if-none-match") == etag:
            return Answer(304, b"", {"etag": etag})
        return found

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        asked = Asked(
            unquote(scope["raw_path"].decode().partition("?")[0]), query, headers | {"body": body.decode("latin-1")}
        )
        self.asked.append(asked)
        given = self.first.pop(0) if self.first else self.answer(asked)
        data = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
        lines = [(name.encode(), value.encode()) for name, value in given.headers.items()]
        lines.append((b"content-length", str(len(data)).encode()))
        await send({"type": "http.response.start", "status": given.status, "headers": lines})
        await send({"type": "http.response.body", "body": b"" if given.status == 304 else data})


@dataclass
class FakeGitHub(Host):
    """GitHub Enterprise Server's API below `/api/v3`: releases with assets, and the contents of one repository."""

    owner: str = "acme"
    name: str = "servers"
    token: str = ""
    files: dict[str, bytes] = field(default_factory=dict)  # by path, of the branch that is asked for
    releases: list[JSON] = field(default_factory=list)
    assets: dict[int, bytes] = field(default_factory=dict)
    elsewhere: str = ""  # when set, assets lie at another host, and this one redirects to it

    def release(self, tag: str, **assets: bytes) -> None:
        """Publish a release; an asset is named by its keyword, whose last underscore stands for the dot."""
        rows = []
        for keyword, content in assets.items():
            number = len(self.assets) + 1
            self.assets[number] = content
            name = ".".join(keyword.rsplit("_", 1))
            rows.append({"id": number, "name": name, "browser_download_url": f"{self.url}/download/{tag}/{name}"})
        self.releases.insert(0, {"tag_name": tag, "draft": False, "assets": rows})

    def answer(self, asked: Asked) -> Answer:
        base = f"/api/v3/repos/{self.owner}/{self.name}"
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(404, {"message": "Not Found"})
        if asked.path == f"{base}/releases":
            start = (int(asked.query["page"]) - 1) * int(asked.query["per_page"])
            return Answer(200, self.releases[start : start + int(asked.query["per_page"])])
        if asked.path.startswith(f"{base}/releases/assets/"):
            number = int(asked.path.rpartition("/")[2])
            if self.elsewhere:
                return Answer(302, b"", {"location": f"{self.elsewhere}/asset/{number}"})
            return Answer(200, self.assets[number])
        if asked.path.startswith(f"{base}/contents"):
            return self._contents(asked.path.removeprefix(f"{base}/contents").strip("/"))
        return Answer(404, {"message": "Not Found"})

    def _contents(self, path: str) -> Answer:
        if path in self.files:
            return Answer(200, self.files[path])
        before = f"{path}/" if path else ""
        below = [each.removeprefix(before) for each in self.files if each.startswith(before)]
        if not below and path:
            return Answer(404, {"message": "Not Found"})
        names = sorted({each.partition("/")[0] for each in below})
        return Answer(200, [self._item(before + name) for name in names])

    def _item(self, path: str) -> JSON:
        return {"name": path.rpartition("/")[2], "path": path, "type": "file" if path in self.files else "dir"}


@dataclass
class FakeRegistry(Host):
    """A container registry (API v2). With `token`, every request needs one, which is given out against `user:password`."""

    images: dict[str, dict[str, JSON]] = field(default_factory=dict)  # name → tag → labels
    user: str = ""
    password: str = ""
    blobs: dict[str, JSON] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # images whose tags cannot be had

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            pair = b64encode(f"{self.user}:{self.password}".encode()).decode()
            if asked.headers.get("authorization") != f"Basic {pair}":
                return Answer(401, {})
            return Answer(200, {"token": f"for-{asked.query['scope']}"})
        if self.user and not asked.headers.get("authorization", "").startswith("Bearer for-"):
            realm = f'Bearer realm="{self.url}/token",service="fake",scope="{_scope(asked.path)}"'
            return Answer(401, {}, {"www-authenticate": realm})
        return self._answer(asked)

    def _answer(self, asked: Asked) -> Answer:
        match asked.path.strip("/").split("/"):
            case ["v2", "_catalog"]:
                return self._catalog(asked.query)
            case ["v2", *name, "tags", "list"] if "/".join(name) in self.images:
                if "/".join(name) in self.broken:
                    return Answer(500, {})
                return Answer(200, {"name": "/".join(name), "tags": list(self.images["/".join(name)])})
            case ["v2", *name, "manifests", reference]:
                return self._manifest("/".join(name), reference)
            case ["v2", *_, "blobs", digest] if digest in self.blobs:
                return Answer(200, self.blobs[digest])
        return Answer(404, {})

    def _catalog(self, query: dict[str, str]) -> Answer:
        names = sorted(name for name in self.images if name > query.get("last", ""))
        page = names[: int(query["n"])]
        more = {"link": '</v2/_catalog>; rel="next"'} if len(page) < len(names) else {}
        return Answer(200, {"repositories": page}, more)

    def _manifest(self, name: str, reference: str) -> Answer:
        if reference in self.blobs:
            return Answer(200, self.blobs[reference])
        labels = self.images.get(name, {}).get(reference)
        if labels is None:
            return Answer(404, {})
        config = self._keep({"config": {"Labels": labels}, "created": "2026-03-01T10:00:00Z"})
        manifest = self._keep({"schemaVersion": 2, "config": {"digest": config}})
        other = self._keep({"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64}})
        platforms = [
            {"digest": other, "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": manifest, "platform": {"os": "linux", "architecture": "amd64"}},
        ]
        return Answer(200, {"schemaVersion": 2, "manifests": platforms})

    def _keep(self, blob: JSON) -> str:
        digest = f"sha256:{hashlib.sha256(json.dumps(blob).encode()).hexdigest()}"
        self.blobs[digest] = blob
        return digest


def _scope(path: str) -> str:
    if path.endswith("_catalog"):
        return "registry:catalog:*"
    name = path.removeprefix("/v2/")
    for word in ("/tags/", "/manifests/", "/blobs/"):
        name = name.partition(word)[0]
    return f"repository:{name}:pull"


@contextlib.contextmanager
def running(host: Any) -> Iterator[Any]:
    with serving(host) as port:
        host.port = port
        yield host


def document(name: str, version: str = "1.0.0", **more: Any) -> JSON:
    """A server.json."""
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": name,
        "description": f"What {name} does.",
        "version": version,
        "remotes": [{"type": "streamable-http", "url": f"https://{name.rpartition('/')[2]}.example/mcp"}],
        **more,
    }


def bundle(name: str, version: str = "1.0.0") -> bytes:
    """An MCP bundle."""
    manifest = {
        "manifest_version": "0.3",
        "name": name,
        "version": version,
        "description": f"What {name} does.",
        "author": {"name": "Somebody"},
        "server": {"type": "node", "entry_point": "index.js", "mcp_config": {"command": "node", "args": ["index.js"]}},
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("index.js", "")
    return stream.getvalue()


def replying(make: Callable[[Asked], Answer]) -> Host:
    """A host that answers by a function."""

    @dataclass
    class Made(Host):
        def answer(self, asked: Asked) -> Answer:
            return make(asked)

    return Made()
