"""What is a secret in arguments, answers and headers, and texts without them. Pure.

A guess by names, schemas and well-known forms of credentials: it errs towards hiding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "••••••"
_NAMES = re.compile(
    r"passw|passphrase|secret|token|api[-_]?key|apikey|private[-_]?key|access[-_]?key|credential|authori[sz]ation|cookie"
    r"|session[-_]?id|client[-_]?key|\bpin\b|\bcvv\b|\bcvc\b|card[-_]?number|\botp\b|bearer",
    re.IGNORECASE,
)  # fmt: skip
_NO_SECRETS = re.compile(
    r"(max|min|num|count|total|page|next|limit|usage)[-_]?\w*tokens?|tokens?[-_]?(count|limit|usage)|(page|progress|cursor)[-_]?token",
    re.IGNORECASE,
)
_TEXTS = re.compile(
    r"mk_[a-z]+_[0-9A-Za-z]+_[0-9A-Za-z]+"  # our own keys
    r"|eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*"  # JSON Web Tokens
    r"|\b(?:sk|pk|rk|ghp|gho|ghs|glpat|xox[abpr])[-_][0-9A-Za-z_-]{12,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|(?i:bearer|basic) [0-9A-Za-z._~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
)
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "set-cookie", "proxy-authorization"})
_SHORTEST = 4


def is_secret_name(name: str) -> bool:
    return bool(_NAMES.search(name)) and not _NO_SECRETS.search(name)


def is_secret_schema(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "password" or schema.get("writeOnly") is True or schema.get("x-secret") is True


def masked(value: Any, name: str = "") -> Any:
    """A JSON value in which what looks like a secret is hidden."""
    if isinstance(value, dict):
        return {key: masked(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [masked(each, name) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if name and is_secret_name(name):
        return MASK
    return hide(value) if isinstance(value, str) else value


def secrets_in(value: Any, name: str = "") -> set[str]:
    """The texts that `masked` would hide whole: wherever else they appear, they are secrets too."""
    if isinstance(value, dict):
        return {found for key, each in value.items() for found in secrets_in(each, key)}
    if isinstance(value, list):
        return {found for each in value for found in secrets_in(each, name)}
    if isinstance(value, str | int | float) and not isinstance(value, bool) and name and is_secret_name(name):
        return {str(value)} if len(str(value)) >= _SHORTEST else set()
    return set()


def hide(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without known forms of credentials and without these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _TEXTS.sub(MASK, text)


def hide_in(value: Any, secrets: Iterable[str]) -> Any:
    """The same within a JSON value, names of members included."""
    known = list(secrets)
    if isinstance(value, dict):
        return {hide(key, known): hide_in(each, known) for key, each in value.items()}
    if isinstance(value, list):
        return [hide_in(each, known) for each in value]
    return hide(value, known) if isinstance(value, str) else value


def headers(lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, MASK if name.lower() in _SECRET_HEADERS else hide(value)) for name, value in lines]
