"""What definitions make likely of tools. Suggestions: people confirm them."""

from __future__ import annotations

import pytest

from catalog.labels import EXTERNAL_OUTPUT, LABELS, PRIVATE_DATA, UNTRUSTED_INPUT, suggest

URL = {"inputSchema": {"type": "object", "properties": {"url": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("name", "effect", "definition", "labels"),
    [
        ("add", "read", {}, set()),
        ("list_invoices", "read", {}, {PRIVATE_DATA}),
        ("listCustomers", "read", {}, {PRIVATE_DATA}),
        ("search_web", "read", {}, {UNTRUSTED_INPUT}),
        ("fetch_page", "read", URL, {UNTRUSTED_INPUT, EXTERNAL_OUTPUT}),
        ("read_inbox", "read", {}, {UNTRUSTED_INPUT, PRIVATE_DATA}),
        ("send_message", "write", {}, {EXTERNAL_OUTPUT}),
        ("anything", "read", {"annotations": {"openWorldHint": True}}, {UNTRUSTED_INPUT}),
        ("anything", "", {"annotations": {"openWorldHint": True, "readOnlyHint": True}}, {UNTRUSTED_INPUT}),
        ("anything", "write", {"annotations": {"openWorldHint": True}}, {UNTRUSTED_INPUT, EXTERNAL_OUTPUT}),
        ("search_web", "read", {"annotations": {"openWorldHint": False}}, set()),
    ],
)
def test_words_effects_and_annotations_suggest_labels(name, effect, definition, labels):
    assert suggest(name, "", definition, effect) == labels


@pytest.mark.parametrize(
    "definition", [{"annotations": 5}, {"inputSchema": []}, {"inputSchema": {"properties": {"a": 1}}}]
)
def test_odd_definitions_suggest_and_never_fail(definition):
    assert suggest("x" * 300, "\x00", definition, "nonsense") <= set(LABELS)
