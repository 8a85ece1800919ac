"""What code adds to a log line is on the list of what log lines may hold."""

from __future__ import annotations

import ast

from core.logs import FIELDS
from tests.architecture.source import modules


def test_every_field_that_is_logged_is_on_the_list():
    unknown = [
        f"{module.at(node.value)}: {key.value}"
        for module in modules()
        for node in module.nodes()
        if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant) and key.value not in FIELDS
    ]
    assert unknown == []
