"""What a client is pointed at: an address or a program, with the blanks that its user fills in. Pure.

A target comes from us (the gateway) or from a manifest that a stranger wrote. Of the latter nothing is taken that a client would
read as something else: names and identifiers must look like what they are, addresses are percent-encoded, control characters
go, and text with a `$` becomes a blank, because several clients put their user's environment in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from catalog.formats.normal import Argument, Entry, Input, Package, Remote

KEY_PLACEHOLDER = "YOUR_API_KEY"
NAME_LENGTH = 40
_TEXT_LENGTH = 2_000

_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]{0,80})\}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#%&'*+.^_|~-]{1,100}\Z")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}\Z")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,80}\Z")
_NPM = re.compile(r"(@[A-Za-z0-9~][\w.~-]*/)?[A-Za-z0-9~][\w.~-]*\Z", re.ASCII)
_PYPI = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?\Z")
_NUGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?\Z", re.ASCII)
_URL_SAFE = "%/:?#[]@!&'()*+,;=-._~"
_DOCKER_HUB = {"", "docker.io", "registry-1.docker.io", "registry.docker.io", "index.docker.io"}
# What the command of each kind has anyway.
_GIVEN = {"-y", "--yes", "run", "-i", "--interactive", "--rm", "-it"}


@dataclass(frozen=True, slots=True)
class Blank:
    """A value that the user gives. `fill` stands in its place where a client cannot ask for it."""

    id: str
    label: str
    fill: str
    secret: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Words with blanks between them."""

    parts: tuple[str | Blank, ...]

    @property
    def blanks(self) -> list[Blank]:
        return [part for part in self.parts if isinstance(part, Blank)]

    def filled(self) -> str:
        return "".join(part.fill if isinstance(part, Blank) else part for part in self.parts)


@dataclass(frozen=True, slots=True)
class Http:
    """A server at an address. With `oauth` the client finds out by itself where to sign in."""

    name: str
    url: Text
    headers: tuple[tuple[str, Text], ...] = ()
    sse: bool = False
    oauth: bool = False

    @property
    def texts(self) -> list[Text]:
        return [self.url, *(value for _, value in self.headers)]


@dataclass(frozen=True, slots=True)
class Process:
    """A program that the client starts on its user's machine. `image` when it runs in a container."""

    name: str
    command: str
    arguments: tuple[Text, ...]
    environment: tuple[tuple[str, Text], ...] = ()
    image: str = ""
    image_arguments: tuple[Text, ...] = ()

    @property
    def texts(self) -> list[Text]:
        return [*self.arguments, *(value for _, value in self.environment)]


Target = Http | Process


def through_gateway(public_url: str, slug: str, key: str = KEY_PLACEHOLDER, *, oauth: bool = False) -> Http:
    """The server behind the gateway. `public_url` is the marketplace's own address, `slug` the server's name in it."""
    url = Text((_address(f"{public_url.rstrip('/')}/mcp/{quote(slug, safe='')}"),))
    if oauth:
        return Http(client_name(slug), url, oauth=True)
    blank = Blank("key", "MCP Marketplace API key", CONTROL.sub("", key), secret=True)
    return Http(client_name(slug), url, (("Authorization", Text(("Bearer ", blank))),))


