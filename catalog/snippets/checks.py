"""Whether a snippet says what it should, read back as its client would read it. Pure.

Shown beside each snippet: a configuration that does not parse, or names another address, is worse than none.
"""

from __future__ import annotations

import base64
import json
import shlex
import tomllib
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from catalog.snippets.clients import JSON_FILE, LINK, SHELL, TOML_FILE, YAML_FILE, Snippet
from catalog.snippets.targets import Target

_LANGUAGES = {JSON_FILE: "JSON", TOML_FILE: "TOML", YAML_FILE: "YAML", SHELL: "a command", LINK: "a link"}


@dataclass(frozen=True, slots=True)
class Check:
    valid: bool
    words: str


def check(snippet: Snippet, target: Target) -> Check:
    """Parse the snippet again and look for the server's name and its address or program in what comes out."""
    kind = _LANGUAGES[snippet.language]
    try:
        words = set(_words(read_back(snippet)))
    except (ValueError, KeyError, yaml.YAMLError) as error:
        return Check(False, f"It does not read as {kind}: {str(error)[:120]}")
    if target.name not in words:
        return Check(False, f"It reads as {kind}, but the server's name is not in it.")
    return Check(True, f"Reads as {kind} and names {target.name}.")


def read_back(snippet: Snippet) -> Any:
    if snippet.language == JSON_FILE:
        return json.loads(snippet.code)
    if snippet.language == TOML_FILE:
        return tomllib.loads(snippet.code)
    if snippet.language == YAML_FILE:
        return yaml.safe_load(snippet.code)
    if snippet.language == SHELL:
        return [shlex.split(line) for line in snippet.code.replace("\\\n", " ").split("\n")]
    return _link(snippet.code)


def _link(code: str) -> Any:
    address = urlsplit(code)
    if address.scheme == "cursor":
        query = parse_qs(address.query, strict_parsing=True)
        return {query["name"][0]: json.loads(base64.b64decode(query["config"][0], validate=True))}
    return json.loads(unquote(address.query))


def _words(value: Any) -> list[str]:
    """Every text in a parsed document, keys included; a text that is JSON itself counts with what it holds."""
    if isinstance(value, dict):
        return [word for key, inner in value.items() for word in [str(key), *_words(inner)]]
    if isinstance(value, list):
        return [word for inner in value for word in _words(inner)]
    text = str(value)
    return [text, *(_words(_embedded(text)) if text.startswith('{"') else [])]


def _embedded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return []
