"""The product's own Python as syntax trees, for rules that a review would otherwise repeat."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = (
    "core", "tenants", "audit", "notifications", "calls", "catalog", "repositories", "access", "billing", "gateway", "reviews",
    "marketplace",
)  # fmt: skip


@dataclass(frozen=True)
class Module:
    path: str  # from the root, with slashes
    tree: ast.Module

    @property
    def app(self) -> str:
        return self.path.partition("/")[0]

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 0)}"


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the product; migrations, which are frozen history, are left out."""
    paths = sorted(path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)
    return tuple(Module(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def under(*places: str) -> tuple[Module, ...]:
    return tuple(module for module in modules() if module.path.startswith(places))


def outside(*places: str) -> tuple[Module, ...]:
    return tuple(module for module in modules() if not module.path.startswith(places))


def called_name(node: ast.AST) -> str:
    """The last part of what a call calls; empty for anything that is not a call by name."""
    if not isinstance(node, ast.Call):
        return ""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
