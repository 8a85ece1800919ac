"""Small pictures, written by hand."""

from __future__ import annotations

import struct
import zlib


def png(width: int, height: int, colour: tuple[int, int, int] = (40, 90, 200)) -> bytes:
    """A picture of one colour."""
    rows = (b"\0" + bytes(colour) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_header(width: int, height: int) -> bytes:
    """What says of a picture how large it is, and nothing else of it."""
    return png(1, 1)[:16] + struct.pack(">II", width, height)


def jpeg_header(width: int, height: int) -> bytes:
    """An application segment, a fill byte and a progressive frame."""
    segment = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    return b"\xff\xd8" + segment + b"\xff\xff\xc2" + struct.pack(">HBHHB", 8, 8, height, width, 1) + bytes(3)


def webp_headers(width: int, height: int) -> dict[str, bytes]:
    """The three kinds."""
    lossless = 0x2F | (width - 1) << 8 | (height - 1) << 22
    extended = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    bodies = {
        "VP8 ": bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width, height),
        "VP8L": lossless.to_bytes(5, "little") + bytes(8),
        "VP8X": extended,
    }
    return {
        kind: b"RIFF" + bytes(4) + b"WEBP" + kind.encode() + struct.pack("<I", len(body)) + body
        for kind, body in bodies.items()
    }
