"""Compiled modules of the path of a call: used when they were made of exactly this source, else the interpreted ones serve.

`scripts/compile` makes them (`marketplace.supervisor.compiling`), each set in a folder named by the digest of what it was made
of: a set that does not fit is never loaded. Import this before anything else, with nothing but the standard library.

The environment's MARKETPLACE_COMPILED is `auto` (the sets in `var/compiled`), `off`, or a folder with sets; tests run
interpreted unless it is set.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
SETTING = "MARKETPLACE_COMPILED"
# Compiled code calls functions of other compiled modules directly and knows the layout of their classes.
_PACKAGES = ("access", "calls", "core", "gateway")
# What a call passes. Left out: async generators (gateway.upstream.wire), records that are made without their constructor
# (calls.record), entries whose types are read (gateway.entries, access.types), and errors that derive from those of
# interpreted modules (gateway.mcp.errors).
MODULES = (
    "access.engine",
    "calls.intents",
    "calls.link",
    "calls.rows",
    "calls.timings",
    "calls.writer",
    "core.clock",
    "core.failpoints",
    "core.ids",
    "core.signing",
    "gateway.answers",
    "gateway.audience",
    "gateway.config",
    "gateway.context",
    "gateway.feed",
    "gateway.http",
    "gateway.keyring",
    "gateway.metrics",
    "gateway.paths",
    "gateway.pins",
    "gateway.pipeline",
    "gateway.quick",
    "gateway.review",
    "gateway.store",
    "gateway.tracing",
    "gateway.watch",
    "gateway.admission.admission",
    "gateway.admission.breaker",
    "gateway.admission.budgets",
    "gateway.admission.bulkheads",
    "gateway.admission.endpoints",
    "gateway.admission.plans",
    "gateway.admission.rates",
    "gateway.admission.retries",
    "gateway.admission.units",
    "gateway.mcp.lossless",
    "gateway.mcp.messages",
    "gateway.mcp.outcomes",
    "gateway.mcp.params",
    "gateway.mcp.session",
    "gateway.mcp.sse",
    "gateway.mcp.versions",
    "gateway.stages.authenticate",
    "gateway.stages.authorise",
    "gateway.stages.body",
    "gateway.stages.forward",
    "gateway.stages.guard",
    "gateway.stages.intent",
    "gateway.stages.meter",
    "gateway.stages.resolve",
    "gateway.upstream.attempts",
    "gateway.upstream.client",
    "gateway.upstream.credentials",
    "gateway.upstream.http1",
)


class _Finder(MetaPathFinder):
    """Finds the modules of one set."""

    def __init__(self, folder: Path) -> None:
        suffix = _suffix()
        self._files = {
            ".".join(path.relative_to(folder).parts).removesuffix(suffix): path for path in folder.rglob(f"*{suffix}")
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, str(file)))


def install() -> bool:
    """Let this process import the compiled modules, if a set fits and none of them was imported yet: all, or none."""
    if is_installed():
        return True
    folder = _folder()
    if folder is None or any(name in sys.modules for name in MODULES):
        return False
    fitting = folder / digest()
    if not fitting.is_dir():
        return False
    sys.meta_path.insert(0, _Finder(fitting))
    return True


def is_installed() -> bool:
    """Whether calls of this process pass compiled modules."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def digest() -> str:
    """Of everything that compiled modules depend on: the packages' source, the locked libraries, and the interpreter."""
    state = hashlib.sha256(f"{sys.version} {_suffix()}\n".encode())
    sources = (
        path for package in _PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts
    )
    for path in (ROOT / "requirements" / "run.txt", *sorted(sources)):
        data = path.read_bytes()
        state.update(f"{path.relative_to(ROOT)} {len(data)}\n".encode())
        state.update(data)
    return state.hexdigest()[:32]


def _folder() -> Path | None:
    value = os.environ.get(SETTING) or ("off" if os.environ.get("MARKETPLACE_ENV") == "test" else "auto")
    if value == "off":
        return None
    return ROOT / "var" / "compiled" if value == "auto" else Path(value)


def _suffix() -> str:
    return str(sysconfig.get_config_var("EXT_SUFFIX"))
