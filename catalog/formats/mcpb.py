"""MCPB bundles (formerly DXT): a ZIP with `manifest.json` at its root; of it only the manifest and the icon are read.

Manifests 0.1 to 0.4 and DXT's (`dxt_version`). Before anything is unpacked the directory of the archive is judged: number of
members, sizes, ratio, names that lead outside. A signature block behind the archive (`MCPB_SIG_V1 … MCPB_SIG_END`) is passed
over; whether it is good is not decided here.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from catalog import icons
from catalog.formats import claims
from catalog.formats.normal import JSON, Argument, CodeRepository, Entry, Icon, Input, Package, Problem, Transport
from catalog.formats.reading import Node, Reading, UnreadableError, is_web_address

FORMAT = "mcpb"
KINDS = ("node", "python", "binary", "uv")
MANIFEST = "manifest.json"
ARCHIVE_MAX = 256 * 2**20
MEMBERS_MAX = 50_000
UNPACKED_MAX = 2 * 2**30
RATIO_MAX = 200
DIRECTORY_MAX = 16 * 2**20
MANIFEST_MAX = 2**20

_END, _END_SIZE = b"PK\x05\x06", 22
_SIGNATURE, _SIGNATURE_END = b"MCPB_SIG_V1", b"MCPB_SIG_END"
_SIGNATURE_MAX = 64 * 2**10
_SETTING = re.compile(r"\$\{user_config\.([\w.-]+)\}")
_SCHEMA_TYPES = {"string": "string", "number": "number", "boolean": "boolean", "directory": "string", "file": "string"}
_INPUT_FORMATS = {"string": "", "number": "number", "boolean": "boolean", "directory": "filepath", "file": "filepath"}


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was read of an archive. `entry` is None when it is no bundle; then `problems` say why."""

    entry: Entry | None
    icon: icons.Picture | None
    problems: list[Problem]


def read(data: Any, file: str = "", *, identifier: str = "", sha256: str = "") -> tuple[Entry | None, list[Problem]]:
    """A manifest. `identifier` is where the bundle can be fetched, `sha256` the digest of all of it."""
    reading = Reading(file)
    root = reading.begin(data)
    if root is None:
        return None, reading.problems
    if not root.text("manifestVersion", "dxtVersion", most=20):
        root.report("manifest_version", "is missing")
    name, version = claims.good_name(root, (), most=200), root.text("version", most=100, needed=True).strip()
    server = root.node("server")
    kind = server.choice("type", among=KINDS)
    if "type" not in server:
        server.report("type", "is missing")
    if reading.problems:
        return None, reading.problems
    return _entry(root, server, name, version, kind, identifier, sha256), reading.problems


def read_all(data: Any, file: str = "") -> tuple[list[Entry], list[Problem]]:
    entry, problems = read(data, file)
    return [entry] if entry else [], problems


def _entry(root: Node, server: Node, name: str, version: str, kind: str, identifier: str, sha256: str) -> Entry:
    settings = dict(_settings(root))
    config, known = server.node("mcpConfig"), {"type": kind}
    package = Package(
        registry_type="mcpb",
        identifier=identifier,
        version=version,
        file_sha256=sha256,
        transport=Transport("stdio"),
        package_arguments=tuple(_arguments(config, settings)),
        environment=tuple(_environment(config, settings)),
        extra=known,
    )
    repository, icon = root.url("repository"), _icon(root)
    return Entry(
        name=name,
        format=FORMAT,
        title=root.text("displayName", most=200),
        description=root.text("longDescription") or root.text("description"),
        version=version,
        website_url=root.url("homepage"),
        documentation_url=root.url("documentation"),
        repository=CodeRepository(repository) if repository else None,
        icons=(icon,) if icon else (),
        screenshots=tuple(url for url in root.texts("screenshots", most=2_000, count=20) if is_web_address(url)),
        license=root.text("license", most=100),
        publisher=_publisher(root),
        tags=root.texts("keywords", most=40),
        packages=(package,),
        tools=claims.read_tools(root),
        prompts=claims.read_claims(root, "prompts"),
        requirements=root.mapping("compatibility"),
        configuration_schema=_schema(settings),
        extra=_extra(root),
    )


def _extra(root: Node) -> JSON:
    kept = ("manifest_version", "dxt_version", "server", "user_config", "author", "description", "icon", "screenshots")
    return root.rest() | {key: root.data[key] for key in kept if root.data.get(key)}


