"""What a tool's definition makes likely of it: text of strangers, private data, a way out. Only suggested. Pure.

A definition is its provider's word, and its words may lie. So a suggestion never counts by itself unless an organisation asks for
that, and what nobody has confirmed is shown as not labelled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNTRUSTED_INPUT, PRIVATE_DATA, EXTERNAL_OUTPUT = "untrusted_input", "private_data", "external_output"
LABELS = (UNTRUSTED_INPUT, PRIVATE_DATA, EXTERNAL_OUTPUT)

_TEXT_MAX = 2_000
_SPLIT = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_STRANGERS = frozenset(
    """web url urls website page pages browse browser crawl scrape fetch internet search rss feed mail email emails inbox
    message messages issue issues comment comments review reviews tweet tweets ticket tickets attachment download""".split()  # noqa: SIM905
)
_PRIVATE = frozenset(
    """customer customers invoice invoices payment payments account accounts user users employee employees salary contact
    contacts mail email emails inbox message messages calendar file files document documents drive secret secrets credential
    credentials password token database query sql table record records private internal crm order orders patient balance
    repository""".split()  # noqa: SIM905
)
_OUT = frozenset(
    """send post publish tweet reply forward upload share email mail notify webhook push transfer pay invite message comment
    submit export http request fetch""".split()  # noqa: SIM905
)
_SENDING = frozenset("send post publish reply forward upload share notify push transfer invite submit tweet".split())  # noqa: SIM905


def suggest(name: str, description: str, definition: Mapping[str, Any], side_effect: str) -> frozenset[str]:
    """The labels that annotations, side effect and words of a tool make likely."""
    hints = definition.get("annotations")
    hints = hints if isinstance(hints, Mapping) else {}
    is_reading = side_effect == "read" or (not side_effect and hints.get("readOnlyHint") is True)
    called = _words(name)
    told = called | _words(description[:_TEXT_MAX])
    is_open = hints.get("openWorldHint")
    found: set[str] = set()
    if is_open is True or (is_open is not False and called & _STRANGERS and not called & _SENDING):
        found.add(UNTRUSTED_INPUT)
    if (called & _PRIVATE and not called & _SENDING) or (is_reading and is_open is False and told & _PRIVATE):
        found.add(PRIVATE_DATA)
    if (not is_reading and (called & _OUT or is_open is True)) or (is_reading and _takes_address(definition)):
        found.add(EXTERNAL_OUTPUT)
    return frozenset(found)


def _takes_address(definition: Mapping[str, Any]) -> bool:
    """Whether the caller chooses an address that is asked: what stands in it leaves, also where the tool only reads."""
    schema = definition.get("inputSchema")
    fields = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(fields, Mapping):
        return False
    return any(
        isinstance(field, Mapping) and (field.get("format") in {"uri", "url"} or _words(str(name)) & {"url", "uri"})
        for name, field in fields.items()
    )


def _words(text: str) -> set[str]:
    return {word for word in _SPLIT.split(_CAMEL.sub(" ", text).lower()) if word}
