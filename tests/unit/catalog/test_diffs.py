from __future__ import annotations

from catalog import diffs


def tool(name: str, description: str = "Does it.") -> dict:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}


def test_tools_are_added_removed_and_changed():
    before = {"a": tool("a"), "b": tool("b"), "c": tool("c")}
    after = {"b": tool("b"), "c": tool("c", "Does more."), "d": tool("d")}

    found = {change.name: change.kind for change in diffs.of_inventories(before, after)}
    assert found == {"a": "removed", "c": "changed", "d": "added"}


def test_a_change_is_shown_line_by_line_with_what_does_not_show_made_visible():
    (change,) = diffs.of_inventories({"a": tool("a")}, {"a": tool("a", "Does it.\u200b")})

    assert [line.text for line in change.lines if line.kind == "added"] == ['+  "description": "Does it.\\u200b",']
    assert [line.text for line in change.lines if line.kind == "removed"] == ['-  "description": "Does it.",']


def test_what_callers_do_not_see_is_no_change():
    assert diffs.of_inventories({"a": tool("a")}, {"a": tool("a") | {"_meta": {"x": 1}}}) == []


def test_long_differences_end_with_a_count():
    lines = diffs.of_values({}, {f"key{number}": number for number in range(1000)})
    assert len(lines) == diffs.LINES_MAX + 1
    assert "lines more" in lines[-1].text
