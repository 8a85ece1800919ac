"""TXT records of a name, asked of the resolvers of this machine or of those that the operator names.

The standard library knows no TXT records. One question is sent over TCP (RFC 7766), which cuts no answer short and which nobody
off the path can answer. Resolvers do the rest: following other names, trying authorities, checking signatures.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from core.errors import UpstreamError

TIMEOUT_S = 3.0
_TXT, _INTERNET = 16, 1
_RECURSION_DESIRED = 0x0100
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_PORT = 53
_RECORDS_MAX = 200
_RESOLV_CONF = Path("/etc/resolv.conf")


class NameServerError(UpstreamError):
    code = "core.name_server"
    default_message = "No name server gave an answer."
    default_next_step = "Try again in a few minutes."


def txt_records(name: str, servers: Sequence[str] = ()) -> list[str]:
    """The texts at a name; none when the name has none or does not exist. `servers` are `address` or `address:port`.

    Raises NameServerError when no resolver answers.
    """
    for server in servers or _system_servers():
        host, port = _endpoint(server)
        try:
            return _read(_ask(host, port, _question(name)))
        except (OSError, ValueError, struct.error, IndexError):
            continue
    raise NameServerError


def _system_servers() -> list[str]:
    try:
        lines = _RESOLV_CONF.read_text().splitlines()
    except OSError:
        return []
    return [words[1] for line in lines if (words := line.split())[:1] == ["nameserver"] and len(words) > 1]


def _endpoint(server: str) -> tuple[str, int]:
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        return host, int(port.lstrip(":") or _PORT)
    if server.count(":") == 1:
        host, _, port = server.partition(":")
        return host, int(port)
    return server, _PORT


def _question(name: str) -> bytes:
    labels = name.rstrip(".").encode("idna" if not name.isascii() else "ascii").split(b".")
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError("not a name")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack("!HHHHHH", secrets.randbits(16), _RECURSION_DESIRED, 1, 0, 0, 0) + encoded + b"\0\x10\0\x01"


def _ask(host: str, port: int, question: bytes) -> bytes:
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.sendall(struct.pack("!H", len(question)) + question)
        (size,) = struct.unpack("!H", _exactly(connection, 2))
        answer = _exactly(connection, size)
    if answer[:2] != question[:2]:
        raise ValueError("the answer is to another question")
    return answer


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = connection.recv(size - len(found))
        if not chunk:
            raise OSError("the connection ended early")
        found += chunk
    return found


def _read(answer: bytes) -> list[str]:
    _, flags, questions, answers, _, _ = struct.unpack("!HHHHHH", answer[:12])
    if flags & 0xF == _NO_SUCH_NAME:
        return []
    if flags & 0xF != _NO_ERROR:
        raise ValueError("the resolver failed")
    place = 12
    for _ in range(questions):
        place = _after_name(answer, place) + 4
    found = []
    for _ in range(min(answers, _RECORDS_MAX)):
        place = _after_name(answer, place)
        kind, space, _, size = struct.unpack("!HHIH", answer[place : place + 10])
        place += 10
        if kind == _TXT and space == _INTERNET:
            found.append(_texts(answer[place : place + size]))
        place += size
    return found


def _after_name(answer: bytes, place: int) -> int:
    """Where a name ends; pointers (RFC 1035, 4.1.4) are passed over, since whose record it is says the question."""
    while (size := answer[place]) != 0:
        if size & 0xC0:
            return place + 2
        place += size + 1
    return place + 1


def _texts(data: bytes) -> str:
    """A record's strings are one text (RFC 7208, 3.3)."""
    found, place = b"", 0
    while place < len(data):
        size = data[place]
        found += data[place + 1 : place + 1 + size]
        place += size + 1
    return found.decode("utf-8", "replace")
