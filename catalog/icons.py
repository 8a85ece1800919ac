"""Small pictures of servers: which bytes are one, and how they travel inside an entry (`data:` addresses, RFC 2397). Pure.

Only kinds that hold nothing but a picture: an SVG can hold programs and links, so it is refused. Of what is taken the browser is
told the kind that its first bytes show, and how large it is to be unpacked is read before anybody unpacks it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# As text it has to fit into the longest text that formats take.
BYTES_MAX = 72 * 2**10
SIDE_MAX = 1024
_SCHEME = "data:"
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# Frame headers, which begin with the sides (ITU T.81, B.1.1.3): all SOF but DHT, JPG and DAC. Then markers without a length.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class Picture:
    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:32]

    @property
    def address(self) -> str:
        """The picture itself as an address."""
        return f"{_SCHEME}{self.media_type};base64,{base64.b64encode(self.data).decode()}"


def is_inside(address: str) -> bool:
    """Whether an address is what it leads to."""
    return address[: len(_SCHEME)].lower() == _SCHEME


def judge(data: bytes) -> Picture:
    """The picture that these bytes are. Raises ValueError, saying why it is not taken."""
    if len(data) > BYTES_MAX:
        raise ValueError(f"has more than {BYTES_MAX:,} bytes")
    media_type, sides = _read(data)
    if not all(0 < side <= SIDE_MAX for side in sides):
        raise ValueError(f"is not between 1 and {SIDE_MAX} pixels high and wide")
    return Picture(media_type, data)


def from_address(address: str) -> Picture:
    """The picture in a `data:` address, whatever the address calls it. Raises ValueError, saying why it is not taken."""
    head, comma, body = address.partition(",")
    if not comma or not is_inside(head) or not head.lower().endswith(";base64"):
        raise ValueError("is no picture in base64")
    if len(body) > BYTES_MAX * 4 // 3 + 4:
        raise ValueError(f"has more than {BYTES_MAX:,} bytes")
    try:
        return judge(base64.b64decode(body, validate=True))
    except binascii.Error as error:
        raise ValueError("is no picture in base64") from error


def _read(data: bytes) -> tuple[str, tuple[int, int]]:
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        return "image/png", struct.unpack_from(">II", data, 16)
    if data.startswith(_JPEG):
        return "image/jpeg", next(_jpeg_sides(data), (0, 0))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return "image/webp", _webp_sides(data)
    if b"<svg" in data[:1024].lower():
        raise ValueError("is an SVG, which could hold a program; give a PNG, JPEG or WebP")
    raise ValueError("is neither PNG nor JPEG nor WebP")


def _jpeg_sides(data: bytes) -> Iterator[tuple[int, int]]:
    """Of its frame header, which comes before the picture itself; nothing when there is none."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            yield struct.unpack_from(">HH", data, at + 5)
            return
        at += 2 if marker in _BARE else 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp_sides(data: bytes) -> tuple[int, int]:
    """RFC 9649, 2.5 to 2.7: lossy, lossless or extended."""
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return 0, 0
