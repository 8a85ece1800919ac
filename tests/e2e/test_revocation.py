"""A right that is taken back is gone for the next call, at every gateway process, also when nobody can push the news.

The bars are promises of the product (ARCHITECTURE, budgets): a second, and five without Valkey. Here they are how long is waited.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from marketplace.supervisor.ports import free_port
from marketplace.supervisor.process import die_with_parent
from marketplace.supervisor.valkey import Valkey
from tests.e2e.furnish import shell
from tests.support.processes import wait_until
from tests.support.stack import ROOT, RunningStack, data_folder, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("revocation")]

PUSHED_S, POLLED_S = 1.0, 5.0

RIGHTS = """
from access.services import grants, sessions
from access.services.grants import Subject
from catalog.models import Server
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.models import Tenant, User
from tenants.services import api_keys
acme, alice = Tenant.objects.get(slug="acme"), User.objects.get(email="alice@acme.example")
for word in {words}:
    issued = api_keys.issue(tenant=acme, name=word, scopes=[Scope.INVOKE], actor=alice, agent=word)
    with tenant_scope(acme):
        server = Server.objects.get(slug="payments")
        grant = grants.give(
            tenant=acme, server=server, subject=Subject.of("key", str(issued.key.pk)), actor=alice,
            tools=["refund_invoice"], side_effects=["destructive"], max_trust="high",
        )
        session = sessions.issue(
            tenant=acme, server=server, subject=Subject.of("agent", word), actor=alice, name=word, consented_trust="high"
        )
    print("RIGHTS", issued.text, issued.key.pk, grant.pk, session.pk)
"""
REVOKE = """
from access.services import grants, sessions
from tenants.context import tenant_scope
from tenants.models import Tenant, User
from tenants.services import api_keys
acme, alice = Tenant.objects.get(slug="acme"), User.objects.get(email="alice@acme.example")
with tenant_scope(acme):
    {lines}
