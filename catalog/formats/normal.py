"""The normal form: what a listing says of itself, whichever format it was written in. Pure.

Every reader of a format gives an `Entry` and the `Problem`s it met; every writer takes an `Entry`. The names follow the
registry's `server.json` (schema 2025-12-11) where it has a word for the thing. What a format knows and the normal form has no
field for is kept in `extra`, under the format's own keys, so that a writer of the same format can give it back.

Texts are what strangers wrote: bounded in length by the readers, never trusted as markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Self

JSON = dict[str, Any]

# https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json: reverse-DNS namespace, one slash, name.
REGISTRY_NAME = re.compile(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+\Z")
REGISTRY_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """What a reader could not take, and why; `file` and `entry` say where, `field` is a path such as `packages[0].version`.

    An entry of which only a field could not be taken is read without it: then both an entry and a problem come back.
    """

    file: str
    entry: str
    field: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.entry, self.field, self.reason) if part)


class _Form:
    """Makes dictionaries of JSON values of a dataclass and back. What equals its default is left out."""

    __slots__ = ()

    def to_dict(self) -> JSON:
        names, defaults, read = _shape(type(self))
        return {
            name: value if type(value) is str else _plain(value)
            for name, default, value in zip(names, defaults, read(self), strict=True)
            if value is not default and value != default
        }

    @classmethod
    def from_dict(cls, data: JSON) -> Self:
        """The counterpart of `to_dict`. Unknown keys are passed over: a later release may have written the row."""
        parts = _parts(cls)
        return cls(**{name: _formed(parts[name], value) for name, value in data.items() if name in parts})


@dataclass(frozen=True, slots=True)
class Icon(_Form):
    src: str
    mime_type: str = ""
    sizes: tuple[str, ...] = ()
    theme: str = ""


@dataclass(frozen=True, slots=True)
class CodeRepository(_Form):
    """Where the source code is. `source` names the host's kind (`github`, `gitlab`), `subfolder` a path inside."""

    url: str
    source: str = ""
    id: str = ""
    subfolder: str = ""


@dataclass(frozen=True, slots=True)
class Input(_Form):
    """A value that the user or the publisher gives: an environment variable, a header, or a `{variable}` in one of them.

    `value` is fixed by the publisher and may hold `{variables}`; without it the user gives one. `format` is `string`,
    `number`, `boolean` or `filepath`; blank says string.
    """

    name: str = ""
    description: str = ""
    is_required: bool = False
    is_secret: bool = False
    format: str = ""
    value: str = ""
    default: str = ""
    placeholder: str = ""
    choices: tuple[str, ...] = ()
    variables: tuple[Input, ...] = ()
    extra: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Argument(Input):
    """A word of a command line: `type` is `positional` (with `value_hint` or `value`) or `named` (with `name`)."""

    type: str = "positional"
    value_hint: str = ""
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Transport(_Form):
    """How a package's program is spoken to once it runs: `stdio`, `streamable-http` or `sse`."""

    type: str
    url: str = ""
    headers: tuple[Input, ...] = ()
    variables: tuple[Input, ...] = ()
    extra: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remote(Transport):
    """An address where the server answers already. The URL may hold `{variables}`, or begin with one."""


@dataclass(frozen=True, slots=True)
class Package(_Form):
    """Something to install: `registry_type` is npm, pypi, oci, mcpb, nuget, cargo or binary."""

    registry_type: str
    identifier: str
    transport: Transport
    version: str = ""
    registry_base_url: str = ""
    file_sha256: str = ""
    runtime_hint: str = ""
    runtime_arguments: tuple[Argument, ...] = ()
    package_arguments: tuple[Argument, ...] = ()
    environment: tuple[Input, ...] = ()
    extra: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim(_Form):
    """A resource, prompt or task that the listing declares. `uri` is for resources."""

    name: str
    title: str = ""
    description: str = ""
    uri: str = ""
    labels: JSON = field(default_factory=dict)
    extra: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolClaim(_Form):
    """A tool that the listing declares; often only name and description. The server itself may say otherwise.

    `required_trust` is low, medium or high; `side_effect` read, write or destructive; blank is not declared.
    """

    name: str
    title: str = ""
    description: str = ""
    input_schema: JSON | None = None
    output_schema: JSON | None = None
    annotations: JSON = field(default_factory=dict)
    required_trust: str = ""
    side_effect: str = ""
    risk_level: str = ""
    labels: JSON = field(default_factory=dict)
    extra: JSON = field(default_factory=dict)

    def definition(self) -> JSON:
        """As a server would give it in `tools/list`, with the keys that were declared."""
        found: JSON = {"name": self.name}
        for key, value in (
            ("title", self.title),
            ("description", self.description),
            ("inputSchema", self.input_schema),
            ("outputSchema", self.output_schema),
            ("annotations", self.annotations),
        ):
            if value:
                found[key] = value
        return found


