"""Typed readers of the environment. Each reader registers its variable, so that `manage.py show_settings` and docs list all.

A value that cannot be used stops the start with one sentence. `NAME_FILE` may hold the path of a file with the value, which
is how secrets reach containers.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    kind: str
    default: str
    meaning: str


REGISTRY: dict[str, Variable] = {}


def text(name: str, meaning: str, default: str | None = None, *, choices: tuple[str, ...] = ()) -> str:
    value = _read(name, "text" if not choices else " | ".join(choices), default, meaning)
    if choices and value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
    return value


def flag(name: str, meaning: str, *, default: bool) -> bool:
    value = _read(name, "true | false", str(default).lower(), meaning).lower()
    if value not in {"true", "false", "1", "0", "yes", "no"}:
        raise ImproperlyConfigured(f"{name} is {value!r}; write true or false.")
    return value in {"true", "1", "yes"}


def integer(name: str, meaning: str, *, default: int, minimum: int = 0) -> int:
    value = _read(name, "whole number", str(default), meaning)
    if not value.isascii() or not value.isdigit() or int(value) < minimum:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a whole number of at least {minimum}.")
    return int(value)


def items(name: str, meaning: str, default: str = "") -> list[str]:
    return [part.strip() for part in _read(name, "comma-separated list", default, meaning).split(",") if part.strip()]


def secret(name: str, meaning: str, default: str | None = None, *, minimum: int = 32) -> str:
    value = _read(name, "secret", default, meaning)
    if len(value) < minimum:
        raise ImproperlyConfigured(f"{name} must have at least {minimum} characters; `scripts/up` makes one for you.")
    return value


def secrets(name: str, meaning: str, *, minimum: int = 32) -> list[str]:
    """Any number of secrets, of which the values are nowhere shown."""
    values = [part.strip() for part in _read(name, "comma-separated secrets", "", meaning).split(",") if part.strip()]
    if any(len(value) < minimum for value in values):
        raise ImproperlyConfigured(f"each secret of {name} must have at least {minimum} characters.")
    return values


def database(name: str, meaning: str, default: str | None = None) -> dict[str, object]:
    value = _read(name, "postgresql://user:password@host:port/name", default, meaning)
    parts = urlsplit(value)
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise ImproperlyConfigured(f"{name} must look like postgresql://user:password@host:port/name.")
    return {
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }


def derive(master: str, purpose: str) -> bytes:
    """A key for one purpose: 32 bytes from the master secret, so that no two uses share a key."""
    return hmac.new(master.encode(), b"mcp-marketplace/" + purpose.encode(), hashlib.sha256).digest()


def _read(name: str, kind: str, default: str | None, meaning: str) -> str:
    shown = "required" if default is None else "(generated in development)" if kind == "secret" else default
    REGISTRY[name] = Variable(name, kind, shown, meaning)
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(
                f"{name}_FILE names {path!r}, which cannot be read: {error.strerror}."
            ) from error
    value = os.environ.get(name, default)
    if value is None or (value == "" and default is None):
        raise ImproperlyConfigured(f"{name} is not set: {meaning} Run `scripts/up`, or set it in the environment.")
    return value
