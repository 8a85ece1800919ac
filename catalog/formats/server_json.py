"""The registry's `server.json`, all five generations and the snake_case seed, and the `{server, _meta}` shape of its API.

Schema and rules: modelcontextprotocol/registry `docs/reference/server-json/` (generations 2025-07-09, 09-16, 09-29, 10-17,
12-11). What changed between them: keys went from snake_case to camelCase, `registry_name`/`name` of a package became
`registryType`/`identifier`, `version_detail` became `version`, `status` and the dates moved from the document to `_meta`.
`write` gives the newest generation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from catalog import icons
from catalog.formats.normal import (
    JSON,
    REGISTRY_NAME,
    REGISTRY_NAME_LENGTH,
    Argument,
    CodeRepository,
    Entry,
    Icon,
    Input,
    Package,
    Problem,
    Remote,
    Transport,
)
from catalog.formats.reading import URL_MAX, Node, Reading, is_web_address

FORMAT = "server_json"
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
OFFICIAL = "io.modelcontextprotocol.registry/official"
PACKAGE_TYPES = ("npm", "pypi", "nuget", "cargo", "oci", "mcpb")
STATUSES = ("active", "deprecated", "deleted")
DESCRIPTION_MAX = 100
VERSION_MAX = 255

_OLD_ENVELOPES = ("x-io.modelcontextprotocol.registry", "xIo.modelcontextprotocol.registry")
_TYPES_BY_OLD_NAME = {"docker": "oci", "homebrew": "", "dxt": "mcpb"}
_REMOTE_TYPES = ("streamable-http", "sse")
_RANGE = re.compile(r"^\s*[\^~><=]|\s\|\|\s|(^|\.)[x*](\.|$)|\s-\s")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")


def read(data: Any, file: str = "") -> tuple[Entry | None, list[Problem]]:
    """One version: a bare document, or the API's `{server, _meta}`."""
    reading = Reading(file)
    envelope = reading.begin(data)
    if envelope is None:
        return None, reading.problems
    wrapped = isinstance(envelope.data.get("server"), dict)
    root = Node(reading, envelope.mapping("server"), "server") if wrapped else envelope
    name = root.text("name", needed=True).strip()
    reading.entry = name[:REGISTRY_NAME_LENGTH] or reading.entry
    version, told = _version(root), _told(envelope, root)
    if not _is_good(root, name, version):
        return None, reading.problems
    return _entry(root, name, version, told), reading.problems


def read_all(data: Any, file: str = "") -> tuple[list[Entry], list[Problem]]:
    """A page of the list API, a list of documents, or one document."""
    if isinstance(data, dict) and isinstance(data.get("servers"), list):
        data = data["servers"]
    entries: list[Entry] = []
    problems: list[Problem] = []
    for each in data if isinstance(data, list) else [data]:
        entry, found = read(each, file)
        problems += found
        if entry is not None:
            entries.append(entry)
    return entries, problems


def _version(root: Node) -> str:
    if isinstance(root.data.get("version_detail"), dict):
        return root.node("version_detail").text("version").strip()
    return root.text("version").strip()


def _is_good(root: Node, name: str, version: str) -> bool:
    before = len(root.reading.problems)
    if name and (not REGISTRY_NAME.match(name) or len(name) > REGISTRY_NAME_LENGTH):
        root.report("name", "is not of the form reverse.dns.namespace/name")
    if not version:
        root.report("version", "is missing")
    elif len(version) > VERSION_MAX or _RANGE.search(version):
        root.report("version", f"{version[:40]!r} is not one version")
    return bool(name) and len(root.reading.problems) == before


def _told(envelope: Node, root: Node) -> Node:
    """What the registry says of the version: in `_meta`, in the document's own `_meta`, or beside it in the first API."""
    for holder in (envelope, root):
        meta = holder.data.get("_meta")
        if isinstance(meta, dict) and isinstance(meta.get(OFFICIAL), dict):
            return Node(root.reading, meta[OFFICIAL], f"_meta.{OFFICIAL}")
    for key in _OLD_ENVELOPES:
        if isinstance(envelope.data.get(key), dict):
            return Node(root.reading, envelope.mapping(key), key)
    detail = root.data.get("version_detail")
    return Node(root.reading, detail if isinstance(detail, dict) else {}, "version_detail")


