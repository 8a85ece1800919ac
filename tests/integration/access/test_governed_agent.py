"""MCP Runtime's governed agent, from its files as they are to calls through a real gateway: refused, mended, allowed, ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from access.filing import apply, plan
from access.filing.rows import live_sessions
from access.formats import files
from access.services import sessions
from core import clock
from gateway.services.entries import ModelLoader
from marketplace.gateway_config import build_config
from tenants.choices import Scope
from tenants.context import PLATFORM, tenant_scope, viewer
from tenants.services import api_keys
from tests.support.cast import Cast, cast_of_its_own, make_server
from tests.support.gateways import running_gateway
from tests.support.processes import wait_until
from tests.support.upstreams import misbehaving_upstream

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "mcp-runtime" / "governed-agent" / "deploy"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
NAMES = ("governed-agent-demo-mcp", "governed-agent-demo-grant", "sess-ticket-triage-agent")


class Scene:
    def __init__(self, cast: Cast, base: str, word: str, server: Any, key: str) -> None:
        self.cast, self.base, self.word, self.server, self.key = cast, base, word, server, key

    def documents(self) -> list[tuple[str, bytes]]:
        """The files as they are, under names of this test: what was committed by another one stays."""
        found = []
        for path in sorted(SHARED.glob("*.yaml")):
            text = path.read_text()
            for name in NAMES:
                text = text.replace(name, f"{name}-{self.word}")
            found.append((path.name, text.encode()))
        return found

    def carry_out(self, contents: list[tuple[str, bytes]]) -> plan.Plan:
        found = files.read_files(contents)
        with tenant_scope(self.cast.acme):
            made = plan.make(self.cast.acme, found)
            assert made.problems == ()
            return apply.apply(tenant=self.cast.acme, found=found, digest=made.digest, actor=self.cast.alice)

    def call(self, tool: str = "slugify", **more: str) -> tuple[int, str]:
        """The status of a call and the reason of its refusal."""
        headers = {
            "authorization": f"Bearer {self.key}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": tool,
            "x-mcp-human-id": "support-lead",
            "x-mcp-agent-id": "ticket-triage-agent",
            "x-mcp-agent-session": f"sess-ticket-triage-agent-{self.word}",
        }
        headers = {name: value for name, value in (headers | more).items() if value}
        params = {"name": tool, "arguments": {}, "_meta": META}
        content = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        answer = httpx.post(f"{self.base}/mcp/{self.server.slug}", content=content, headers=headers, timeout=10)
        error = answer.json().get("error")
        return answer.status_code, error["data"]["reason"] if error else ""


@pytest.fixture
def scene(durable_db, settings):
    if not SHARED.is_dir():
        pytest.skip("The shared data is not beside the project.")
    cast, word = cast_of_its_own(), uuid4().hex[:8]
    settings.REDIS_URL = os.environ["REDIS_URL"]
    described = yaml.safe_load((SHARED / "server.metadata.yaml").read_text())["servers"][0]
    tools = [
        {
            "name": tool["name"],
            "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": tool["sideEffect"] == "read"},
        }
        for tool in described["tools"]
    ]
    with misbehaving_upstream() as upstream:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{upstream.port}"]
        with viewer(PLATFORM):
            name = f"{NAMES[0]}-{word}"
            server = make_server(
                cast.acme, name, name, visibility="org", tools=tools, url=upstream.url("ok"), category="productivity"
            )
        issued = api_keys.issue(tenant=cast.acme, name=word, scopes=[Scope.INVOKE], actor=cast.alice)
        api_keys.set_asserts_identity(tenant=cast.acme, key_id=issued.key.pk, asserts=True, actor=cast.alice)
        with running_gateway(build_config(), ModelLoader()) as base:
            yield Scene(cast, base, word, server, issued.text)


def test_the_agent_gets_what_its_files_give_it_and_no_more(scene):
    made = scene.carry_out(scene.documents())
    assert {lint.code for lint in made.lints} >= {"no_side_effect", "no_end", "subject_unknown"}

    # As they are, the files let nothing pass (requirements C6, Q10).
    wait_until(lambda: scene.call() == (403, "side_effect_not_allowed"), "the files reach the gateway")

    mended = [
        (name, content.replace(b"  maxTrust: high\n", b"  maxTrust: high\n  allowedSideEffects: [read]\n"))
        for name, content in scene.documents()
    ]
    assert scene.carry_out(mended).counts["replace"] == 1
    wait_until(lambda: scene.call() == (200, ""), "the mended files reach the gateway")

    assert scene.call("echo") == (403, "tool_not_granted")
    assert scene.call(**{"x-mcp-agent-session": ""})[1] == "missing_session"
    assert scene.call(**{"x-mcp-agent-session": "another"})[1] == "session_not_found"
    assert scene.call(**{"x-mcp-agent-id": "another-agent"})[1] in {"session_not_found", "no_matching_grant"}

    with tenant_scope(scene.cast.acme):
        session = live_sessions().get(server=scene.server)
        assert (session.consented_trust, session.subject_user) == ("low", "support-lead")
        assert session.expires_at is not None
        assert session.expires_at > clock.now()
        sessions.revoke(tenant=scene.cast.acme, session_id=session.pk, actor=scene.cast.alice)
    wait_until(lambda: scene.call()[1] == "session_revoked", "the session is over")