"""
LINES = {
    "grant": "grants.revoke(tenant=acme, grant_id='{grant}', actor=alice)",
    "session": "sessions.revoke(tenant=acme, session_id='{session}', actor=alice)",
    "key": "api_keys.revoke(tenant=acme, key_id='{key}', actor=alice)",
}
# What is taken back, what the caller shows, and what it then gets.
KINDS = [
    ("grant", "key", (403, "grant_revoked")),
    ("session", "key", (403, "session_revoked")),
    ("key", "key", (401, None)),
    ("key", "token", (401, None)),
]


class Broker:
    """A Valkey that belongs to nobody else, so that nobody starts it again when it is killed."""

    def __init__(self, home: Path) -> None:
        self._valkey = Valkey(home=home, user=None, port=free_port(), password=uuid4().hex, throwaway=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._valkey.url

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._valkey.data.mkdir(exist_ok=True)
        (self._valkey.data / "valkey.conf").write_text(self._valkey.configuration())
        with (self._valkey.home / "valkey.log").open("ab") as said:
            self._process = subprocess.Popen(
                self._valkey.spec().argv,
                stdout=said,
                stderr=said,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - touches nothing that a thread may hold
            )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait(10)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with data_folder() as home:
        broker = Broker(home)
        broker.start()
        yield broker
        broker.send(signal.SIGKILL)


@pytest.fixture(scope="module")
def stack(broker: Broker) -> Iterator[RunningStack]:
    with data_folder() as data, running_stack(data, environment={"REDIS_URL": broker.url}) as running:
        yield running


@contextmanager
def gateway_process(stack: RunningStack, broker: Broker, name: str) -> Iterator[str]:
    """One more process that serves calls alone, as production has them; its address."""
    port = free_port()
    environment = stack.environment | {"REDIS_URL": broker.url, "MARKETPLACE_ROLE": "gateway"}
    command = [sys.executable, "-m", "uvicorn", "marketplace.asgi:application", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "gateway.http:Protocol", "--no-proxy-headers", "--no-access-log"]
    with (stack.data / f"{name}.log").open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=said,
            stderr=said,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - touches nothing that a thread may hold
        )
    try:
        base = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(base), f"{name} serves")
        yield base
    finally:
        process.terminate()
        process.wait(30)


def _answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/healthz", headers={"host": "127.0.0.1"}, timeout=5).status_code < 500
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def gateways(stack: RunningStack, broker: Broker) -> Iterator[tuple[str, str]]:
    with gateway_process(stack, broker, "gateway-1") as one, gateway_process(stack, broker, "gateway-2") as two:
        yield one, two


@dataclass
class Caller:
    """Who has a key, a grant for refunds to it and a session of its agent, and shows the key or a token for it."""

    stack: RunningStack
    gateways: tuple[str, str]
    session: str
    key: str
    ids: dict[str, str]
    credential: str

    def take_token(self) -> None:
        wait_until(lambda: self._token().status_code == 200, "the key is known")
        self.credential = self._token().json()["access_token"]

    def _token(self) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", "Host": self._host}
        return httpx.post(f"{self.gateways[0]}/v1/token", headers=headers, json={"servers": ["payments"]}, timeout=20)

    @property
    def _host(self) -> str:
        return httpx.URL(self.stack.url).netloc.decode()

    def seen(self) -> list[tuple[int, str | None]]:
        """What a refund gets at each gateway."""
        return [self._call(base) for base in self.gateways]

    def _call(self, base: str) -> tuple[int, str | None]:
        headers = {
            "Authorization": f"Bearer {self.credential}",
            "X-MCP-Agent-Session": self.session,
            "Host": self._host,
        }
        arguments = {"invoice_id": "INV-1040", "amount": 1}
        wish = {"server": "payments", "tool": "refund_invoice", "arguments": arguments}
        answer = httpx.post(f"{base}/v1/invoke", headers=headers, json=wish, timeout=20)
        return answer.status_code, answer.json().get("reason")


@pytest.fixture
def callers(stack: RunningStack, broker: Broker, gateways: tuple[str, str]) -> Iterator[list[Caller]]:
    """One of each kind, allowed at both gateways."""
    broker.start()
    words = [f"gone{uuid4().hex[:8]}" for _ in KINDS]
    found = re.findall(r"RIGHTS (\S+) (\S+) (\S+) (\S+)", shell(stack, RIGHTS.format(words=words)))
    made = [
        Caller(stack, gateways, word, text, {"key": key, "grant": grant, "session": session}, text)
        for word, (text, key, grant, session) in zip(words, found, strict=True)
    ]
    for caller, (_, shown, _) in zip(made, KINDS, strict=True):
        if shown == "token":
            caller.take_token()
    allowed = [[(200, None)] * 2] * len(KINDS)
    wait_until(lambda: [each.seen() for each in made] == allowed, "both gateways let the calls pass")
    yield made
    broker.start()


@pytest.mark.parametrize("valkey", ["runs", "hangs", "is killed"])
def test_what_is_taken_back_is_refused_at_every_gateway(stack, callers, broker, valkey):
    lines = [LINES[what].format(**caller.ids) for caller, (what, _, _) in zip(callers, KINDS, strict=True)]
    refused = [[answer] * 2 for _, _, answer in KINDS]
    if valkey != "runs":
        broker.send(signal.SIGKILL if valkey == "is killed" else signal.SIGSTOP)
    try:
        shell(stack, REVOKE.format(lines="\n    ".join(lines)))
        wait_until(
            lambda: [each.seen() for each in callers] == refused,
            f"both gateways refuse, Valkey {valkey}",
            deadline_s=PUSHED_S if valkey == "runs" else POLLED_S,
        )
        assert [each.seen() for each in callers] == refused, "and go on to refuse"
    finally:
        if valkey == "hangs":
            broker.send(signal.SIGCONT)
