"""Serialisers of the languages that snippets are written in. Nothing is pasted into JSON, TOML, YAML or a command line."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

import yaml

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")

type_toml = str | dict[str, str] | list[str]


def as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)


def as_yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=1_000_000).rstrip("\n")


def as_command(lines: Iterable[list[str]]) -> str:
    """One command of a POSIX shell over several lines."""
    return " \\\n  ".join(shlex.join(line) for line in lines)


def as_toml(table: list[str], values: dict[str, type_toml]) -> str:
    """One table of texts, lists of texts and inline tables of texts, which is all that is needed."""
    lines = [f"[{'.'.join(_toml_key(part) for part in table)}]"]
    lines += [f"{_toml_key(name)} = {_toml_value(value)}" for name, value in values.items()]
    return "\n".join(lines)


def cursor_link(name: str, config: dict[str, Any]) -> str:
    """https://cursor.com/docs/context/mcp/install-links: the configuration of the one server as base64 of its JSON."""
    encoded = base64.b64encode(json.dumps(config).encode()).decode()
    return "cursor://anysphere.cursor-deeplink/mcp/install?" + urlencode(
        {"name": name, "config": encoded}, quote_via=quote
    )


def vs_code_link(config: dict[str, Any]) -> str:
    """https://code.visualstudio.com/api/extension-guides/ai/mcp#create-an-mcp-installation-url: JSON, percent-encoded."""
    return "vscode:mcp/install?" + quote(json.dumps(config, separators=(",", ":")), safe="")


def _toml_value(value: type_toml) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml_text(text)}" for key, text in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_text(text) for text in value) + "]"
    return _toml_text(value)


def _toml_key(text: str) -> str:
    return text if _BARE_KEY.match(text) else _toml_text(text)


def _toml_text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, save that TOML escapes DEL and knows no surrogate pairs."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