def client_name(name: str) -> str:
    """A name that every client takes for a server: letters, digits, hyphens and underscores, no hyphen first."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-_")[:NAME_LENGTH].rstrip("-_") or "server"


@dataclass(frozen=True, slots=True)
class Way:
    """One direct way to a server, without the gateway. `target` is None when no configuration can be written; `why` says it."""

    label: str
    target: Target | None
    why: str = ""


def ways_of(entry: Entry, name: str) -> list[Way]:
    """The direct ways that a manifest declares: addresses first, then packages."""
    found: list[Way] = []
    for remote in entry.remotes:
        found += _remote_ways(remote, client_name(name))
    found += [_package_way(package, client_name(name)) for package in entry.packages]
    return found


def _remote_ways(remote: Remote, name: str) -> Iterator[Way]:
    sse = remote.type == "sse"
    label = "HTTP+SSE" if sse else "Streamable HTTP"
    url = _url_text(remote.url, remote.variables)
    if url is None:
        yield Way(label, None, "The address is not an http or https address.")
        return
    headers = tuple(_headers(remote.headers))
    secret = any(blank.secret for _, value in headers for blank in value.blanks)
    secret = secret or any(header.lower() == "authorization" for header, _ in headers)
    if not secret:
        yield Way(f"{label}, sign in or open", Http(name, url, headers, sse=sse, oauth=True))
        return
    yield Way(f"{label}, key in a header", Http(name, url, headers, sse=sse))
    # A server that takes a key may offer sign-in as well; the client finds out.
    public = tuple(
        (header, value) for header, value in headers if not value.blanks and header.lower() != "authorization"
    )
    yield Way(f"{label}, sign-in by OAuth", Http(name, url, public, sse=sse, oauth=True))


def _headers(given: Iterable[Input]) -> Iterator[tuple[str, Text]]:
    for header in given:
        if _HEADER_NAME.match(header.name) and _wanted(header):
            yield header.name, _value_of(header)


def _package_way(package: Package, name: str) -> Way:
    kind = _KINDS.get(package.registry_type)
    label = f"{_LABELS.get(package.registry_type, package.registry_type[:20])} package"
    if kind is None:
        return Way(label, None, "No client installs this kind of package by configuration.")
    if package.transport.type not in {"stdio", ""}:
        return Way(
            label, None, "The program speaks HTTP: it is started by hand, and the client is pointed at its address."
        )
    shape, command, lead = kind
    if not shape.match(package.identifier):
        return Way(label, None, "The package's identifier is not one of its registry.")
    if package.registry_type == "oci":
        return Way(label, _container(package, name))
    program = _versioned(package)
    words = [*_literals(lead), *_words(package.runtime_arguments, package.identifier), *_literals([program])]
    if package.registry_type == "nuget":
        words = [*_literals([program]), *_literals(lead), *_words(package.runtime_arguments, package.identifier)]
        words += _literals(["--"]) if package.package_arguments else []
    words += _words(package.package_arguments)
    return Way(label, Process(name, command, tuple(words), tuple(_environment(package))))


def _versioned(package: Package) -> str:
    version = package.version
    return f"{package.identifier}@{version}" if _VERSION.match(version) else package.identifier


def _container(package: Package, name: str) -> Process:
    environment = tuple(_environment(package))
    image = _image(package)
    words = _literals(["run", "-i", "--rm"])
    for variable, _ in environment:
        words += _literals(["-e", variable])
    inner = tuple(_words(package.package_arguments))
    words += [*_words(_not_environment(package.runtime_arguments), package.identifier), *_literals([image]), *inner]
    return Process(name, "docker", tuple(words), environment, image=image, image_arguments=inner)


def _not_environment(arguments: Iterable[Argument]) -> list[Argument]:
    """Without what passes the environment, which is written anyway."""
    return [each for each in arguments if each.name not in {"-e", "--env"}]


def _image(package: Package) -> str:
    found, version = package.identifier, package.version
    host = (urlsplit(package.registry_base_url).netloc or package.registry_base_url).lower()
    if host not in _DOCKER_HUB and _IMAGE.match(f"{host}/{found}") and not found.startswith(f"{host}/"):
        found = f"{host}/{found}"
    tagged = "@" in found or ":" in found.rsplit("/", 1)[-1]
    if tagged or not version:
        return found
    if re.match(r"sha256:[0-9a-f]{64}\Z", version):
        return f"{found}@{version}"
    return f"{found}:{version}" if _VERSION.match(version) and "+" not in version else found


def _environment(package: Package) -> Iterator[tuple[str, Text]]:
    for variable in package.environment:
        if _ENVIRONMENT_NAME.match(variable.name) and _wanted(variable):
            yield variable.name, _value_of(variable)


def _words(arguments: Iterable[Argument], program: str = "") -> list[Text]:
    """The words of a command line. With a `program` they go to what starts it, and what its command says already is left out."""
    found = [word for argument in arguments if _wanted(argument) for word in _argument(argument)]
    return [word for word in found if not (program and _given(word, program))]


def _argument(argument: Argument) -> list[Text]:
    has_value = bool(argument.value or argument.default or argument.choices)
    if argument.type != "named":
        return [_value_of(argument)]
    flag = _plain(argument.name if argument.name.startswith("-") else f"--{argument.name}")
    if not has_value and (argument.format == "boolean" or not (argument.description or argument.placeholder)):
        return [flag]
    return [flag, _value_of(argument)]


def _given(word: Text, program: str) -> bool:
    text = word.filled()
    return text in _GIVEN or text == program or text.startswith((f"{program}@", f"{program}:"))


def _wanted(given: Input) -> bool:
    """What is neither required nor given by the publisher is left to the documentation."""
    return given.is_required or bool(given.value or given.default) or given.is_secret


def _value_of(given: Input) -> Text:
    if given.value:
        return _template(given.value, given.variables, given)
    if given.default and not given.is_secret:
        return _plain(given.default, given)
    return Text((_blank(given),))


def _template(text: str, variables: Iterable[Input], owner: Input) -> Text:
    known = {variable.name: variable for variable in variables}
    parts: list[str | Blank] = []
    for number, piece in enumerate(_VARIABLE.split(text[:_TEXT_LENGTH])):
        if number % 2:
            parts.append(_variable(known.get(piece) or Input(name=piece, is_secret=owner.is_secret)))
        elif piece:
            parts += _plain(piece, owner).parts
    return Text(tuple(parts))


def _variable(variable: Input) -> str | Blank:
    fixed = variable.value or ("" if variable.is_secret else variable.default)
    if fixed and "$" not in fixed and "{" not in fixed:
        return CONTROL.sub("", fixed)[:_TEXT_LENGTH]
    return _blank(variable)


def _plain(text: str, owner: Input | None = None) -> Text:
    cleaned = CONTROL.sub("", text)[:_TEXT_LENGTH]
    if "$" in cleaned:
        return Text((_blank(owner or Input(name="value")),))
    return Text((cleaned,))


def _literals(words: Iterable[str]) -> list[Text]:
    return [Text((word,)) for word in words]


def _blank(given: Input) -> Blank:
    name = given.name or (given.value_hint if isinstance(given, Argument) else "") or "value"
    label = CONTROL.sub(" ", given.description).replace("$", "").strip()[:120] or name.replace("$", "")[:80]
    word = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")[:60] or "VALUE"
    choices = tuple(choice for choice in given.choices if "$" not in choice)[:20]
    return Blank(word.lower().replace("_", "-"), label, f"YOUR_{word}", secret=given.is_secret, choices=choices)


def _url_text(url: str, variables: Iterable[Input]) -> Text | None:
    text = _template(url.replace("$", "%24"), variables, Input(name="address"))
    parts = tuple(_address(part) if isinstance(part, str) else part for part in text.parts)
    if not parts:
        return None
    first = parts[0]
    if isinstance(first, str) and not re.match(r"https?://[^/?#]*", first, re.IGNORECASE):
        return None
    return Text(parts)


def _address(text: str) -> str:
    """Percent-encoded, so that no character of an address means anything to a shell, a client or a parser."""
    return quote(CONTROL.sub("", text), safe=_URL_SAFE)


_KINDS: dict[str, tuple[re.Pattern[str], str, tuple[str, ...]]] = {
    "npm": (_NPM, "npx", ("-y",)),
    "pypi": (_PYPI, "uvx", ()),
    "oci": (_IMAGE, "docker", ()),
    "nuget": (_NUGET, "dnx", ("--yes",)),
}
_LABELS = {
    "npm": "npm",
    "pypi": "PyPI",
    "oci": "Container",
    "nuget": "NuGet",
    "mcpb": "MCPB",
    "cargo": "Cargo",
    "binary": "Binary",
}
