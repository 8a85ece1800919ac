"""Real public data beside the project; a test that wants it says so when it is not there."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def tools_of_shared_data() -> list[Any]:
    """The input schemas of every tool of `metorial-tools.jsonl.gz`; skips when the file is not there."""
    path = SHARED / "metorial-tools.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the project")
    return _schemas(path)


@functools.cache
def _schemas(path: Path) -> list[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [tool.get("inputSchema") or {} for line in lines for tool in json.loads(line)["tools"]]
