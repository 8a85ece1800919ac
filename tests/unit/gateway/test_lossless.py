"""JSON that keeps every digit."""

from __future__ import annotations

import pytest

from gateway.mcp import lossless


@pytest.mark.parametrize(
    "text",
    [
        b'{"n":123456789012345678901234567890}',
        b'{"n":-18446744073709551616,"f":1.5,"s":"\xc3\xbc"}',
        b'{"n":9007199254740993}',
        b'{"s":"12345678901234567890123"}',
        b"[]",
    ],
)
def test_what_is_read_is_written_the_same(text: bytes) -> None:
    assert lossless.loads(lossless.dumps(lossless.loads(text))) == lossless.loads(text)
    assert lossless.loads(text) == __import__("json").loads(text)


@pytest.mark.parametrize("text", [b"{", b'{"n":1234567890123456789012345,}', b"[NaN,1234567890123456789012]", b""])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        lossless.loads(text)


def test_equal_values_have_one_canonical_text() -> None:
    big = 10**30
    assert lossless.canonical({"b": big, "a": 1}) == lossless.canonical({"a": 1, "b": big})
    assert lossless.canonical({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