def _entry(root: Node, name: str, version: str, told: Node) -> Entry:
    _, latest = told.get("isLatest")
    status = (told if "status" in told else root).choice("status", among=STATUSES, default="active")
    root.get("status")
    return Entry(
        name=name,
        format=FORMAT,
        title=root.text("title", most=200),
        description=root.text("description"),
        version=version,
        website_url=root.url("websiteUrl"),
        repository=_repository(root.node("repository")),
        icons=tuple(_icons(root)),
        packages=tuple(_packages(root)),
        remotes=tuple(_remotes(root)),
        auth_mode=_auth_mode(root),
        status=status,
        status_message=told.text("statusMessage", most=500),
        published_at=told.moment("publishedAt", "releaseDate"),
        updated_at=told.moment("updatedAt"),
        is_latest=latest if isinstance(latest, bool) else None,
        extra=_extra(root),
    )


def _extra(root: Node) -> JSON:
    meta = root.data.get("_meta")
    root.get("_meta")
    extra = root.rest()
    if isinstance(meta, dict):
        own = {key: value for key, value in meta.items() if key != OFFICIAL}
        extra |= {"_meta": own} if own else {}
    return extra


def _repository(node: Node) -> CodeRepository | None:
    url = node.url("url")
    if not url:
        return None
    return CodeRepository(
        url=url,
        source=node.text("source", most=100),
        id=node.text("id", most=200),
        subfolder=node.text("subfolder", most=500),
    )


def _picture(node: Node) -> str:
    """Where the picture is, or the picture itself as an address."""
    given = node.data.get("src")
    if not isinstance(given, str) or not icons.is_inside(given):
        return node.url("src")
    try:
        return icons.from_address(node.text("src")).address
    except ValueError as error:
        node.report("src", str(error))
        return ""


def _icons(root: Node) -> Iterator[Icon]:
    for node in root.nodes("icons", count=20):
        if src := _picture(node):
            yield Icon(
                src=src,
                mime_type=node.text("mimeType", most=100),
                sizes=node.texts("sizes", most=20),
                theme=node.text("theme", most=20),
            )


def _packages(root: Node) -> Iterator[Package]:
    for node in root.nodes("packages", count=100):
        if (package := _package(node)) is not None:
            yield package


def _package(node: Node) -> Package | None:
    old = node.text("registryName", most=100).lower() if "registryType" not in node else ""
    kind = node.text("registryType", most=100).lower() or _TYPES_BY_OLD_NAME.get(old, old)
    identifier = node.text("identifier", "name", most=URL_MAX).strip()
    if kind not in PACKAGE_TYPES:
        node.report("registryType", f"{(kind or old)[:40]!r} is none of {', '.join(PACKAGE_TYPES)}")
        return None
    if not identifier:
        node.report("identifier", "is missing")
        return None
    sha256 = node.text("fileSha256", most=100)
    if sha256 and not _SHA256.match(sha256):
        node.report("fileSha256", "is not 64 hexadecimal digits")
        sha256 = ""
    return Package(
        registry_type=kind,
        identifier=identifier,
        version=node.text("version", most=VERSION_MAX),
        registry_base_url=node.text("registryBaseUrl", most=URL_MAX),
        file_sha256=sha256,
        runtime_hint=node.text("runtimeHint", most=100),
        transport=_transport(node.node("transport")),
        runtime_arguments=tuple(_arguments(node, "runtimeArguments")),
        package_arguments=tuple(_arguments(node, "packageArguments")),
        environment=tuple(_inputs(node, "environmentVariables")),
        extra=node.rest(),
    )


