"""Pages and gateway as two processes under production settings, as docs/production.md describes them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from django.conf import settings as configured

from marketplace.gateway_config import build_config
from tests.integration.marketplace.test_production import SETTINGS, manage
from tests.support.gateways import listening_socket
from tests.support.processes import wait_until
from tests.support.stack import ROOT, clean_environment

HEADERS = {"host": "marketplace.example", "x-forwarded-proto": "https"}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@dataclass
class Roles:
    web: httpx.Client
    gateway: httpx.Client
    data: Path

    def log(self, role: str) -> list[str]:
        return (self.data / f"{role}.log").read_text().splitlines()


@pytest.fixture(scope="module")
def roles(tmp_path_factory, django_db_setup) -> Iterator[Roles]:
    data = tmp_path_factory.mktemp("production")
    config = build_config()
    settings = {
        "DATABASE_URL": config.database_url,
        "REDIS_URL": config.redis_url,
        "MARKETPLACE_DATA": str(data),
        "MARKETPLACE_BEHIND_PROXY": "true",
        # What these processes seal in the worker's database is opened by tests that come after.
        "MARKETPLACE_VAULT_KEYS": configured.SECRET_KEY,
    }
    done = manage("collectstatic", "--noinput", **settings)
    assert done.returncode == 0, done.stderr
    with ExitStack() as stack:
        started = [stack.enter_context(process(role, data, settings)) for role in ("web", "gateway")]
        clients = [stack.enter_context(httpx.Client(base_url=url, headers=HEADERS)) for url in started]
        for client in clients:
            wait_until(lambda client=client: answers(client), f"{client.base_url} to be ready")
        yield Roles(*clients, data)


@contextmanager
def process(role: str, data: Path, settings: dict[str, str]) -> Iterator[str]:
    environment = {**clean_environment(), **SETTINGS, **settings, "MARKETPLACE_ROLE": role}
    with listening_socket() as sock, (data / f"{role}.log").open("wb") as log:
        command = [sys.executable, "-m", "uvicorn", "marketplace.asgi:application", "--fd", str(sock.fileno())]
        child = subprocess.Popen(command, env=environment, cwd=ROOT, pass_fds=[sock.fileno()], stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            child.terminate()
            child.wait(timeout=30)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class TestPages:
    def test_a_page_names_collected_files_that_are_served_for_good(self, roles):
        page = roles.web.get("/accounts/login/")
        styles = re.findall(r'href="(/static/[^"]+\.css)"', page.text)

        assert page.status_code == 200
        assert styles
        for path in styles:
            answer = roles.web.get(path)
            assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True), path
            assert re.search(r"\.[0-9a-f]{12}\.css$", path)

    @pytest.mark.parametrize("path", ["/mcp/payments", "/payments/mcp", "/v1/invoke"])
    def test_calls_are_not_served_here(self, roles, path):
        answer = roles.web.post(path, json=CALL)

        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")

    def test_plain_http_is_sent_on_but_for_probes(self, roles):
        plain = {"x-forwarded-proto": "http"}

        assert roles.web.get("/", headers=plain).headers["location"] == "https://marketplace.example/"
        assert roles.web.get("/readyz", headers=plain).status_code == 200


class TestGateway:
    @pytest.mark.parametrize("path", ["/mcp/payments", "/payments/mcp", "/v1/invoke"])
    def test_calls_are_served_here(self, roles, path):
        answer = roles.gateway.post(path, json=CALL, headers={"accept": "application/json, text/event-stream"})

        assert answer.status_code == 401

    @pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/", "/static/css/base.css", "/api/v1/servers/"])
    def test_pages_are_not(self, roles, path):
        answer = roles.gateway.get(path)

        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")

    def test_it_is_alive(self, roles):
        assert roles.gateway.get("/healthz").json() == {"alive": True}


@pytest.mark.parametrize("role", ["web", "gateway"])
def test_every_line_of_the_log_is_an_object_and_none_tells_what_was_asked_for(roles, role):
    client = getattr(roles, role)
    client.get("/accounts/login/?code=canary")
    client.post("/mcp/payments?code=canary", json=CALL)
    lines = [json.loads(line) for line in roles.log(role)]

    assert "uvicorn.error" in {line["logger"] for line in lines}
    assert {"at", "level", "logger", "event"} <= set.intersection(*(set(line) for line in lines))
    assert not any("canary" in str(line) for line in lines)


def test_a_web_process_without_collected_files_does_not_start(tmp_path):
    done = manage("shell", "-v0", "-c", "import marketplace.asgi", MARKETPLACE_DATA=str(tmp_path))

    assert done.returncode != 0
    assert "collectstatic" in done.stderr.splitlines()[-1]