@dataclass(frozen=True, slots=True)
class Entry(_Form):
    """One version of one listing.

    `name` is a registry name (`io.github.acme/mail`) or what the source calls the entry; `registry_name` tells which.
    `status` is active, deprecated or deleted. `auth_mode` is none, header, oauth or mtls, blank when the format does not say.
    `is_latest` is None when the source does not say. `configuration_schema` is a JSON Schema of what a user sets;
    `requirements` what the user's machine needs (platforms, runtimes, volumes …). `format` names the reader.
    """

    name: str
    format: str
    title: str = ""
    description: str = ""
    version: str = ""
    website_url: str = ""
    documentation_url: str = ""
    repository: CodeRepository | None = None
    icons: tuple[Icon, ...] = ()
    screenshots: tuple[str, ...] = ()
    license: str = ""
    publisher: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()
    remotes: tuple[Remote, ...] = ()
    tools: tuple[ToolClaim, ...] = ()
    resources: tuple[Claim, ...] = ()
    prompts: tuple[Claim, ...] = ()
    tasks: tuple[Claim, ...] = ()
    auth_mode: str = ""
    required_trust: str = ""
    status: str = "active"
    status_message: str = ""
    published_at: datetime | None = None
    updated_at: datetime | None = None
    is_latest: bool | None = None
    requirements: JSON = field(default_factory=dict)
    configuration_schema: JSON = field(default_factory=dict)
    extra: JSON = field(default_factory=dict)

    @property
    def registry_name(self) -> str:
        """The name when it is one of the registry's kind, else blank."""
        return self.name if len(self.name) <= REGISTRY_NAME_LENGTH and REGISTRY_NAME.match(self.name) else ""

    @property
    def package_types(self) -> tuple[str, ...]:
        return tuple(sorted({package.registry_type for package in self.packages}))


_NESTED: dict[tuple[type, str], type] = {
    (Input, "variables"): Input,
    (Argument, "variables"): Input,
    (Transport, "headers"): Input,
    (Transport, "variables"): Input,
    (Remote, "headers"): Input,
    (Remote, "variables"): Input,
    (Package, "transport"): Transport,
    (Package, "runtime_arguments"): Argument,
    (Package, "package_arguments"): Argument,
    (Package, "environment"): Input,
    (Entry, "repository"): CodeRepository,
    (Entry, "icons"): Icon,
    (Entry, "packages"): Package,
    (Entry, "remotes"): Remote,
    (Entry, "tools"): ToolClaim,
    (Entry, "resources"): Claim,
    (Entry, "prompts"): Claim,
    (Entry, "tasks"): Claim,
    (Entry, "published_at"): datetime,
    (Entry, "updated_at"): datetime,
}


_WITHOUT_DEFAULT = object()
_Shape = tuple[tuple[str, ...], tuple[Any, ...], Callable[[Any], tuple[Any, ...]]]
_known_shapes: dict[type, _Shape] = {}
_known_parts: dict[type, dict[str, type | None]] = {}


def _shape(form: type[_Form]) -> _Shape:
    """The names of the fields, their defaults, and what reads all of them at once; catalogs write millions of fields."""
    if form not in _known_shapes:
        names, defaults = zip(*_read_defaults(form), strict=True)
        _known_shapes[form] = names, defaults, attrgetter(*names)
    return _known_shapes[form]


def _read_defaults(form: type[Any]) -> Iterator[tuple[str, Any]]:
    for each in fields(form):
        default: Any = _WITHOUT_DEFAULT if each.default is MISSING else each.default
        if each.default_factory is not MISSING:
            default = each.default_factory()
        yield each.name, default


def _parts(form: type[Any]) -> dict[str, type | None]:
    if form not in _known_parts:
        _known_parts[form] = {each.name: _NESTED.get((form, each.name)) for each in fields(form)}
    return _known_parts[form]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, _Form):
        return value.to_dict()
    return value.isoformat() if isinstance(value, datetime) else value


def _formed(part: type | None, value: Any) -> Any:
    if part is datetime:
        return datetime.fromisoformat(value) if value else None
    if isinstance(value, list):
        return tuple(_formed(part, each) for each in value)
    if part is not None and issubclass(part, _Form) and isinstance(value, dict):
        return part.from_dict(value)
    return value