def _publisher(root: Node) -> str:
    return (
        root.text("author", most=200) if isinstance(root.data.get("author"), str) else root.node("author").text("name")
    )


def _icon(root: Node) -> Icon | None:
    """An icon with a web address; one that lies in the archive is given apart."""
    icon = root.text("icon", most=2_000)
    return Icon(icon) if is_web_address(icon) else None


def _settings(root: Node) -> Iterator[tuple[str, tuple[Input, JSON]]]:
    """Each of `user_config` as an input and as a JSON Schema."""
    for name, node in root.members("userConfig"):
        kind = node.choice("type", among=tuple(_SCHEMA_TYPES), default="string")
        default = node.data.get("default")
        given = Input(
            name=name,
            description=node.text("description") or node.text("title", most=200),
            is_required=node.flag("required"),
            is_secret=node.flag("sensitive"),
            format=_INPUT_FORMATS[kind],
            default=str(default) if isinstance(default, str | int | float) and not node.flag("sensitive") else "",
        )
        yield name, (given, _schema_of(node, kind, given))


def _schema_of(node: Node, kind: str, given: Input) -> JSON:
    schema: JSON = {"type": _SCHEMA_TYPES[kind]}
    if node.flag("multiple"):
        schema = {"type": "array", "items": schema}
    for key, value in (("title", node.text("title", most=200)), ("description", node.text("description"))):
        if value:
            schema[key] = value
    for key, limit in (("minimum", node.data.get("min")), ("maximum", node.data.get("max"))):
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            schema[key] = limit
    if given.is_secret:
        schema["writeOnly"] = True
    elif node.data.get("default") is not None:
        schema["default"] = node.data["default"]
    return schema


def _schema(settings: dict[str, tuple[Input, JSON]]) -> JSON:
    if not settings:
        return {}
    needed = [name for name, (given, _) in settings.items() if given.is_required]
    properties = {name: schema for name, (_, schema) in settings.items()}
    return {"type": "object", "properties": properties} | ({"required": needed} if needed else {})


def _arguments(config: Node, settings: dict[str, tuple[Input, JSON]]) -> Iterator[Argument]:
    _, words = config.get("args")
    for word in words if isinstance(words, list) else ():
        if isinstance(word, str):
            value, variables = _filled(word, settings)
            yield Argument(type="positional", value=value, variables=variables)


def _environment(config: Node, settings: dict[str, tuple[Input, JSON]]) -> Iterator[Input]:
    for name, text in config.mapping("env").items():
        if isinstance(text, str):
            value, variables = _filled(text, settings)
            secret = any(given.is_secret for given in variables)
            yield Input(name=name, value=value, is_secret=secret, variables=variables)


def _filled(text: str, settings: dict[str, tuple[Input, JSON]]) -> tuple[str, tuple[Input, ...]]:
    """The text with `{key}` for `${user_config.key}`, and what the user sets of it."""
    names = dict.fromkeys(_SETTING.findall(text))
    variables = tuple(settings[name][0] if name in settings else Input(name=name, is_required=True) for name in names)
    return _SETTING.sub(r"{\1}", text), variables


def write(entry: Entry) -> JSON:
    """The manifest again. Reading it gives the same entry, when that was read from one with the same address and digest."""
    own = entry.extra if entry.format == FORMAT else {}
    document: JSON = {
        "manifest_version": "0.3",
        "name": entry.name.rpartition("/")[2],
        "display_name": entry.title,
        "version": entry.version or "0.0.0",
        "description": entry.description,
        "author": {"name": entry.publisher or entry.name},
        "homepage": entry.website_url,
        "documentation": entry.documentation_url,
        "repository": {"type": "git", "url": entry.repository.url} if entry.repository else None,
        "license": entry.license,
        "keywords": list(entry.tags),
        "tools": claims.write_tools(entry.tools),
        "prompts": claims.write_claims(entry.prompts),
        "compatibility": entry.requirements,
    }
    if own:
        document["long_description"] = entry.description if entry.description != own.get("description") else ""
        document["manifest_version"] = own.get("manifest_version")
        document["author"] = own.get("author")
    return {key: value for key, value in document.items() if value} | own


