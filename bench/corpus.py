"""Entries for the catalog: the real public ones that lie beside the project, and as many variations of them as wanted.

Variations have names, addresses and publishers of their own, words of another entry mixed in, and tools taken from real servers,
so that texts are as long and words as frequent as in the real thing. The same number always gives the same entries.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.formats.normal import CodeRepository, Entry, Package, Remote, ToolClaim, Transport

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TOOLS_EACH = 4  # on average: 100,000 tools of 25,000 servers
CATEGORIES = ("development", "data", "ai-ml", "security", "productivity", "")
_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Corpus:
    """Real entries, those with tools apart: most sources do not list tools."""

    plain: tuple[Entry, ...]
    with_tools: tuple[Entry, ...]

    @property
    def all(self) -> tuple[Entry, ...]:
        return self.plain + self.with_tools


def read(folder: Path = DATA) -> Corpus:
    """Raises FileNotFoundError where the data is not there."""
    official = {
        row["server"]["name"]: row["server"] for row in _lines(folder / "official-registry-2025-12-18.jsonl.gz")
    }
    plain = [_official(row) for row in official.values()]
    plain += [_docker(row) for row in _lines(folder / "docker-mcp-registry.jsonl.gz")]
    listed = [_mcpm(row) for row in _lines(folder / "mcpm-servers.jsonl.gz")]
    with_tools = [_metorial(row) for row in _lines(folder / "metorial-tools.jsonl.gz")]
    return Corpus(
        tuple(plain + [one for one in listed if not one.tools]),
        tuple(with_tools + [one for one in listed if one.tools]),
    )


def varied(corpus: Corpus, count: int) -> Iterator[Entry]:
    """So many entries, every one with another name and address, half of them with tools."""
    chance = random.Random(20251218)
    tools = [tool for entry in corpus.with_tools for tool in entry.tools]
    words = sorted({word for entry in corpus.all for word in entry.title.split() if word.isalpha()})
    for number in range(count):
        base = chance.choice(corpus.all)
        publisher = f"{chance.choice(words).lower()}{int(chance.paretovariate(1.1)) % 3000}"
        label = f"{base.title} {chance.choice(words)}"
        name = f"io.github.{publisher}/{_SLUG.sub('-', label.lower()).strip('-')[:60]}-{number}"
        start = chance.randrange(len(tools))
        claimed = tools[start : start + (2 * TOOLS_EACH if number % 2 else 0)]
        yield _variation(base, name, label, publisher, tuple({tool.name: tool for tool in claimed}.values()), chance)


def _variation(
    base: Entry, name: str, label: str, publisher: str, tools: tuple[ToolClaim, ...], chance: random.Random
) -> Entry:
    remote = chance.random() < 0.6
    kind = chance.choice(("npm", "pypi", "oci"))
    stdio = Transport("stdio")
    return replace(
        base,
        name=name,
        title=label,
        description=f"{base.description} {label}.",
        version=f"{chance.randrange(4)}.{chance.randrange(20)}.{chance.randrange(9)}",
        publisher=publisher.capitalize(),
        category=chance.choice(CATEGORIES),
        repository=CodeRepository(f"https://github.com/{publisher}/{name.rpartition('/')[2]}", "github"),
        remotes=(Remote("streamable-http", f"https://{name.rpartition('/')[2]}.example/mcp"),) if remote else (),
        packages=() if remote else (Package(kind, name.rpartition("/")[2], stdio, "1.0.0"),),
        tools=tools,
        auth_mode=chance.choice(("none", "header", "oauth", "")),
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _official(row: dict[str, Any]) -> Entry:
    title = row.get("title") or row["name"].rpartition("/")[2]
    return Entry(
        row["name"], "server.json", title=title, description=row.get("description", ""), version=row["version"]
    )


def _docker(row: dict[str, Any]) -> Entry:
    about, meta = row.get("about") or {}, row.get("meta") or {}
    return Entry(
        row["name"],
        "docker",
        title=about.get("title") or row["name"],
        description=about.get("description", ""),
        tags=tuple(str(tag)[:40] for tag in meta.get("tags") or ()),
    )


def _mcpm(row: dict[str, Any]) -> Entry:
    return Entry(
        row["name"],
        "mcpm",
        title=row.get("display_name") or row["name"],
        description=row.get("description", ""),
        tags=tuple(str(tag)[:40] for tag in row.get("tags") or ()),
        tools=_tools(row.get("tools") or ()),
    )


def _metorial(row: dict[str, Any]) -> Entry:
    """Only identifiers and tools are known: the identifier's last part is the title."""
    title = row["identifier"].rpartition("/")[2].replace("-", " ").replace("_", " ")
    return Entry(row["identifier"], "metorial", title=title, tools=_tools(row["tools"]))


def _tools(rows: Any) -> tuple[ToolClaim, ...]:
    found = {
        row["name"]: ToolClaim(
            str(row["name"])[:128], description=row.get("description") or "", input_schema=row.get("inputSchema")
        )
        for row in rows
        if row.get("name")
    }
    return tuple(found.values())
