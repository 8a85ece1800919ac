from __future__ import annotations

import pytest

from catalog import digests, health

TOOL = {"name": "a", "description": "x", "inputSchema": {}}


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([TOOL], ""),
        ([{**TOOL, "icons": []}], ""),
        ([{**TOOL, "description": "y"}], "changed a"),
        ([], "removed a"),
        ([TOOL, {**TOOL, "name": "b"}], "added b"),
        ([{**TOOL, "name": name} for name in "abcdef"], "added b, c, d and 2 more"),
        ([{**TOOL, "inputSchema": {"type": "object"}}, {**TOOL, "name": "b"}], "changed a; added b"),
    ],
)
def test_differences_from_the_approved_definitions_are_told_in_words(tools, words):
    assert health.changes_since({"a": digests.of_tool(TOOL)}, tools) == words
