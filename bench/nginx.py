"""nginx in three roles: the server that everybody calls, the plain reverse proxy that the gateway is compared with, and the
balancer in front of several gateways.

One process each, no logs, no limits on the life of a connection. The server answers a constant, so that its cost is small and
the same for every subject.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.harness import Child, program, running

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_EVERLASTING = "keepalive_requests 1000000000; keepalive_timeout 1h;"


@contextlib.contextmanager
def answering(port: int, answer: bytes, folder: Path) -> Iterator[Child]:
    """A server that gives the same JSON answer to every request, on the core of the caller."""
    # In a quoted string of nginx only these two and the variables' dollar sign mean something.
    text = answer.decode("ascii").replace("\\", "\\\\").replace("'", "\\'")
    server = f"listen 127.0.0.1:{port} backlog=2048; default_type application/json; return 200 '{text}';"
    with _nginx("upstream", f"server {{ {server} }}", folder, core=None) as child:
        yield child


@contextlib.contextmanager
def proxying(port: int, upstream_port: int, folder: Path, core: int) -> Iterator[Child]:
    """A reverse proxy with kept connections and nothing else, on a core of its own."""
    upstream = f"upstream up {{ server 127.0.0.1:{upstream_port}; keepalive 128; {_EVERLASTING} }}"
    location = 'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";'
    server = f"server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ {location} }} }}"
    with _nginx("nginx", f"{upstream}\n{server}", folder, core=core) as child:
        yield child


@contextlib.contextmanager
def balancing(port: int, upstream_ports: Sequence[int], folder: Path) -> Iterator[Child]:
    """A reverse proxy that hands each request to the next of several servers, whoever asks, and streams both ways."""
    servers = " ".join(f"server 127.0.0.1:{each};" for each in upstream_ports)
    # Round robin counts per worker, so it is exact with one; a server that is down is passed over, never written off.
    upstream = f"upstream up {{ {servers} keepalive 128; {_EVERLASTING} }}"
    location = (
        'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; '
        "proxy_set_header Host $http_host; proxy_buffering off; proxy_read_timeout 1h; client_max_body_size 0;"
    )
    server = f"server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ {location} }} }}"
    with _nginx("balancer", f"{upstream}\n{server}", folder, core=None) as child:
        yield child


@contextlib.contextmanager
def _nginx(name: str, http: str, folder: Path, core: int | None) -> Iterator[Child]:
    home = folder / name
    home.mkdir()
    paths = "\n".join(f"{kind}_temp_path {home}/{kind};" for kind in _TEMPORARY)
    (home / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {home}/nginx.pid;\nerror_log stderr error;\n"
        f"events {{ worker_connections 1024; }}\n"
        f"http {{\naccess_log off;\ntcp_nodelay on;\n{_EVERLASTING}\n{paths}\n{http}\n}}\n",
        encoding="ascii",
    )
    command = (program("nginx"), "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr")
    with running(name, command, folder=folder, core=core) as child:
        yield child
