"""Loopback TCP ports."""

import socket
from collections.abc import Collection

from marketplace.supervisor.errors import StartError

LOOPBACK = "127.0.0.1"
_BACKLOG = 2048


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(*, avoid: Collection[int] = ()) -> int:
    """A port that is free at this moment; who starts a server on it has to expect that it is lost."""
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port not in avoid:
            return port


def listen(port: int) -> socket.socket:
    """A listening socket on a port that the user named. Raises StartError when it is taken."""
    try:
        return bound(port)
    except OSError as error:
        message = (
            f"Port {port} cannot be used ({error.strerror}): stop the program that holds it, "
            f"or choose another port: scripts/up --port {port + 1}"
        )
        raise StartError(message) from error


def bound(port: int) -> socket.socket:
    """A listening socket, to be inherited by a process. Raises OSError; port 0 is any free one."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit it. uvicorn takes an inherited socket for a Unix one and would leave it off, and an answer
    # in two writes would then wait 40 ms for the caller's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError):
        listener.close()
        raise
    listener.listen(_BACKLOG)
    return listener


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port
