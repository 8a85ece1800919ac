"""The proxy configuration of docs/nginx.conf, run: every path goes to the role that serves it, with what that role relies on."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from bench.harness import BenchError, need_programs, program, running
from marketplace.gateway_config import gateway_paths
from marketplace.supervisor.ports import free_port
from tests.support.processes import wait_until
from tests.support.stack import ROOT

GATEWAY = (
    "/mcp",
    "/mcp/payments",
    "/payments/mcp",
    "/v1/invoke",
    "/v1/token",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp/payments",
)
PAGES = (
    "/",
    "/readyz",
    "/servers/payments/",
    "/o/acme/",
    "/mcp/payments/server-card",
    "/v1/openapi.json",
    "/api/v1/openapi.json",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/mcp/catalog.json",
    "/static/css/base.css",
)


@contextmanager
def echoing(role: str) -> Iterator[int]:
    """A server that tells its role and the headers that reached it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.dumps({"role": role, "headers": [[k.lower(), v] for k, v in self.headers.items()]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    try:
        need_programs("nginx")
    except BenchError as reason:
        pytest.skip(f"nginx is not to be had here: {reason}")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    with ExitStack() as stack:
        gateway, pages = (stack.enter_context(echoing(role)) for role in ("gateway", "pages"))
        text = as_documented(port, {8100: pages, 8101: gateway, 8102: free_port()}, folder)
        (folder / "nginx.conf").write_text(text)
        command = (program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr")
        stack.enter_context(running("nginx", command, folder=folder, core=None))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}"))
        wait_until(lambda: answers(client), "nginx")
        yield client


def as_documented(port: int, ports: dict[int, int], folder: Path) -> str:
    """The file with ports of this machine, without TLS, in the frame that an installed nginx has around it."""
    text = (ROOT / "docs" / "nginx.conf").read_text(encoding="utf-8")
    text = re.sub(r"^\s*ssl_.*\n", "", text, flags=re.MULTILINE).replace("443 ssl", f"127.0.0.1:{port}")
    for old, actual in ports.items():
        text = text.replace(f"127.0.0.1:{old};", f"127.0.0.1:{actual};")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    frame = f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr crit;\nevents {{}}\n"
    return f"{frame}http {{\naccess_log off;\n{places}{text}\n}}\n"


def answers(client: httpx.Client) -> bool:
    try:
        return client.post("/").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(("role", "path"), [*(("gateway", path) for path in GATEWAY), *(("pages", p) for p in PAGES)])
def test_each_path_goes_to_the_role_that_serves_it(proxy: httpx.Client, role: str, path: str) -> None:
    assert gateway_paths().is_ours(path) is (role == "gateway")
    # One of the two gateways is down all the while; nobody notices.
    assert [proxy.post(path, content=b"{}").json()["role"] for _ in range(3)] == [role] * 3


def test_numbers_of_one_process_are_not_shown_to_the_world(proxy: httpx.Client) -> None:
    assert proxy.get("/metrics").status_code == 404


def test_what_we_rely_on_is_set_by_the_proxy_and_not_by_the_caller(proxy: httpx.Client) -> None:
    sent = {"host": "marketplace.example", "x-forwarded-proto": "https", "x-forwarded-for": "8.8.8.8"}
    headers = proxy.post("/mcp/payments", headers=sent, content=b"{}").json()["headers"]

    assert [value for name, value in headers if name == "host"] == ["marketplace.example"]
    assert [value for name, value in headers if name == "x-forwarded-proto"] == ["http"]
    assert [value for name, value in headers if name == "x-forwarded-for"] == ["8.8.8.8, 127.0.0.1"]
