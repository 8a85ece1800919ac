"""Packages out of command lines such as `npx -y @acme/mail --fast` or `docker run -i --rm acme/mail`. Pure.

Only what names something in a package registry becomes a package: a path on somebody's disk, a git address or a program that
is expected to be there is none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.formats.normal import Argument, Input, Package, Transport

STDIO = Transport("stdio")

_NPM_RUNNERS = {"npx": "npx", "bunx": "bunx", "pnpx": "pnpx"}
_PYPI_RUNNERS = {"uvx": "uvx", "pipx": "pipx"}
_CONTAINER_RUNNERS = {"docker": "docker", "podman": "podman"}
_WITH_VALUE = {
    "npm": frozenset({"-p", "--package", "--registry"}),
    "pypi": frozenset({"--from", "--with", "--python", "-p", "--index-url", "--index", "--spec", "--directory"}),
    "oci": frozenset(
        {
            "-e",
            "--env",
            "--env-file",
            "-v",
            "--volume",
            "--mount",
            "-p",
            "--publish",
            "--network",
            "--net",
            "--add-host",
        }
        | {"--name", "--platform", "--entrypoint", "-w", "--workdir", "-u", "--user", "-l", "--label"}
        | {"-m", "--memory", "--cpus", "--shm-size", "--gpus"}
    ),
}
_NPM = re.compile(r"(@[a-z0-9][\w.~-]*/)?[a-zA-Z0-9][\w.~-]*\Z")
_PYPI = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?\Z")
_IMAGE = re.compile(r"[a-z0-9][\w.\-/:@]*\Z")
_SHELL_VARIABLE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_SECRET = re.compile(r"(key|token|secret|passw|credential)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A command line cut where the package's name stands."""

    before: tuple[str, ...]
    named: str
    after: tuple[str, ...]
    options: dict[str, str]


def package_of_line(line: str, environment: Sequence[Input] = (), transport: Transport = STDIO) -> Package | None:
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    return package_of(words[0], words[1:], environment, transport) if words else None


def package_of(
    command: str, arguments: Sequence[str], environment: Sequence[Input] = (), transport: Transport = STDIO
) -> Package | None:
    """The package that the command runs, or None when it runs none of a registry."""
    words = list(arguments)
    if command == "uv" and words[:2] == ["tool", "run"]:
        command, words = "uvx", words[2:]
    if command in _PYPI_RUNNERS and words[:1] == ["run"]:
        words = words[1:]
    if command in _CONTAINER_RUNNERS:
        if words[:1] != ["run"]:
            return None
        return _container(command, _cut(words[1:], "oci"), environment, transport)
    if command in _NPM_RUNNERS:
        return _npm(command, _cut(words, "npm"), environment, transport)
    if command in _PYPI_RUNNERS:
        return _pypi(command, _cut(words, "pypi"), environment, transport)
    return None


def inputs_of(variables: Mapping[str, str], described: Mapping[str, Input]) -> tuple[Input, ...]:
    """Environment variables: `${NAME}` is for the user to fill, anything else is a value to start from."""
    found = []
    for name, value in variables.items():
        asked = _SHELL_VARIABLE.fullmatch(value.strip())
        told = described.get(asked[1] if asked else name) or described.get(name) or Input()
        found.append(
            Input(
                name=name,
                description=told.description,
                is_required=told.is_required,
                is_secret=looks_secret(name),
                default="" if asked or looks_like_a_gap(value) else value,
                placeholder=told.placeholder,
            )
        )
    return tuple(found)


def looks_secret(name: str) -> bool:
    """Whether the name of a variable says that its value is a secret; formats that do not mark secrets leave only this."""
    return bool(_SECRET.search(name))


def looks_like_a_gap(value: str) -> bool:
    """Whether a value only shows where the user's own belongs: `<your key>`, `YOUR_API_KEY`, `/path/to/file`."""
    text = value.strip().lower()
    return not text or text.startswith(("<", "your", "/path/to", "path/to", "xxx", "{"))


def _cut(words: list[str], kind: str) -> _Parts:
    with_value = _WITH_VALUE[kind]
    options: dict[str, str] = {}
    position = 0
    while position < len(words) and words[position].startswith("-"):
        name, equals, value = words[position].partition("=")
        position += 1
        if name in with_value and not equals and position < len(words):
            value = words[position]
            position += 1
        options.setdefault(name, value)
    rest = words[position:]
    return _Parts(tuple(words[:position]), rest[0] if rest else "", tuple(rest[1:]), options)


def _npm(command: str, parts: _Parts, environment: Sequence[Input], transport: Transport) -> Package | None:
    spec = parts.options.get("-p") or parts.options.get("--package") or parts.named
    name, version = _split_version(spec)
    if not _NPM.match(name):
        return None
    return _package("npm", name, version, command, parts.after, environment, transport)


def _pypi(command: str, parts: _Parts, environment: Sequence[Input], transport: Transport) -> Package | None:
    spec = parts.options.get("--from") or parts.options.get("--spec") or parts.named
    name, _, version = spec.partition("==")
    if not version:
        name, version = _split_version(spec)
    name = name.partition("[")[0]
    if not _PYPI.match(name):
        return None
    return _package("pypi", name, version, command, parts.after, environment, transport)


def _container(command: str, parts: _Parts, environment: Sequence[Input], transport: Transport) -> Package | None:
    if not _IMAGE.match(parts.named):
        return None
    plain = ("-i", "--rm", "-it", "-t", "--interactive", "--init")
    before = tuple(word for word in parts.before if word not in plain)
    return Package(
        registry_type="oci",
        identifier=parts.named,
        transport=transport,
        runtime_hint=command,
        runtime_arguments=words_as_arguments(before),
        package_arguments=words_as_arguments(parts.after),
        environment=tuple(environment),
    )


def _package(
    kind: str,
    name: str,
    version: str,
    command: str,
    after: Sequence[str],
    environment: Sequence[Input],
    transport: Transport,
) -> Package:
    return Package(
        registry_type=kind,
        identifier=name,
        version="" if version == "latest" else version,
        transport=transport,
        runtime_hint=command,
        package_arguments=words_as_arguments(after),
        environment=tuple(environment),
    )


def _split_version(spec: str) -> tuple[str, str]:
    name, at, version = spec.rpartition("@")
    return (name, version) if at and name else (spec, "")


def words_as_arguments(words: Sequence[str]) -> tuple[Argument, ...]:
    """Each word as it stands; `${NAME}` in it is for the user to fill."""
    found = []
    for word in words:
        names = dict.fromkeys(_SHELL_VARIABLE.findall(word))
        variables = tuple(Input(name=name, is_required=True, is_secret=looks_secret(name)) for name in names)
        found.append(Argument(type="positional", value=_SHELL_VARIABLE.sub(r"{\1}", word), variables=variables))
    return tuple(found)
