"""A name server that speaks DNS over TCP and knows the TXT records that a test gives it."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

NOT_FOUND, FAILED = 3, 2


@dataclass
class Names:
    records: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: bool = False
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        names: Names = self.server.names  # type: ignore[attr-defined]
        size = struct.unpack("!H", self.request.recv(2))[0]
        question = self.request.recv(size)
        name, end = _name(question, 12)
        names.asked.append(name)
        texts = names.records.get(name, [])
        code = FAILED if names.broken else 0 if texts else NOT_FOUND
        body = question[12 : end + 4]
        # An alias before the texts, as resolvers answer for a name that leads to another.
        alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c"
        answers = [alias, *(b"\xc0\x0c" + _record(text) for text in texts)]
        head = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(answers), 0, 0)
        answer = head + body + b"".join(answers)
        self.request.sendall(struct.pack("!H", len(answer)) + answer)


def _name(message: bytes, place: int) -> tuple[str, int]:
    labels = []
    while message[place]:
        labels.append(message[place + 1 : place + 1 + message[place]].decode())
        place += message[place] + 1
    return ".".join(labels), place + 1


def _record(text: str) -> bytes:
    """The text in strings of 100 bytes, as long ones are cut."""
    parts = [text[start : start + 100].encode() for start in range(0, len(text), 100)]
    data = b"".join(bytes([len(part)]) + part for part in parts)
    return struct.pack("!HHIH", 16, 1, 60, len(data)) + data


@contextmanager
def running_names() -> Iterator[Names]:
    names = Names()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.names = names  # type: ignore[attr-defined]
        names.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield names
        finally:
            server.shutdown()
