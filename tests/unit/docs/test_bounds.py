"""The bounds that docs/production.md tells are those of the code."""

from __future__ import annotations

import re

import pytest

from gateway.admission import retries
from gateway.config import AdmissionConfig, Deadlines, Limits
from tests.unit.docs.test_documents import ROOT

_DEADLINES, _LIMITS, _ADMISSION = Deadlines(), Limits(), AdmissionConfig()
_BREAKER = _ADMISSION.breaker
BOUNDS = {
    "connection to a server": [_DEADLINES.connect],
    "TLS with it": [_DEADLINES.tls],
    "first byte of its answer": [_DEADLINES.first_byte],
    "silence within a stream that carries a call": [_DEADLINES.idle],
    "a whole call": [_DEADLINES.total],
    "age of a listening stream": [_DEADLINES.stream],
    "a client that does not read its stream": [_DEADLINES.slow_reader],
    "calls at once, of one server": [_ADMISSION.per_server],
    "calls at once, of one organisation": [_ADMISSION.per_tenant],
    "places in line": [_ADMISSION.queue, _ADMISSION.queue_s],
    "listening streams of one key": [_ADMISSION.streams_per_key, _ADMISSION.streams_per_tenant],
    "attempts of what may be repeated": [retries.MAX_ATTEMPTS, retries._SHARE * 100, retries._FLOOR],
    "failures until an address is left alone": [
        _BREAKER.consecutive,
        _BREAKER.minimum,
        _BREAKER.window_s,
    ],
    "how long it is left alone": [_BREAKER.open_s, _BREAKER.open_max_s, _BREAKER.retry_after_max_s],
    "request; answer of a server": [_LIMITS.request_bytes / 2**20, _LIMITS.reply_bytes / 2**20],
    "depth of JSON": [_LIMITS.json_depth, _LIMITS.headers, _LIMITS.header_bytes / 2**10],
}


@pytest.fixture(scope="module")
def rows() -> dict[str, str]:
    text = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    section = text.partition("## Bounds of a gateway process")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)[1:])


def test_every_bound_is_told_as_it_is(rows: dict[str, str]) -> None:
    for words, values in BOUNDS.items():
        (told,) = [value for name, value in rows.items() if name.startswith(words)]
        assert [float(number) for number in re.findall(r"\d+", told)] == values, words
    assert len(rows) == len(BOUNDS)