def read_archive(content: bytes, file: str = "", *, identifier: str = "") -> Bundle:
    """A bundle. Nothing but the manifest and the icon is unpacked, and those only up to their limits."""
    try:
        with _open(content) as archive:
            manifest = json.loads(_unpack(archive, MANIFEST, MANIFEST_MAX).decode("utf-8-sig"))
            digest = hashlib.sha256(content).hexdigest()
            entry, problems = read(manifest, file, identifier=identifier or file, sha256=digest)
            icon, missing = _picture(archive, manifest) if entry else (None, "")
    except UnreadableError as error:
        return Bundle(None, None, [Problem(file, "", "", str(error))])
    except (ValueError, RecursionError):
        return Bundle(None, None, [Problem(file, "", MANIFEST, "is not JSON")])
    if entry is not None and icon is not None:
        entry = replace(entry, icons=(Icon(icon.address, icon.media_type),))
    if missing:
        problems.append(Problem(file, entry.name if entry else "", "icon", missing))
    return Bundle(entry, icon, problems)


def _open(content: bytes) -> zipfile.ZipFile:
    if len(content) > ARCHIVE_MAX:
        raise UnreadableError(f"is larger than {ARCHIVE_MAX // 2**20} MiB")
    content = _without_signature(content)
    _judge_end(content)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    # A damaged directory, one whose numbers point nowhere, a version that the library does not read, a record that is cut off.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise UnreadableError("is no ZIP archive") from error
    _judge_members(archive.infolist())
    return archive


def _without_signature(content: bytes) -> bytes:
    tail = content[-_SIGNATURE_MAX:]
    if not tail.rstrip(b"\x00\r\n").endswith(_SIGNATURE_END):
        return content
    start = tail.rfind(_SIGNATURE)
    return content[: len(content) - len(tail) + start] if start >= 0 else content


def _judge_end(content: bytes) -> None:
    """The end record, before the directory is read: a directory of millions of members would fill the memory."""
    start = content.rfind(_END, max(0, len(content) - _END_SIZE - 2**16))
    if start < 0 or start + _END_SIZE > len(content):
        raise UnreadableError("is no ZIP archive")
    members, size = struct.unpack_from("<HI", content, start + 10)
    if members == 0xFFFF or size == 0xFFFFFFFF or members > MEMBERS_MAX or size > DIRECTORY_MAX:
        raise UnreadableError(f"holds more than {MEMBERS_MAX:,} files")


def _judge_members(members: list[zipfile.ZipInfo]) -> None:
    names: set[str] = set()
    for member in members:
        name = member.filename
        if _leads_outside(name) or _leads_outside(member.orig_filename):
            raise UnreadableError(f"holds a file whose name leads outside: {name[:80]!r}")
        if name in names:
            raise UnreadableError(f"holds {name[:80]!r} twice")
        names.add(name)
    packed, unpacked = sum(each.compress_size for each in members), sum(each.file_size for each in members)
    if unpacked > UNPACKED_MAX or unpacked > RATIO_MAX * max(packed, 2**16):
        raise UnreadableError("would unpack to far more than it is")
    if MANIFEST not in names:
        raise UnreadableError("has no manifest.json at its root")


def _leads_outside(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or "\x00" in name or re.match(r"[A-Za-z]:", name) is not None


def _unpack(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The member, if it has at most so many bytes; what its header says of the size is not relied on."""
    try:
        with archive.open(name) as member:
            data = member.read(most + 1)
    except KeyError as error:
        raise UnreadableError(f"has no {name[:80]!r}") from error
    # Wrong sum, damaged or cut-off stream, unknown method, encrypted (RuntimeError), offsets outside of the archive.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise UnreadableError(f"{name[:80]} cannot be unpacked") from error
    if len(data) > most:
        raise UnreadableError(f"{name[:80]} has more than {most:,} bytes")
    return data


def _first_of(pictures: Any) -> Any:
    """Where the first of several icons is (manifests from 0.3 on)."""
    first = pictures[0] if isinstance(pictures, list) and pictures else None
    return first.get("src") if isinstance(first, dict) else None


def _picture(archive: zipfile.ZipFile, manifest: JSON) -> tuple[icons.Picture | None, str]:
    """The icon that lies in the archive, or why it was not taken."""
    name = manifest.get("icon") or _first_of(manifest.get("icons"))
    if not isinstance(name, str) or not name or is_web_address(name):
        return None, ""
    try:
        return icons.judge(_unpack(archive, name.removeprefix("./"), icons.BYTES_MAX)), ""
    except (UnreadableError, ValueError) as error:
        return None, str(error)
