"""The lock between the writer of an organisation's calls and the close of its periods.

Writers hold it shared from before they look which period is open until their commit; the close takes it alone. After the commit
of a close no row can join what was closed. Two-part advisory locks of Postgres, as transactions hold them.
"""

from __future__ import annotations

from zlib import crc32

CLASS = 77


def key_of(schema: str) -> int:
    """A signed 32-bit number. Two organisations that share one wait for each other's close, and nothing else."""
    number = crc32(schema.encode())
    return number - (1 << 32) if number >= 1 << 31 else number