def _transport(node: Node) -> Transport:
    kind = node.choice("type", among=("stdio", *_REMOTE_TYPES), default="stdio")
    return Transport(
        type=kind,
        url=node.text("url", most=URL_MAX) if kind != "stdio" else "",
        headers=tuple(_inputs(node, "headers")),
        variables=tuple(_variables(node)),
        extra=node.rest() if kind != "stdio" else {},
    )


def _remotes(root: Node) -> Iterator[Remote]:
    for node in root.nodes("remotes", count=100):
        kind = node.choice("type", "transportType", "transport", among=(*_REMOTE_TYPES, "streamable"))
        url = node.text("url", most=URL_MAX).strip()
        if not kind:
            if "type" not in node:
                node.report("type", "is missing")
        elif not _is_remote_address(url):
            node.report("url", f"is no web address: {url[:80]!r}")
        else:
            yield Remote(
                type="streamable-http" if kind == "streamable" else kind,
                url=url,
                headers=tuple(_inputs(node, "headers")),
                variables=tuple(_variables(node)),
                extra=node.rest(),
            )


def _is_remote_address(url: str) -> bool:
    """A web address, in which `{variables}` may stand: `https://{tenant}.example/mcp`, or even `{base}/mcp`."""
    if url.startswith("{") and "}" in url:
        return len(url) <= URL_MAX and not any(character <= " " for character in url)
    return is_web_address(re.sub(r"\{[^{}]*\}", "1", url))


def _inputs(node: Node, key: str) -> Iterator[Input]:
    for each in node.nodes(key, count=500):
        if name := each.text("name", most=500).strip():
            yield Input(name=name, **_input(each))
        else:
            each.report("name", "is missing")


def _variables(node: Node) -> Iterator[Input]:
    for name, each in node.members("variables", count=500):
        each.get("name")
        yield Input(name=name, **_input(each))


def _input(node: Node) -> JSON:
    return {
        "description": node.text("description"),
        "is_required": node.flag("isRequired"),
        "is_secret": node.flag("isSecret"),
        "format": node.text("format", most=50),
        "value": node.text("value"),
        "default": node.text("default"),
        "placeholder": node.text("placeholder"),
        "choices": node.texts("choices", most=1_000, count=1_000),
        "variables": tuple(_variables(node)),
        "extra": node.rest(),
    }


def _arguments(node: Node, key: str) -> Iterator[Argument]:
    for each in node.nodes(key, count=500):
        name, kind = each.text("name", most=500), each.choice("type", among=("positional", "named"))
        if not kind:
            each.report("type", "is missing; it was taken from what else is given")
            kind = "named" if name else "positional"
        hint, repeated = each.text("valueHint", most=500), each.flag("isRepeated")
        if kind == "named" and not name:
            each.report("name", "is missing")
            continue
        yield Argument(type=kind, name=name, value_hint=hint, is_repeated=repeated, **_input(each))


def _auth_mode(root: Node) -> str:
    """`header` when a remote needs a secret header. Without one the document does not say: OAuth needs no declaration."""
    remotes = root.data.get("remotes")
    for remote in remotes if isinstance(remotes, list) else ():
        headers = remote.get("headers") if isinstance(remote, dict) else None
        for header in headers if isinstance(headers, list) else ():
            if isinstance(header, dict) and (header.get("isSecret") or header.get("is_secret")):
                return "header"
    return ""


def write(entry: Entry) -> JSON:
    """The document of the newest generation. An entry read from a canonical document gives that document back.

    What the schema demands and the entry has not is filled in: a description of at most 100 characters, version `0.0.0`.
    Packages of kinds that the schema does not know are left out. Raises ValueError without a registry name.
    """
    if not entry.registry_name:
        raise ValueError(f"{entry.name!r} is not a registry name")
    document: JSON = {"$schema": entry.extra.get("$schema", SCHEMA), "name": entry.name}
    document |= _given(title=entry.title[:100], description=_short(entry.description or entry.title or entry.name))
    document["version"] = entry.version or "0.0.0"
    document |= _given(
        websiteUrl=entry.website_url,
        repository=_given(**_repository_out(entry.repository)) if entry.repository else None,
        icons=[_icon_out(icon) for icon in entry.icons],
        packages=[_package_out(each) for each in entry.packages if _is_known(each)],
        remotes=[_transport_out(remote) for remote in entry.remotes],
    )
    return document | ({key: value for key, value in entry.extra.items() if key not in document} if _own(entry) else {})


