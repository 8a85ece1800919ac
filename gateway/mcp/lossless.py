"""JSON that keeps every digit, for messages that are taken apart on their way.

`orjson` reads whole numbers beyond 64 bits as floats and so rounds them. A text that holds such digits is read and written by the
standard library instead; all others go the fast way.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

# 64 bits are up to 20 digits; a run of 19 may already be out of range.
_MANY_DIGITS = re.compile(rb"[0-9]{19}")


def loads(data: bytes) -> Any:
    """Raises ValueError for anything that is not JSON."""
    if _MANY_DIGITS.search(data) is None:
        return orjson.loads(data)
    orjson.loads(data)  # stricter than the standard library about what JSON is
    return json.loads(data)


def dumps(value: Any) -> bytes:
    """Compact JSON. Raises TypeError or ValueError for what JSON cannot say."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def canonical(value: Any) -> bytes:
    """One text for equal values, whatever the order of their members."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def needs_care(data: bytes) -> bool:
    """Whether the fast parser may have rounded a number of this text."""
    return _MANY_DIGITS.search(data) is not None