def write_listed(entry: Entry) -> JSON:
    """The version as the list API gives it, with what the registry itself says of it."""
    told: JSON = {"status": entry.status or "active"}
    told |= _given(
        statusMessage=entry.status_message,
        publishedAt=stamp(entry.published_at) if entry.published_at else "",
        updatedAt=stamp(entry.updated_at) if entry.updated_at else "",
    )
    told["isLatest"] = bool(entry.is_latest)
    return {"server": write(entry), "_meta": {OFFICIAL: told}}


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, a fraction without zeros at its end, as the registry writes it."""
    text, dot, fraction = moment.astimezone(UTC).replace(tzinfo=None).isoformat().partition(".")
    fraction = fraction.rstrip("0")
    return f"{text}{dot if fraction else ''}{fraction}Z"


def _own(entry: Entry) -> bool:
    return entry.format == FORMAT


def _given(**members: Any) -> JSON:
    return {name: value for name, value in members.items() if value}


def _short(text: str) -> str:
    if len(text) <= DESCRIPTION_MAX:
        return text
    text = " ".join(text.split())
    return text if len(text) <= DESCRIPTION_MAX else f"{text[: DESCRIPTION_MAX - 1].rstrip()}…"


def _repository_out(repository: CodeRepository) -> JSON:
    source = repository.source or ("github" if "github.com/" in repository.url else "git")
    return {"url": repository.url, "source": source, "id": repository.id, "subfolder": repository.subfolder}


def _icon_out(icon: Icon) -> JSON:
    return {"src": icon.src, **_given(mimeType=icon.mime_type, sizes=list(icon.sizes), theme=icon.theme)}


def _is_known(package: Package) -> bool:
    """Whether the schema takes it; a bundle is only good with its checksum."""
    return package.registry_type in PACKAGE_TYPES and (package.registry_type != "mcpb" or bool(package.file_sha256))


def _package_out(package: Package) -> JSON:
    return {
        "registryType": package.registry_type,
        "identifier": package.identifier,
        "transport": _transport_out(package.transport),
        **_given(
            version=package.version,
            registryBaseUrl=package.registry_base_url,
            fileSha256=package.file_sha256,
            runtimeHint=package.runtime_hint,
            runtimeArguments=[_input_out(each) for each in package.runtime_arguments],
            packageArguments=[_input_out(each) for each in package.package_arguments],
            environmentVariables=[_input_out(each) for each in package.environment],
        ),
        **package.extra,
    }


def _transport_out(transport: Transport) -> JSON:
    return {
        "type": transport.type,
        **_given(
            url=transport.url,
            headers=[_input_out(each) for each in transport.headers],
            variables=_variables_out(transport.variables),
        ),
        **transport.extra,
    }


def _input_out(given: Input, *, named: bool = True) -> JSON:
    document: JSON = {"type": given.type} if isinstance(given, Argument) else {}
    document |= _given(
        name=given.name if named else "",
        description=given.description,
        isRequired=given.is_required,
        isSecret=given.is_secret,
        format=given.format,
        value=given.value,
        default=given.default,
        placeholder=given.placeholder,
        choices=list(given.choices),
        variables=_variables_out(given.variables),
    )
    if isinstance(given, Argument):
        document |= _given(valueHint=given.value_hint, isRepeated=given.is_repeated)
    return document | given.extra


def _variables_out(variables: Iterable[Input]) -> JSON:
    return {each.name: _input_out(each, named=False) for each in variables}
